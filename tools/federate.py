"""``shardproxy federate``: whole tables to another database server, while they are used."""

from __future__ import annotations

from .transfers import group

__all__ = ["app"]

app = group("federate", "Move whole tables to another database server, and back, while they are used.")
