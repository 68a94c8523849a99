"""An error of the proxy's own that the server raises: in its place in a pipeline, with all that follows from it."""

from __future__ import annotations

from . import wire

__all__ = ["raising"]


def raising(sqlstate: str, text: str, hint: str = "") -> bytes:
    """A statement that makes the server raise this error, wherever in a pipeline or transaction it stands."""
    body = f"RAISE EXCEPTION USING ERRCODE = {wire.quote_literal(sqlstate)}, MESSAGE = {wire.quote_literal(text)}"
    if hint:
        body += f", HINT = {wire.quote_literal(hint)}"
    return f"DO $shardproxy$BEGIN {body}; END$shardproxy$".encode("utf-8", "surrogateescape")
