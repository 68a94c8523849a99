cpdef Py_ssize_t run_end(bytes data, Py_ssize_t start, int kind) except -1
