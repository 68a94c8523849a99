cimport cython

from shardproxy.dialects.postgres.sharded.keys_cy cimport Key

cdef int DATA_ROW

cdef class Run:
    cdef bytes data
    cdef const unsigned char* p
    cdef Py_ssize_t n, at, row_end, cut
    cdef int index, columns
    cdef bint ended
    cdef Key key

cdef class Merger:
    cdef list runs, order
    cdef int[64] columns, kinds
    cdef bint[64] descending, nulls_first
    cdef int sorts, deepest, starved
    cdef readonly int hidden
    cdef public long long skip, left, rows
    cdef Py_ssize_t* starts
    cdef Py_ssize_t* ends
    cdef bytearray out

    @cython.locals(run=Run)
    cpdef list waiting(self)
    @cython.locals(run=Run)
    cpdef feed(self, int index, bytes data)
    @cython.locals(size=Py_ssize_t, pos=Py_ssize_t, length=Py_ssize_t, i=int)
    cdef int load(self, Run run) except -1
    @cython.locals(i=int, key=Key)
    cdef int make_key(self, Run run) except -1
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, other=Run, order=int)
    cdef int place(self, Run run, Py_ssize_t low) except -1
    @cython.locals(run=Run, other=Run, order=int, taken=long)
    cpdef bytes take(self, Py_ssize_t size, long rows=*)
    @cython.locals(size=Py_ssize_t, i=int, head="unsigned char[7]")
    cdef int emit(self, Run run) except -1

@cython.locals(p="const unsigned char*", n=Py_ssize_t, pos=Py_ssize_t, size=Py_ssize_t)
cpdef bytes tuples(bytes data)
@cython.locals(p="const unsigned char*", n=Py_ssize_t, pos=Py_ssize_t, count=long)
cpdef long count_rows(bytes data) except -1
@cython.locals(p="const unsigned char*", n=Py_ssize_t, pos=Py_ssize_t, row_end=Py_ssize_t, size=Py_ssize_t, i=int, columns=int)
cpdef bytes lines(bytes data)
@cython.locals(i=Py_ssize_t, begin=Py_ssize_t, c="unsigned char")
cdef int escape(bytearray out, const unsigned char* p, Py_ssize_t start, Py_ssize_t end) except -1
