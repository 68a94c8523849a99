from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef int append(bytearray out, const unsigned char* data, Py_ssize_t start, Py_ssize_t end) except -1
cdef unsigned int be32(const unsigned char* data, Py_ssize_t pos) noexcept
cdef unsigned int be16(const unsigned char* data, Py_ssize_t pos) noexcept
cdef Py_ssize_t find_zero(const unsigned char* data, Py_ssize_t start, Py_ssize_t end) noexcept
cdef const unsigned char* pointer(bytearray buffer) noexcept
cdef long long now_ns() noexcept
cdef bytes cut(const unsigned char* data, Py_ssize_t start, Py_ssize_t end)
