"""``shardproxy reshard``: tables over more, fewer or other shards, while they are used."""

from __future__ import annotations

from .transfers import group

__all__ = ["app"]

app = group("reshard", "Spread tables over shards, and slots over more, fewer or other shards, while they are used.")
