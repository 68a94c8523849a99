"""The compiled forms of the byte helpers: inline, so that every hot module has its own copy. See ``buffer_cy.py``."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcmp, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    /* Bytes that fit into what a bytearray has allocated already, from its present start; as CPython's own
       PyByteArray_Resize, but without giving back what was allocated. */
    static CYTHON_INLINE int shardproxy_grow(PyObject *o, Py_ssize_t size) {
        PyByteArrayObject *a = (PyByteArrayObject *)o;
        if (a->ob_exports == 0 && a->ob_alloc > 0 && size < a->ob_alloc - (a->ob_start - a->ob_bytes)) {
            Py_SET_SIZE(a, size);
            a->ob_start[size] = 0;
            return 0;
        }
        return PyByteArray_Resize(o, size);
    }
    """
    int shardproxy_grow(object out, Py_ssize_t size) except -1

cdef inline int resize(bytearray out, Py_ssize_t size) except -1:
    """Set the length; the room that was allocated stays."""
    return shardproxy_grow(out, size)

cdef inline int append(bytearray out, const unsigned char* data, Py_ssize_t start, Py_ssize_t end) except -1:
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(out)
    if end <= start:
        return 0
    shardproxy_grow(out, size + end - start)
    memcpy(PyByteArray_AS_STRING(out) + size, data + start, end - start)
    return 0

cdef inline int append_bytes(bytearray out, bytes data) except -1:
    return append(out, <const unsigned char*>PyBytes_AS_STRING(data), 0, len(data))

cdef inline int append_header(bytearray out, int kind, unsigned int length) except -1:
    cdef unsigned char header[5]
    header[0] = kind
    header[1] = length >> 24
    header[2] = length >> 16
    header[3] = length >> 8
    header[4] = length
    return append(out, header, 0, 5)

cdef inline unsigned int be32(const unsigned char* data, Py_ssize_t pos) noexcept:
    return (<unsigned int>data[pos] << 24) | (<unsigned int>data[pos + 1] << 16) \
        | (<unsigned int>data[pos + 2] << 8) | <unsigned int>data[pos + 3]

cdef inline unsigned int be16(const unsigned char* data, Py_ssize_t pos) noexcept:
    return (<unsigned int>data[pos] << 8) | <unsigned int>data[pos + 1]

cdef inline bytes cut(const unsigned char* data, Py_ssize_t start, Py_ssize_t end):
    if end <= start:
        return b""
    return PyBytes_FromStringAndSize(<const char*>data + start, end - start)

cdef inline Py_ssize_t find_zero(const unsigned char* data, Py_ssize_t start, Py_ssize_t end) noexcept:
    if end <= start:
        return -1
    cdef const unsigned char* found = <const unsigned char*>memchr(data + start, 0, end - start)
    return -1 if found == NULL else found - data

cdef inline bint same(const unsigned char* data, Py_ssize_t pos, bytes text) noexcept:
    return memcmp(data + pos, PyBytes_AS_STRING(text), len(text)) == 0

cdef inline const unsigned char* pointer(bytearray buffer) noexcept:
    return <const unsigned char*>PyByteArray_AS_STRING(buffer)

cdef inline long long now_ns() noexcept:
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return <long long>moment.tv_sec * 1000000000 + moment.tv_nsec
