"""Where the layout of a database is kept: the only authority on which shard owns what.

Invariant: a layout is replaced only by one who has seen it (its epoch), as a whole; who reads sees the old one or the
new one. An epoch is never used twice. Kept are layouts only: who serves a shard is found out at run time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from shardproxy.errors import ShardproxyError

from .layout import Layout

__all__ = ["FORMAT", "Store", "StoreError", "decode", "encode"]

FORMAT = 1
"""Version of what is written; a later one is refused instead of misread."""


class StoreError(ShardproxyError):
    """The store cannot be read or written, or holds what is not understood."""


class Store(Protocol):
    """The layout of one database. Epoch 0: nothing is stored yet."""

    async def load(self) -> tuple[int, Layout | None]:
        """The epoch and the layout of now. StoreError."""

    async def compare_and_swap(self, epoch: int, new: Layout) -> Layout | None:
        """Replace the layout with this epoch by ``new``, which gets the next epoch and is returned.

        None: the epoch is another one by now, nothing was changed. StoreError: the outcome may be unknown, load again.
        """


def encode(layout: Layout, epoch: int) -> tuple[Layout, str]:
    """The layout under another epoch, and its text."""
    made = replace(layout, epoch=epoch)
    return made, json.dumps({"format": FORMAT, "layout": made.to_json()}, indent=1)


def decode(text: str, where: str) -> Layout:
    """The layout in a text that was read from ``where``."""
    try:
        data: Mapping[str, Any] = json.loads(text)
        if data["format"] != FORMAT:
            raise StoreError(f"{where}: format {data['format']} was written by another version")
        return Layout.from_json(data["layout"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where}: damaged ({error!r})") from error
