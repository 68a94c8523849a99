from libc.stdint cimport uint32_t

cdef Py_ssize_t OUT_LOW
cdef Py_ssize_t OUT_HIGH
cdef Py_ssize_t CHUNK
cdef int TLS_ROUNDS_MAX
cdef Py_ssize_t KEPT
cdef unsigned int IN
cdef unsigned int OUT
cdef unsigned int BROKEN

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLHUP
        EPOLLERR
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)

cdef extern from "sys/socket.h" nogil:
    enum:
        MSG_NOSIGNAL
    ssize_t recv(int fd, void* buffer, size_t length, int flags)
    ssize_t send(int fd, const void* buffer, size_t length, int flags)

cdef class Pump

cdef class Channel:
    cdef readonly int fd
    cdef readonly object sock
    cdef public object tls
    cdef readonly Pump pump
    cdef public bytearray out
    cdef readonly bint closed
    cdef readonly bint reading
    cdef bint dirty
    cdef bint armed
    cdef bint closing
    cdef public bint high
    cdef public object handshake
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef int received(self, const unsigned char* data, Py_ssize_t n) except -1
    cpdef lost(self, reason)
    cpdef drained(self)
    cpdef write(self, data)
    cpdef mark(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef close(self, bint flush=*)
    cdef int readable(self) except -1
    cdef int read_tls(self) except -1
    cdef int flush(self) except -1
    cdef int sent(self, Py_ssize_t left) except -1
    cdef int fail(self, reason) except -1
    cdef int watch(self) except -1
    cpdef set_armed(self, bint writing)

cdef class Pump:
    cdef object epoll
    cdef int epfd
    cdef list table
    cdef list dirty
    cdef bytearray scratch
    cdef public bint interrupted
    cdef public object on_error
    cdef list repeat
    cdef epoll_event events[512]
    cpdef list run(self, timeout)
    cdef attach(self, Channel channel)
    cdef detach(self, Channel channel)
    cdef watch(self, int fd, bint reading, bint writing)
    cdef again(self, Channel channel)
    cdef int turn(self, int wait, list ready) except -1
    cdef int wait(self, int wait, list ready) except -1
    cdef int dispatch(self, int fd, unsigned int events, list ready) except -1
    cdef broken(self, Channel channel, error)
    cdef int serve(self, Channel channel, unsigned int events) except -1
    cdef int flush_dirty(self) except -1
