cdef class Route:
    cdef readonly long flags
    cdef readonly tuple read_slots
    cdef readonly tuple write_slots
    cdef readonly object rewrite
    cdef readonly str kind
    cdef readonly str digest
    cdef readonly int statements
    cdef readonly long generation
    cdef readonly object hint
    cdef readonly tuple names
    cdef readonly tuple settings
    cdef readonly str note
    cdef public long hits
    cdef public object sharding
    cdef public object point
