# cython: annotation_typing=False
"""Where a statement text may run and what it does to the session. Types of the compiled form are in the ``.pxd``."""

import cython

from shardproxy.dialects.flags import describe

__all__ = ["Route"]


class Route:
    """Immutable by convention (by the compiler when compiled) but for ``hits``, shared by all sessions of a worker.

    ``flags``: bits of ``router.flags``. ``read_slots``, ``write_slots``: board slots, see ``dialects.base.Analysis``.
    ``rewrite``: text to send in place of the client's, or None. ``kind``: command word of the first statement.
    ``settings``: names that a probe must ask for. ``digest``: for people. ``hint``: ``primary``, ``replica`` or None.
    ``names``: see the flags that use it. ``generation``: of the router's facts; another one means: ask again.
    ``hits``: how often a statement with it was run.
    """

    def __init__(self, flags: int, *, kind: str = "", read_slots: tuple[int, ...] = (),
                 write_slots: tuple[int, ...] = (), statements: int = 1, names: tuple[str, ...] = (),
                 settings: tuple[str, ...] = (), hint: str | None = None, note: str = "", digest: str = "",
                 rewrite: bytes | None = None, generation: int = 0) -> None:
        self.flags = flags
        self.kind = kind
        self.read_slots = read_slots
        self.write_slots = write_slots
        self.statements = statements
        self.generation = generation
        self.hits = 0
        self.names = names
        self.settings = settings
        self.hint = hint
        self.note = note
        self.digest = digest
        self.rewrite = rewrite
        self.sharding = None  # what a sharded database knows of it
        self.point = None  # how one value tells the shard of its statements

    def __repr__(self) -> str:
        return f"<Route {self.kind or '?'} {describe(self.flags)} reads={self.read_slots} writes={self.write_slots}>"
