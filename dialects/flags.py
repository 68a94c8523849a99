"""What a statement is, as bits: the vocabulary in which a dialect tells the router what it found.

Plain integers (not an enum): a session tests them on every statement. ``shardproxy.router.flags`` re-exports them
for the engine; they live here because a dialect may not import the engine.

Invariant: a bit that is *missing* must be proven, except ``READ``, which must be proven when *set*.
"""

from __future__ import annotations

READ = 1 << 0
"""A proven read: may run on a replica, and may be run again if no byte of its answer was delivered."""

BEGIN = 1 << 1
BEGIN_READ_ONLY = 1 << 2
"""The transaction is opened explicitly READ ONLY: ``names`` = (what stands behind BEGIN,)."""

COMMIT = 1 << 3
"""COMMIT, END, PREPARE TRANSACTION, COMMIT PREPARED: the outcome is unknown if the answer is lost."""

ROLLBACK = 1 << 4

PROBE = 1 << 5
"""May change session-level state: ask the server for the truth when the transaction ends."""

UNPIN = 1 << 6
"""May release session-level state: probe again if the session is pinned."""

FOREVER = 1 << 7
"""Changes state that no probe can see: the session stays pinned until the client leaves."""

DDL = 1 << 8
"""The catalog facts that routing relies on may have changed."""

PREPARED_SQL = 1 << 9
"""Names prepared statements in SQL (EXECUTE, DEALLOCATE, ...): ``names`` has them; empty means any of them."""

DEALLOCATE_ALL = 1 << 10
"""All prepared statements of the session are gone, those of the protocol too."""

SEQUENCE_STATE = 1 << 11
"""Uses what an earlier statement of the session left behind in its sequences (currval, lastval)."""

PROXY_SET = 1 << 12
"""SET of a setting of the proxy itself: ``names`` = (name, value) or (name, value, "local")."""

PROXY_SHOW = 1 << 13
"""SHOW of a setting of the proxy itself: ``names`` = (name,)."""

COPY_IN = 1 << 14
COPY_OUT = 1 << 15

TERMINATE = 1 << 16
"""Ends or cancels other server sessions."""

MULTI = 1 << 17
"""More than one statement in the text."""

PRIMARY = 1 << 18
"""Must run on the primary, also within a read-only transaction."""

EMPTY = 1 << 19
"""Nothing but blanks, comments and semicolons."""

UNPARSED = 1 << 20
"""The text could not be scanned or parsed: nothing about it is proven."""

MAYBE_READ = 1 << 21
"""Not certainly a write: a ``replica`` hint makes it a read on the user's responsibility."""

HIDDEN = 1 << 22
"""May set a setting that the server does not list and whose name is not known, so that no probe can ask for it."""

SESSIONS = 1 << 23
"""Concerns the processes that serve sessions: this session's process id, or whether a database is in use."""

ADVANCES = 1 << 24
"""May advance a sequence, or ask it in a way that is not seen here: the session's sequences are then this client's."""

NAMES = {bit: name for name, bit in list(globals().items()) if name.isupper() and isinstance(bit, int)}
"""Bit -> name, in ascending order of bits."""


def describe(flags: int) -> str:
    """The names of the bits that are set, for people: ``READ|MULTI``."""
    return "|".join(name for bit, name in NAMES.items() if flags & bit)
