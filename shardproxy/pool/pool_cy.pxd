cdef Py_ssize_t LOOK_BACK

cdef class Pool:
    cdef public tuple key
    cdef public Py_ssize_t size
    cdef public list idle
    cdef public object waiters
    cdef public Py_ssize_t opening
    cdef public set links
    cdef public bint paused
    cdef public long long assigned
    cdef public double failing_since
    cdef public Py_ssize_t owed
    cdef object open_one
    cdef object closed_one
    cpdef acquire(self, client)
    cpdef release(self, server)
