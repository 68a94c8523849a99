"""Cuts and joins a text: replacements at places, holes among them.

Invariant: what no edit covers is copied as it is. Places are characters; bytes are made at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from .plan import Parts

__all__ = ["Edit", "Piece", "edited", "parts", "whole"]

Piece = str | int
"""Text, or the number of a hole."""

Edit = tuple[int, int, tuple[Piece, ...]]
"""From, to (exclusive), and what stands there instead."""


def edited(text: str, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> list[Piece]:
    """A part of the text with its edits. Edits at one place come in the order given."""
    end = len(text) if end is None else end
    found: list[Piece] = []
    at = start
    for first, last, pieces in sorted(edits, key=lambda edit: edit[0]):
        if first < start or last > end:
            continue
        if first < at:
            raise ValueError("edits overlap")
        found.append(text[at:first])
        found.extend(pieces)
        at = last
    found.append(text[at:end])
    return found


def parts(pieces: Iterable[Piece]) -> Parts:
    """As a plan has it: bytes and holes, neighbours joined."""
    found: list[bytes | int] = []
    for piece in pieces:
        if isinstance(piece, int):
            found.append(piece)
        elif piece:
            raw = piece.encode("utf-8", "surrogateescape")
            last = found[-1] if found else None
            if isinstance(last, bytes):
                found[-1] = last + raw
            else:
                found.append(raw)
    return tuple(found)


def whole(pieces: Iterable[Piece]) -> bytes | Parts:
    """Bytes, if there is no hole."""
    found = parts(pieces)
    return b"" if not found else found[0] if len(found) == 1 and isinstance(found[0], bytes) else found
