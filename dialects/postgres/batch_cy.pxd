from shardproxy.pool.pool_cy cimport Pool
from shardproxy.relay.stream_cy cimport Stream
from shardproxy.router.route_cy cimport Route
from shardproxy.router.router_cy cimport Router

cdef Py_ssize_t MESSAGE_MAX
cdef Py_ssize_t BATCH_MAX
cdef int READ

cdef class Batching(Stream):
    cdef public object session
    cdef public Router router
    cdef public dict statements
    cdef public object unnamed_route
    cdef public list routes
    cdef public int next_route
    cdef public int batch_flags
    cdef public bint batch_read
    cdef public bint batch_flushed
    cdef public set batch_slots
    cdef public bint batch_unknown
    cdef public Pool write_pool
    cdef public Py_ssize_t body
    cdef Py_ssize_t batch_size
    cdef public bint reads_elsewhere
    cdef Py_ssize_t scan(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef int note(self, Route route) except -1
    cdef Route route_of(self, bytes sql)
    cdef Route next_known(self, bytes sql)
    cdef int scan_one(self, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end, Py_ssize_t n) except -1
    cdef public int discarding
    cdef Py_ssize_t discard(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cpdef skip_batch(self, bint extended=*)
