cimport cython

cdef Py_ssize_t _CLIENTS
cdef Py_ssize_t _COLUMNS, _HEADER_WORDS, _SERVER_WORDS, _DATABASE_WORDS, _FIRST_DATABASE, _CATALOG, _BUSY
cdef Py_ssize_t _FRESH, _LSN, _TIMELINE, _LAG_BYTES, _LAG_MS, _LATENCY_US

cdef class Board:
    cdef long long* _words
    cdef object _view, _map, _fd, _lock_fd
    cdef Py_ssize_t _column

    @cython.locals(typed="long long[::1]")
    cdef object _point(self)
    @cython.locals(words="long long*", database=Py_ssize_t, slot=Py_ssize_t, base=Py_ssize_t, now="long long")
    cdef object _adopt(self, Py_ssize_t column)

    @cython.locals(words="long long*", slot=Py_ssize_t, cell=Py_ssize_t, base=Py_ssize_t)
    cpdef object mark_write(self, Py_ssize_t database, tuple slots, long long now_ns)
    @cython.locals(words="long long*", slot=Py_ssize_t, base=Py_ssize_t)
    cpdef object begin_write(self, Py_ssize_t database, tuple slots)
    @cython.locals(words="long long*", slot=Py_ssize_t, base=Py_ssize_t)
    cpdef object end_write(self, Py_ssize_t database, tuple slots, long long now_ns)

    @cython.locals(words="long long*", column=Py_ssize_t, newest="long long", base=Py_ssize_t)
    cpdef long long last_write(self, Py_ssize_t database, Py_ssize_t slot) noexcept
    @cython.locals(slot=Py_ssize_t, fresh="long long")
    cpdef bint may_read(self, Py_ssize_t server, Py_ssize_t database, tuple slots) except -1
    @cython.locals(fresh="long long")
    cpdef bint may_read_after(self, Py_ssize_t server, long long after_ns) noexcept
    @cython.locals(words="long long*", slot=Py_ssize_t, column=Py_ssize_t, base=Py_ssize_t)
    cpdef bint settled(self, Py_ssize_t database, tuple slots) except -1
    cpdef bint current(self, Py_ssize_t server, Py_ssize_t database, tuple slots) except -1
