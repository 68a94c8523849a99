from shardproxy.relay.stream_cy cimport Stream

cdef class Link(Stream):
    cdef public object settings
    cdef public bint retiring
    cdef public bint parked
    cdef public int cancels
    cdef public long long connected_ns
    cdef public long long released_ns
