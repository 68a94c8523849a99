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
cdef unsigned char KNOWN[256]
cdef bint known(int kind) noexcept
