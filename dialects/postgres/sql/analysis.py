"""From a digest to what the router needs to know."""

from __future__ import annotations

from shardproxy.dialects.base import UNKNOWN_TABLE, Analysis, FactsView
from shardproxy.dialects.flags import PROBE, UNPARSED

__all__ = ["analyse"]


def analyse(key: bytes, facts: FactsView | None) -> Analysis:
    """What the text with this digest is. Nothing is proven yet."""
    return Analysis(PROBE | UNPARSED, write_slots=UNKNOWN_TABLE)
