from shardproxy.dialects.postgres.passing_cy cimport Passing
from shardproxy.dialects.postgres.server_link_cy cimport ServerLink

cdef Py_ssize_t OUT_HIGH
cdef Py_ssize_t MESSAGE_MAX
cdef Py_ssize_t REPEAT_MAX
cdef int MODE_CLIENT
cdef int BEGIN
cdef int NOT_JUST_BEGIN
cdef int IDLE_STATUS
cdef int SLOW
cdef int IN_BLOCK

cdef class ClientLink(Passing):
    cdef public object database
    cdef public object registry
    cdef public object settings
    cdef public object parameters
    cdef public bint session_mode
    cdef public bint leaving
    cdef public bytes repeatable
    cdef public long long connected_ns
    cdef public long long requested_ns
    cdef public long long read_ns
    cdef public long long wrote_ns
    cdef public object sticky
    cdef public bint force_primary
    cdef public int repeats
    cdef public bint read_primary
    cdef public object reopen
    cdef Py_ssize_t forward(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef bint on_replica(self) except -1
    cdef bint between(self) except -1
    cdef bint short_way(self, const unsigned char* data, Py_ssize_t pos) except -1
    cdef bint not_yet(self, int t) except -1
    cdef int pass_on(self, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int end_quietly(self, ServerLink server) except -1
    cdef int link(self) except -1
    cpdef int attach(self, ServerLink server) except -1
    cpdef unlink(self, ServerLink server)
    cdef bint must_wait(self, int t) except -1
    cdef public object pending_error
    cdef public object cancel_key
    cdef public object arrival
    cdef public object console
    cdef Py_ssize_t begin_batch(self, ServerLink server, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
