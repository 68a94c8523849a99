"""A channel that is first read by a coroutine (handshakes, logins) and then by ``process`` (the relay).

Invariant: while ``streaming`` is false every byte goes to ``inbox``, which is bounded, and nobody but the one waiting
coroutine takes from it; when it is true every byte goes to ``process``.
"""

import asyncio
import socket
import ssl

import cython

from shardproxy import limits

if cython.compiled:
    from cython.cimports.shardproxy.relay.buffer_cy import append
    from cython.cimports.shardproxy.relay.pump_cy import Channel
else:
    from shardproxy.relay.buffer_cy import append
    from shardproxy.relay.pump_cy import Channel

__all__ = ["Stream"]


class Stream(Channel):
    """See the module. Subclasses override ``process`` and ``ended``."""

    def __init__(self, pump, sock):
        self.inbox = bytearray()
        self.inbox_max = limits.STARTUP_PACKET_MAX * 4
        self.streaming = False
        self.waiter = None
        self.error = None
        self.first = None
        Channel.__init__(self, pump, sock)

    def process(self, data, n):
        """Bytes of the relay phase."""
        return 0

    def ended(self, reason):
        """``lost`` during the relay phase."""

    def cycle_over(self):
        """The peer of this stream owes no reply any more."""

    def received(self, data, n):
        if self.streaming:
            return self.process(data, n)
        append(self.inbox, data, 0, n)
        if len(self.inbox) > self.inbox_max:
            self.pause_reading()
        self.wake()
        return 0

    def wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def lost(self, reason):
        self.error = reason if reason is not None else ConnectionResetError("connection closed")
        if self.streaming:
            self.ended(reason)
        self.wake()

    async def _wait(self):
        if self.error is not None:
            raise self.error
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    async def need(self, count):
        """Wait until ``count`` bytes are in ``inbox``. Raises OSError when the connection ends first."""
        while len(self.inbox) < count:
            if not self.reading:
                self.resume_reading()
            await self._wait()

    async def take(self, count):
        """Remove and return ``count`` bytes."""
        await self.need(count)
        data = bytes(self.inbox[:count])
        del self.inbox[:count]
        return data

    def start_streaming(self):
        """From now on bytes go to ``process``; what is in ``inbox`` already goes there first, by the caller."""
        self.streaming = True
        self.resume_reading()

    def look_first(self):
        """Read nothing until ``first_byte`` has told how the connection begins; called before anything can arrive."""
        self.handshake = self._look

    def _look(self):
        try:
            self.first = self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.handshake = None
            self.fail(error)
            return
        self.handshake = None
        self.pause_reading()
        if not self.first:
            self.fail(None)
        self.wake()

    async def first_byte(self):
        """The first byte that the peer sends, which stays unread. Raises OSError when the connection ends first."""
        while self.first is None:
            await self._wait()
        if self.error is not None:
            raise self.error
        self.resume_reading()
        return self.first

    async def start_tls(self, context, server_side, server_hostname=None):
        """TLS handshake on this connection. Raises ssl.SSLError or OSError."""
        self.tls = context.wrap_socket(
            self.sock, server_side=server_side, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        self.handshake = self._shake
        try:
            self._shake()
            while self.handshake is not None:
                await self._wait()
        except BaseException:
            self.handshake = None
            raise
        if self.error is not None:
            raise self.error

    def _shake(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._arm(False)
            return
        except ssl.SSLWantWriteError:
            self._arm(True)
            return
        except (OSError, ValueError) as error:
            self.handshake = None
            self.error = error
            self.wake()
            return
        self.handshake = None
        self._arm(False)
        self.wake()

    def _arm(self, writing):
        self.set_armed(writing)
