"""Hints in comments: ``/* shardproxy: primary */``, ``/* shardproxy: replica */``, ``/* shardproxy: shard=s1 */``.

Invariant: a hint never makes a certain write run on a replica, and an unknown hint changes nothing but is named in
a note, so that a typing error can be found.
"""

from __future__ import annotations

from collections.abc import Iterable

from shardproxy.dialects.base import ANY_TABLE, Analysis
from shardproxy.router.flags import MAYBE_READ, PRIMARY, READ

__all__ = ["apply", "parse"]

_PREFIX = "shardproxy:"


def parse(comments: Iterable[str]) -> tuple[str | None, str]:
    """``primary``, ``replica`` or None, and a note about what is not obeyed. ``primary`` wins."""
    found: set[str] = set()
    notes = []
    for comment in comments:
        text = comment.removeprefix("/*").removesuffix("*/").strip()
        for item in text.removeprefix(_PREFIX).replace(",", " ").split():
            word = item.lower()
            if word in ("primary", "replica"):
                found.add(word)
            elif word.startswith(("shard=", "key=", "keyspace=")):
                notes.append(f"hint {item} is only for sharded databases")
            else:
                notes.append(f"unknown hint {item}")
    hint = "primary" if "primary" in found else "replica" if found else None
    return hint, "; ".join(notes)


def apply(analysis: Analysis, hint: str | None) -> tuple[int, tuple[int, ...]]:
    """Flags and slots to read under a hint."""
    if hint == "primary":
        return (analysis.flags | PRIMARY) & ~READ, analysis.read_slots
    if hint == "replica" and analysis.flags & MAYBE_READ and not analysis.flags & (READ | PRIMARY):
        return analysis.flags | READ, analysis.read_slots or ANY_TABLE
    return analysis.flags, analysis.read_slots
