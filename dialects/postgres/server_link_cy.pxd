from shardproxy.pool.counters_cy cimport Counters
from shardproxy.pool.link_cy cimport Link
from shardproxy.pool.pool_cy cimport Pool
from shardproxy.relay.stream_cy cimport Stream

cdef int M_IDLE
cdef int M_CLIENT
cdef int M_INTERNAL
cdef int M_DRAIN
cdef Py_ssize_t OUT_HIGH
cdef Py_ssize_t WHOLE_MAX
cdef int READY
cdef int ERROR
cdef int PARSED
cdef int CLOSED
cdef int PARAMETER
cdef int NOTIFICATION
cdef int COPY_IN
cdef int COPY_BOTH
cdef int NOTICE
cdef int KEY
cdef int AUTHENTICATION
cdef int NEGOTIATE
cdef int IN_TRANSACTION
cdef int OUTSIDE
cdef Py_ssize_t SMALL
cdef int PEEK_WAIT
cdef int PEEK_GO
cdef int PEEK_ERROR

cdef class ServerLink(Link):
    cdef public Stream client
    cdef public object owner
    cdef public Pool pool
    cdef public object events
    cdef public int mode
    cdef public int awaiting
    cdef public bint open_cycle
    cdef public bint quiet
    cdef public bint extended
    cdef public long cycle_done
    cdef public long cycle_sent
    cdef public object pending
    cdef public int status
    cdef public bint holding
    cdef public bint copying_in
    cdef public set mixed
    cdef public bint on_primary
    cdef public bint failed
    cdef public bint delivered
    cdef public int flags
    cdef public list write_slots
    cdef public dict prepared
    cdef public object parameters
    cdef public long unnamed_serial
    cdef public object collector
    cdef public object pins
    cdef public set own_names
    cdef public bint wrote
    cdef public bytes idle_rest
    cdef public bint failing
    cdef public bint session_mode
    cdef public long id
    cdef public object borrower
    cpdef bint mid_message(self)
    cdef public object fatal_fields
    cdef public long long started_ns
    cdef public bint started
    cdef public long long slow_us
    cdef public long long linked_ns
    cdef public unsigned int backend_pid
    cdef public bytes backend_secret
    cdef public object address
    cdef public object last_writer
    cdef public long last_client
    cdef Counters counters
    cdef bytearray rest
    cdef Py_ssize_t skip
    cdef Py_ssize_t scan(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -2
    cdef bint answered(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef bint ready(self, int status) except -1
    cdef int peek(self, const unsigned char* data, Py_ssize_t pos, Py_ssize_t n) except -1
    cdef int expect_parse(self) except -1
    cdef int parses
    cdef long parses_cycle
    cdef int deliver(self, const unsigned char* data, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int expect_answer(self, bint swallow, statement, name) except -1
    cdef int cycle_ends(self) except -1
    cpdef set_counters(self, Counters counters)
    cdef Py_ssize_t at_ready(self, const unsigned char* data, Py_ssize_t start, Py_ssize_t pos, Py_ssize_t end) except -2
    cdef int copy_begins(self) except -1
    cdef bint rare(self, int t, const unsigned char* data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int consume(self, const unsigned char* data, Py_ssize_t n) except -1
    cpdef expect(self, bint swallow, statement, name)
