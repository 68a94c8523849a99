from shardproxy.router.gate_cy cimport Gate
from shardproxy.pool.pool_cy cimport Pool
from shardproxy.relay.stream_cy cimport Stream
from shardproxy.router.route_cy cimport Route
from shardproxy.router.router_cy cimport Router

cdef Py_ssize_t OUT_HIGH
cdef Py_ssize_t MESSAGE_MAX
cdef Py_ssize_t BATCH_MAX
cdef int READ
cdef int BEGIN_READ_ONLY
cdef int MULTI
cdef int SPECIAL
cdef int NOT_PLAIN
cdef int PLAIN
cdef int SAME_PLAIN
cdef bytes AFTER_BIND

cdef class Batching(Stream):
    cdef public object session
    cdef public bint busy
    cdef public bint pumping
    cdef public Router router
    cdef public dict statements
    cdef public bytes unnamed
    cdef public Route unnamed_route
    cdef public bint opaque
    cdef Route current(self, Route route, bytes body)
    cdef Route first_route
    cdef list more_routes
    cpdef forget_routes(self)
    cdef public int next_route
    cdef public int batch_flags
    cdef public bint batch_read
    cdef public bint batch_other
    cdef public bint batch_runs
    cdef public bint batch_flushed
    cdef public bint batch_portal
    cdef bint unnamed_here
    cdef public bint quiet_flush
    cdef public bint in_block
    cdef public object begins
    cdef public Route noted
    cdef public set batch_slots
    cdef public Pool write_pool
    cdef public Py_ssize_t body
    cdef public Py_ssize_t batch_size
    cdef public int sharded
    cdef public object taker
    cdef public Gate gate
    cdef public bint admitted
    cdef public long gate_epoch
    cdef public dict point_pools
    cdef public bint reads_elsewhere
    cdef Py_ssize_t work(self, const unsigned char* data, Py_ssize_t n) except -2
    cdef Py_ssize_t scan(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef int plain
    cdef bint as_before(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -1
    cdef bint ordinary(self, Route route) except -1
    cdef int next_part(self, int part, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -2
    cdef int new_batch(self) except -1
    cdef int unproven(self) except -1
    cdef int note(self, Route route) except -1
    cdef Route route_of(self, bytes sql)
    cdef Route next_known(self, const unsigned char* data, Py_ssize_t start, Py_ssize_t end)
    cdef int scan_one(self, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end, Py_ssize_t n) except -1
    cdef public int discarding
    cdef Py_ssize_t discard(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cpdef skip_batch(self, bint extended=*)
