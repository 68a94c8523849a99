from shardproxy.dialects.postgres.server_link_cy cimport ServerLink
from shardproxy.pool.counters_cy cimport Counters
from shardproxy.pool.pool_cy cimport Pool
from shardproxy.relay.stream_cy cimport Stream
from shardproxy.router.route_cy cimport Route
from shardproxy.router.router_cy cimport Router

cdef Py_ssize_t OUT_HIGH
cdef Py_ssize_t MESSAGE_MAX
cdef Py_ssize_t BATCH_MAX
cdef Py_ssize_t REPEAT_MAX
cdef int MODE_CLIENT
cdef int QUERY
cdef int PARSE
cdef int BIND
cdef int EXECUTE
cdef int DESCRIBE
cdef int CLOSE
cdef int SYNC
cdef int FLUSH
cdef int FUNCTION
cdef int TERMINATE
cdef int COPY_DATA
cdef int COPY_DONE
cdef int COPY_FAIL
cdef int IDLE_STATUS
cdef int READ
cdef int SPECIAL
cdef int SLOW
cdef unsigned char KNOWN[256]

cdef class ClientLink(Stream):
    cdef public object session
    cdef public object database
    cdef public Router router
    cdef public object registry
    cdef public ServerLink server
    cdef public object settings
    cdef public object parameters
    cdef public bint busy
    cdef public bint pumping
    cdef public dict statements
    cdef public bytes unnamed
    cdef public object unnamed_route
    cdef public bint session_mode
    cdef public bint leaving
    cdef public bytes repeatable
    cdef public list routes
    cdef public int next_route
    cdef public int batch_flags
    cdef public bint batch_read
    cdef public bint batch_flushed
    cdef public set batch_slots
    cdef public bint batch_unknown
    cdef public long long connected_ns
    cdef public long long requested_ns
    cdef public long long read_ns
    cdef public long long wrote_ns
    cdef public object sticky
    cdef public object last_route
    cdef public Pool write_pool
    cdef public long id
    cdef Counters counters
    cdef Py_ssize_t body
    cdef Py_ssize_t batch_size
    cdef public bint reads_elsewhere
    cdef public bint force_primary
    cdef public long unnamed_serial
    cdef Py_ssize_t work(self, const unsigned char* data, Py_ssize_t n) except -2
    cdef Py_ssize_t scan(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef Py_ssize_t forward(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef int note(self, Route route) except -1
    cdef int used(self, Route route) except -1
    cdef Route route_of(self, bytes sql)
    cdef Route next_known(self, bytes sql)
    cdef int query(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int parse(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef Py_ssize_t bind(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end, Py_ssize_t n) except -2
    cdef int cycle_sent(self, ServerLink server) except -1
    cpdef set_counters(self, Counters counters)
    cdef int copy_message(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int ensure(self, ServerLink server, prepared) except -1
    cdef int describe(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int close_object(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int link(self) except -1
    cpdef int attach(self, ServerLink server) except -1
    cdef int scan_one(self, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end, Py_ssize_t n) except -1
    cdef public int discarding
    cdef Py_ssize_t discard(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cpdef skip_batch(self, bint extended=*)
    cpdef unlink(self, ServerLink server)
    cdef bint must_wait(self, int t) except -1
    cdef public object pending_error
    cdef public object cancel_key
    cdef public object arrival
    cdef public object console
