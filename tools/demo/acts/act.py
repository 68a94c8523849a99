"""One part of the walk-through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..facts import Facts
from ..stage import Stage

__all__ = ["Act"]


@dataclass(frozen=True, slots=True)
class Act:
    """``about`` says in a sentence or two what is going to be shown."""

    title: str
    about: str
    play: Callable[[Stage, Facts], Awaitable[None]]
