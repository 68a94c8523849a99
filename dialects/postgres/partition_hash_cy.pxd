cimport cython

cdef unsigned int M, INIT, SEED_HIGH, SEED_LOW
cdef unsigned long long M64, SEED, MAGIC

cdef unsigned int rot(unsigned int x, int bits) noexcept
@cython.locals(high="unsigned long long")
cdef unsigned long long final(unsigned int a, unsigned int b, unsigned int c) noexcept
@cython.locals(found="unsigned int", byte="unsigned int", k=Py_ssize_t)
cdef unsigned int word(const unsigned char* p, Py_ssize_t i, Py_ssize_t count, int shift) noexcept
cdef unsigned long long combine(unsigned long long a, unsigned long long b) noexcept
@cython.locals(p="const unsigned char*", n=Py_ssize_t, i=Py_ssize_t, left=Py_ssize_t, a="unsigned int",
               b="unsigned int", c="unsigned int")
cpdef unsigned long long hash_bytes(bytes data)
@cython.locals(a="unsigned int", b="unsigned int", c="unsigned int", low="unsigned int", high="unsigned int")
cpdef unsigned long long hash_int(long long value)
@cython.locals(total="unsigned long long")
cpdef object partition_hash(object types, object values)
