cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef int BAD
cdef int INTEGER, INTEGER_BINARY, UNSIGNED_BINARY, BOOLEAN, BOOLEAN_BINARY, NUMERIC, NUMERIC_BINARY
cdef int FLOAT, FLOAT_BINARY, DATE, TIMESTAMP, TIME, BYTE, BYTEA, BYTEA_BINARY, TEXT, PADDED, UUID, UUID_BINARY
cdef int NULL_FIRST, PRESENT, NULL_LAST
cdef int SMALL_EXPONENT

cdef class Key:
    cdef unsigned char* data
    cdef Py_ssize_t size, room, at, end
    cdef bint bad

    @cython.locals(room="unsigned char*")
    cdef int need(self, Py_ssize_t more) except -1
    @cython.locals(least=Py_ssize_t, order=int)
    cdef int compare(self, Key other) noexcept
    @cython.locals(i=Py_ssize_t)
    cdef void invert(self, Py_ssize_t start) noexcept
    cdef int null(self, bint first) except -1
    @cython.locals(begin=Py_ssize_t)
    cdef int add(self, int kind, const unsigned char* p, Py_ssize_t start, Py_ssize_t end, bint descending) except -1
    cdef int value(self, int kind, const unsigned char* p) except -1
    cdef int moment(self, int kind, const unsigned char* p) except -1
    @cython.locals(shift=int)
    cdef int integer(self, int64_t number) except -1
    @cython.locals(number=int64_t, i=Py_ssize_t)
    cdef int64_t big_endian(self, const unsigned char* p, bint signed) noexcept
    @cython.locals(negative=bint)
    cdef int decimal_integer(self, const unsigned char* p) except -1
    @cython.locals(i=Py_ssize_t)
    cdef bint is_word(self, const unsigned char* p, const unsigned char* word, Py_ssize_t size) noexcept
    @cython.locals(negative=bint, first=Py_ssize_t, exponent=int64_t, i=Py_ssize_t, point=Py_ssize_t, c="unsigned char")
    cdef int numeric_text(self, const unsigned char* p) except -1
    @cython.locals(groups=int, weight=int, sign=int, _=int, group=int, exponent=int64_t, first=Py_ssize_t)
    cdef int numeric_binary(self, const unsigned char* p) except -1
    @cython.locals(i=int)
    cdef int begin_number(self, int64_t exponent) except -1
    cdef int end_number(self, Py_ssize_t first, bint negative) except -1
    @cython.locals(room="char[64]", i=Py_ssize_t)
    cdef int float_text(self, const unsigned char* p) except -1
    @cython.locals(number=double, single=float, bits=uint64_t, half="unsigned int", i=int)
    cdef int float_binary(self, const unsigned char* p) except -1
    @cython.locals(bits=uint64_t, i=int)
    cdef int double_key(self, double number) except -1
    @cython.locals(number=int64_t)
    cdef int64_t digits(self, const unsigned char* p, int least, int most) noexcept
    cdef int literal(self, const unsigned char* p, unsigned char c) noexcept
    @cython.locals(year=int64_t, month=int64_t, day=int64_t, time=int64_t, days=int64_t)
    cdef int date_text(self, const unsigned char* p, bint with_time) except -1
    @cython.locals(hours=int64_t, minutes=int64_t, seconds=int64_t, micros=int64_t, scale=int)
    cdef int64_t clock(self, const unsigned char* p) except? -1
    @cython.locals(sign=int64_t, offset=int64_t)
    cdef int64_t zone(self, const unsigned char* p) except? -1
    cdef int byte(self, const unsigned char* p) except -1
    cdef int put_digit(self, int digit) noexcept
    cdef int put_end(self) except -1
    cdef bytes take(self)
    cdef int put_escaped(self, unsigned char c) noexcept
    @cython.locals(c="unsigned char", high=int, low=int)
    cdef int bytea_text(self, const unsigned char* p) except -1
    @cython.locals(i=Py_ssize_t)
    cdef int bytea_binary(self, const unsigned char* p) except -1
    @cython.locals(i=Py_ssize_t)
    cdef int text(self, const unsigned char* p, bint padded) except -1
    @cython.locals(high=int, low=int)
    cdef int uuid_text(self, const unsigned char* p) except -1

@cython.locals(c=int)
cdef int nibble(int c) noexcept
cdef int64_t days_of(int64_t year, int64_t month, int64_t day) noexcept
cpdef int kind_of(int type_oid, int form)
