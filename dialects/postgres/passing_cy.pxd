from shardproxy.dialects.postgres.batch_cy cimport Batching
from shardproxy.dialects.postgres.server_link_cy cimport ServerLink
from shardproxy.pool.counters_cy cimport Counters
from shardproxy.router.route_cy cimport Route

cdef int READ
cdef int BEGIN
cdef int MULTI
cdef int SIGNALS
cdef int LOOK
cdef int ADVANCES

cdef class Passing(Batching):
    cdef public ServerLink server
    cdef public object last_route
    cdef public long id
    cdef Counters counters
    cdef public long unnamed_serial
    cdef int used(self, Route route) except -1
    cdef int query(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int parse(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef Py_ssize_t bind(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end, Py_ssize_t n) except -2
    cdef int pass_plain(self, ServerLink server, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int cycle_sent(self, ServerLink server) except -1
    cpdef set_counters(self, Counters counters)
    cdef int copy_message(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int ensure(self, ServerLink server, statement, prepared) except -1
    cdef int describe(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int close_object(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cpdef mix(self, ServerLink server)
