"""The I/O driver: sockets, buffers, backpressure. Knows no protocol.

One epoll set carries both the data plane and asyncio: ``pump_cy`` is asyncio's selector, and serves every ready
``Channel`` in place, without a Python callback per event, before it hands the rest to asyncio.
"""
