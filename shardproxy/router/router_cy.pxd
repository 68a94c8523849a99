from shardproxy.router.route_cy cimport Route

cdef class Router:
    cdef readonly object dialect
    cdef readonly int database_index
    cdef readonly object facts
    cdef readonly long epoch
    cdef readonly Route opaque
    cdef readonly long hits
    cdef readonly long misses
    cdef readonly long generation
    cdef Py_ssize_t young_bytes
    cdef object digest_of
    cdef dict young
    cdef dict old
    cdef dict texts
    cpdef Route route(self, bytes sql)
    cdef Route find(self, bytes sql)
    cdef Route analyse(self, bytes sql, bytes key)
