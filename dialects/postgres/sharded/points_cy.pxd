cdef int QUERY, PARSE, BIND

cdef bint name_char(unsigned char c) noexcept
cdef bint goes_on(const unsigned char* p, Py_ssize_t i, Py_ssize_t n) noexcept
cdef long be16(const unsigned char* p, Py_ssize_t i) noexcept
cdef long be32(const unsigned char* p, Py_ssize_t i) noexcept

cdef class Point:
    cdef public long generation
    cdef public int ordinal
    cdef public int param
    cdef public bytes sample
    cdef public long oid
    cdef public bint proved
    cdef public tuple owners
    cdef public tuple places
    cdef Py_ssize_t start
    cdef Py_ssize_t end
    cdef Py_ssize_t name_start
    cdef Py_ssize_t name_end
    cdef long declared
    cdef int form
    cpdef int index_of(self, bytes batch, link) except -2
    cdef bint literal(self, const unsigned char* p, Py_ssize_t i, Py_ssize_t n) except -1
    cdef bint parameter(self, const unsigned char* p, Py_ssize_t n) except -1
    cdef bint bound(self, const unsigned char* p, Py_ssize_t at, Py_ssize_t end) except -1
    cdef bint same_name(self, const unsigned char* p, Py_ssize_t at) except -1
    cdef int slot_owner(self, bytes batch, const unsigned char* p) except -2
    cdef int number(self, const unsigned char* p, Py_ssize_t n) except -2

cdef long _declared(link, bytes name, int number) except -2
