cimport cython

cdef int NEWLINE, RETURN, BACKSLASH, POINT, OPEN, LF, CRLF, CR, HEADER_BYTES

cdef class RowCutter:
    cdef bint csv
    cdef readonly bint ended
    cdef unsigned char delimiter, quote, escape
    cdef readonly tuple positions, ordered
    cdef Py_ssize_t keys, last
    cdef bytearray wanted
    cdef int eol
    cdef bytes rest

    @cython.locals(p="const unsigned char*", n=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t)
    cpdef tuple feed(self, bytes data, bint final=*)
    @cython.locals(at=Py_ssize_t, field=Py_ssize_t, field_start=Py_ssize_t, fields=list, quoted=bint, escaped=bint,
                   c="unsigned char", edge=Py_ssize_t, end=Py_ssize_t)
    cdef Py_ssize_t row(self, const unsigned char* p, bytes data, Py_ssize_t start, Py_ssize_t n, bint final, list rows,
                        list keys) except -2

cdef class BinaryCutter:
    cdef readonly tuple positions
    cdef Py_ssize_t last
    cdef readonly bytes header
    cdef bytes rest
    cdef readonly bint ended

    @cython.locals(p="const unsigned char*", n=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t)
    cpdef tuple feed(self, bytes data, bint final=*)
    @cython.locals(count=int, at=Py_ssize_t, number=int, size="unsigned int", fields=list)
    cdef Py_ssize_t row(self, const unsigned char* p, bytes data, Py_ssize_t start, Py_ssize_t n, list rows,
                        list keys) except -2
