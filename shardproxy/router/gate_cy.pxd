cdef class Gate:
    cdef public long generation
    cdef public long epoch
