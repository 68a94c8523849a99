cimport cython

cdef unsigned char OTHER, NAME, DIGIT, DOLLAR, BLANK, CONTROL
cdef unsigned char INTEGER, NUMBER, STRING, ESCAPE, UNICODE, BIT, HEX, ITEMS, ROWS
cdef Py_ssize_t DEPTH
cdef const unsigned char* CLASS
cdef const unsigned char* LOWER
cdef const unsigned char* IN_NAME
cdef const unsigned char* SET_CONFIG
cdef const unsigned char* CURRENT_SETTING
cdef const unsigned char* HINT

cdef class Scanner:
    cdef const unsigned char* p
    cdef unsigned char* out
    cdef Py_ssize_t n, i, j, capacity, name_at
    cdef Py_ssize_t[16] groups
    cdef Py_ssize_t depth
    cdef bint keep, start, blank

    @cython.locals(code=int)
    cpdef bytes run(self, bytes sql)
    @cython.locals(room="unsigned char*")
    cdef int reserve(self, Py_ssize_t size) except -1
    @cython.locals(code=int, p="const unsigned char*")
    cdef int normalise(self) noexcept
    @cython.locals(e=Py_ssize_t, depth=int, deepest=int, p="const unsigned char*")
    cdef int comment(self) noexcept
    @cython.locals(e=Py_ssize_t, k=Py_ssize_t, p="const unsigned char*")
    cdef bint is_hint(self) noexcept
    cdef void space(self) noexcept
    @cython.locals(c="unsigned char", kind="unsigned char", p="const unsigned char*")
    cdef int token(self) noexcept
    @cython.locals(c="unsigned char", nxt="unsigned char", p="const unsigned char*")
    cdef int prefixed(self) noexcept
    @cython.locals(i=Py_ssize_t, j=Py_ssize_t, w=Py_ssize_t, c="unsigned char", p="const unsigned char*", out="unsigned char*")
    cdef int word(self) noexcept
    @cython.locals(w=Py_ssize_t, e=Py_ssize_t, p="const unsigned char*")
    cdef int quoted_name(self, Py_ssize_t quote) noexcept
    @cython.locals(e=Py_ssize_t, k=Py_ssize_t, size=Py_ssize_t, p="const unsigned char*")
    cdef int dollar(self) noexcept
    @cython.locals(e=Py_ssize_t, c="unsigned char", marker="unsigned char", p="const unsigned char*")
    cdef int number(self) noexcept
    @cython.locals(p="const unsigned char*")
    cdef Py_ssize_t digits(self, Py_ssize_t e) noexcept
    @cython.locals(e=Py_ssize_t, more=Py_ssize_t)
    cdef int string(self, Py_ssize_t quote, unsigned char marker) noexcept
    @cython.locals(c="unsigned char", p="const unsigned char*")
    cdef Py_ssize_t closing_quote(self, Py_ssize_t e, bint escapes) noexcept
    @cython.locals(lines=bint, c="unsigned char", p="const unsigned char*")
    cdef Py_ssize_t continued(self, Py_ssize_t e) noexcept
    @cython.locals(c="unsigned char", p="const unsigned char*")
    cdef int verbatim(self, Py_ssize_t e) noexcept
    @cython.locals(q=Py_ssize_t, out="unsigned char*")
    cdef int slot(self, unsigned char marker, Py_ssize_t e) noexcept
    @cython.locals(r=Py_ssize_t, group=Py_ssize_t, size=Py_ssize_t, more=bint, out="unsigned char*")
    cdef void close_group(self) noexcept
    @cython.locals(k=Py_ssize_t, level=int, slots=bint, c="unsigned char", out="unsigned char*")
    cdef bint foldable(self, Py_ssize_t group, Py_ssize_t first, Py_ssize_t size) noexcept
    @cython.locals(k=Py_ssize_t, name="const unsigned char*")
    cdef bint takes_setting(self, Py_ssize_t w, Py_ssize_t size) noexcept
    @cython.locals(e=Py_ssize_t, p="const unsigned char*")
    cdef void setting_follows(self) noexcept

cdef Scanner SCANNER
cpdef bytes digest(bytes sql)
