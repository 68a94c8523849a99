from shardproxy.relay.pump_cy cimport Channel

cdef class Stream(Channel):
    cdef public bytearray inbox
    cdef public bint streaming
    cdef object waiter
    cdef object error
    cdef object first
    cdef public Py_ssize_t inbox_max
    cdef int process(self, const unsigned char* data, Py_ssize_t n) except -1
    cpdef ended(self, reason)
    cpdef wake(self)
    cpdef cycle_over(self)
