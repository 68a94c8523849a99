"""A server connection as its pool sees it.

``settings``: what is set on it now, compared by identity. ``retiring``: to be closed when it is released. ``cancels``:
cancel requests on their way to it; while there are any it serves no one, and a release leaves it ``parked``.
"""

import cython

if cython.compiled:
    from cython.cimports.shardproxy.relay.buffer_cy import now_ns
    from cython.cimports.shardproxy.relay.stream_cy import Stream
else:
    from shardproxy.relay.buffer_cy import now_ns
    from shardproxy.relay.stream_cy import Stream

__all__ = ["Link"]


class Link(Stream):
    """See the module."""

    def __init__(self, pump, sock):
        Stream.__init__(self, pump, sock)
        self.settings = None
        self.retiring = False
        self.parked = False
        self.cancels = 0
        self.connected_ns = now_ns()
        self.released_ns = self.connected_ns
