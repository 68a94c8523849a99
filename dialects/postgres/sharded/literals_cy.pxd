cdef bint name_char(unsigned char c)
cpdef bytes nth_literal(bytes sql, int wanted)
