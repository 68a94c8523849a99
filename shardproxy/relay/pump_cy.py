"""The pump: one epoll loop for the data plane, with asyncio around it for all that is slow or rare.

Operations wanted: read what is ready, hand it to the channel's ``received``; send what was written during the turn.
Goals: no Python callback per event; one ``recv`` per ready connection and one ``send`` per written connection and turn.
Plan: ``PumpSelector`` is asyncio's selector. It waits on one epoll set for both kinds of descriptor, serves channels
in place, and returns to asyncio only when asyncio has something to do (its own descriptor, a timer, a scheduled call).

Invariants:
* A channel is in the table under its descriptor from ``attach`` to ``close``; ``lost`` is called at most once.
* Bytes are sent in the order in which they were written. Nothing is written after ``close``.
* Level-triggered: whatever a turn did not finish makes the descriptor ready again.
"""

import errno
import math
import select
import selectors
import ssl

import cython

from shardproxy import limits

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING
    from cython.cimports.libc.errno import EAGAIN, EINTR
    from cython.cimports.libc.errno import errno as c_errno
    from cython.cimports.shardproxy.relay.buffer_cy import now_ns, resize
else:
    from shardproxy.relay.buffer_cy import now_ns, resize

__all__ = ["Channel", "Pump", "PumpSelector"]

OUT_LOW = limits.OUT_LOW
OUT_HIGH = limits.OUT_HIGH
CHUNK = limits.RECEIVE_CHUNK
IN = select.EPOLLIN
OUT = select.EPOLLOUT
BROKEN = select.EPOLLHUP | select.EPOLLERR
KEPT = 2048  # what a connection's output buffer may keep allocated while it is empty
TLS_ROUNDS_MAX = 64  # records read in one go before other connections have their turn


class Channel:
    """One non-blocking socket. Subclasses override ``received``, ``lost`` and ``drained``."""

    def __init__(self, pump, sock):
        sock.setblocking(False)
        self.pump = pump
        self.sock = sock
        self.fd = sock.fileno()
        self.tls = None
        self.handshake = None
        self.out = bytearray()
        self.closed = False
        self.closing = False
        self.reading = True
        self.dirty = False
        self.armed = False
        self.high = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.pump.attach(self)

    def received(self, data, n):
        """``n`` bytes arrived in ``data``; they are gone after the call."""
        return 0

    def lost(self, reason):
        """The other side closed (reason is None) or the connection failed. Called once; the channel is closed."""

    def drained(self):
        """What waited to be sent fell below ``limits.OUT_LOW`` after it had been above ``limits.OUT_HIGH``."""

    def write(self, data):
        """Queue bytes; they leave at the end of this turn."""
        if not self.closed:
            self.out += data
            self.mark()

    def mark(self):
        """Something was appended to ``out``."""
        if not self.dirty:
            self.dirty = True
            self.pump.dirty.append(self)

    def pause_reading(self):
        if self.reading:
            self.reading = False
            self.watch()

    def resume_reading(self):
        if not self.reading and not self.closed:
            self.reading = True
            self.watch()

    def close(self, flush=False):
        """Close now, or (``flush``) when everything written has been sent. ``lost`` is not called."""
        if self.closed:
            return
        if flush and len(self.out) > 0:
            self.closing = True
            self.pause_reading()
            self.mark()
            return
        self.closed = True
        self.pump.detach(self)
        self.out = bytearray()
        try:
            (self.tls or self.sock).close()
        except OSError:
            pass

    def abort(self, reason):
        """End the connection as if it had broken: ``lost`` is called."""
        self.fail(reason)

    def fail(self, reason):
        """Close and tell the subclass."""
        if not self.closed:
            quiet: cython.bint = self.closing
            self.close(False)
            if not quiet:
                self.lost(reason)
        return 0

    def set_armed(self, writing):
        """Ask to be told when the socket takes bytes."""
        if self.armed != writing:
            self.armed = writing
            self.watch()

    def watch(self):
        """Tell the kernel what we wait for."""
        if not self.closed:
            self.pump.watch(self.fd, self.reading, self.armed)
        return 0

    def readable(self):
        """One ``recv``, handed on."""
        if self.tls is not None:
            return self.read_tls()
        if self.handshake is not None:
            self.handshake()
            return 0
        if cython.compiled:
            got: cython.Py_ssize_t = recv(self.fd, PyByteArray_AS_STRING(self.pump.scratch), CHUNK, 0)
            if got <= 0:
                if got < 0 and (c_errno == EAGAIN or c_errno == EINTR):
                    return 0
                return self.fail(None if got == 0 else OSError(c_errno, "receive failed"))
            self.bytes_in += got
            self.received(cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(self.pump.scratch)), got)
            return 0
        try:
            n = self.sock.recv_into(self.pump.scratch)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            return self.fail(error)
        if n == 0:
            return self.fail(None)
        self.bytes_in += n
        self.received(self.pump.scratch, n)
        return 0

    def read_tls(self):
        """Records until none is pending: the kernel does not know of bytes that the TLS layer has already read."""
        rounds: cython.int = 0
        if self.handshake is not None:
            self.handshake()
            if self.handshake is not None or self.closed:
                return 0
        while not self.closed and self.reading:
            try:
                n: cython.Py_ssize_t = self.tls.recv_into(self.pump.scratch)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return 0
            except (OSError, ValueError) as error:
                return self.fail(error)
            if n == 0:
                return self.fail(None)
            self.bytes_in += n
            if cython.compiled:
                self.received(cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(self.pump.scratch)), n)
            else:
                self.received(self.pump.scratch, n)
            rounds += 1
            if self.closed or self.tls.pending() == 0:
                return 0
            if rounds >= TLS_ROUNDS_MAX:
                self.pump.again(self)
                return 0
        if not self.closed and not self.reading and self.tls.pending():
            self.pump.again(self)
        return 0

    def flush(self):
        """Send what waits; what the kernel does not take waits for EPOLLOUT."""
        size: cython.Py_ssize_t = len(self.out)
        sent: cython.Py_ssize_t = 0
        if self.closed:
            return 0
        if self.handshake is not None:
            self.handshake()
            if self.handshake is not None:
                return 0
        if size > 0:
            if self.tls is None and cython.compiled:
                sent = send(self.fd, PyByteArray_AS_STRING(self.out), size, MSG_NOSIGNAL)
                if sent < 0:
                    if c_errno != EAGAIN and c_errno != EINTR:
                        return self.fail(OSError(c_errno, "send failed"))
                    sent = 0
            else:
                try:
                    sent = (self.tls or self.sock).send(self.out)
                except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    sent = 0
                except (OSError, ValueError) as error:
                    return self.fail(error)
            self.bytes_out += sent
            if sent == size:
                if cython.compiled and size <= KEPT:
                    resize(self.out, 0)
                else:
                    self.out.clear()
            elif sent > 0:
                del self.out[:sent]
        if sent == size and not self.armed and not self.closing and not self.high:
            return 0  # as nearly always
        return self.sent(size - sent)

    def sent(self, left):
        """``left`` bytes still wait."""
        if (left > 0) != self.armed:
            self.armed = left > 0
            self.watch()
        if left == 0 and self.closing:
            self.close(False)
        elif self.high and left < OUT_LOW:
            self.high = False
            self.drained()
        return 0


class Pump:
    """The epoll set, the table of channels, one turn after the other. ``on_error(channel, error)`` hears of bugs."""

    def __init__(self, epoll):
        self.epoll = epoll
        self.epfd = epoll.fileno()
        self.table = []
        self.dirty = []
        self.scratch = bytearray(CHUNK)
        self.interrupted = False
        self.on_error = None
        self.repeat = []

    def attach(self, channel):
        """Begin to watch a channel."""
        fd = channel.fd
        while len(self.table) <= fd:
            self.table.append(None)
        self.table[fd] = channel
        self.epoll.register(fd, IN)

    def detach(self, channel):
        """Stop watching, before its descriptor is closed."""
        self.table[channel.fd] = None
        try:
            self.epoll.unregister(channel.fd)
        except OSError:
            pass

    def watch(self, fd, reading, writing):
        self.epoll.modify(fd, (IN if reading else 0) | (OUT if writing else 0))

    def again(self, channel):
        """Serve this channel in the next turn too, though its descriptor may say nothing."""
        self.repeat.append(channel)

    def run(self, timeout):
        """Turns until asyncio has something to do; returns [(fd, events)] for asyncio. ``timeout``: seconds or None."""
        ready = []
        deadline: cython.longlong = 0
        wait: cython.int = -1
        if timeout is not None:
            if timeout <= 0:
                wait = 0
            else:
                deadline = now_ns() + int(timeout * 1e9)
                wait = math.ceil(timeout * 1e3)
        while True:
            self.turn(wait, ready)
            if ready or self.interrupted or wait == 0:
                self.interrupted = False
                return ready
            if deadline > 0:
                left: cython.longlong = deadline - now_ns()
                if left <= 0:
                    return ready
                wait = (left + 999999) // 1000000

    def turn(self, wait, ready):
        """Wait for events, serve channels, collect the others in ``ready``, send what was written."""
        channel: Channel
        if self.dirty:  # written by asyncio's callbacks since the last turn
            self.flush_dirty()
        if self.repeat:
            repeat = self.repeat
            self.repeat = []
            for channel in repeat:
                self.serve(channel, IN)
        if self.interrupted or self.repeat:
            wait = 0
        self.wait(wait, ready)
        if self.dirty:
            self.flush_dirty()
        return 0

    def wait(self, wait, ready):
        """Wait for events and dispatch each."""
        if cython.compiled:
            i: cython.int
            count: cython.int
            with cython.nogil:
                count = epoll_wait(self.epfd, self.events, 512, wait)
            for i in range(count):
                self.dispatch(self.events[i].data.fd, self.events[i].events, ready)
            return 0
        try:
            found = self.epoll.poll(None if wait < 0 else wait / 1000.0, 512)
        except InterruptedError:
            return 0
        table = self.table
        for fd, events in found:
            channel = table[fd] if fd < len(table) else None
            if channel is None:
                ready.append((fd, events))
            else:
                self.serve(channel, events)
        return 0

    def dispatch(self, fd, events, ready):
        """To the channel, or into ``ready`` for asyncio."""
        channel: Channel | None = self.table[fd] if fd < len(self.table) else None
        if channel is None:
            ready.append((fd, events))
        else:
            self.serve(channel, events)
        return 0

    def serve(self, channel, events):
        """One event of one channel; a bug in it ends that channel only."""
        if channel.closed:
            return 0
        try:
            if events & OUT:
                channel.flush()
            if events & (IN | BROKEN) and not channel.closed:
                if channel.reading:
                    channel.readable()
                elif events & BROKEN:
                    channel.fail(None)
        except Exception as error:
            self.broken(channel, error)
        return 0

    def flush_dirty(self):
        channel: Channel
        channels = self.dirty
        self.dirty = []
        for channel in channels:
            channel.dirty = False
            try:
                channel.flush()
            except Exception as error:
                self.broken(channel, error)
        return 0

    def broken(self, channel, error):
        if self.on_error is not None:
            self.on_error(channel, error)
        channel.fail(error)


class PumpSelector(selectors.EpollSelector):
    """asyncio's selector, with a pump inside."""

    def __init__(self):
        super().__init__()
        self.pump = Pump(self._selector)

    def select(self, timeout=None):
        found = []
        for fd, events in self.pump.run(timeout):
            key = self._fd_to_key.get(fd)  # None: unregistered by a callback of this very turn
            if key is not None:
                found.append((key, self._mask(events) & key.events))
        return found

    @staticmethod
    def _mask(events):
        mask = 0
        if events & ~IN:
            mask |= selectors.EVENT_WRITE
        if events & ~OUT:
            mask |= selectors.EVENT_READ
        return mask
