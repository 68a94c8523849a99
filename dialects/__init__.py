"""Registry of dialects: the only way by which the engine reaches code that knows one database."""

from __future__ import annotations

import importlib

if __name__ != "shardproxy.dialects":  # a second copy under another name would have its own registry
    raise ImportError("import this package as shardproxy.dialects")

from .base import Dialect

_MODULES = {"postgres": "shardproxy.dialects.postgres"}
_LOADED: dict[str, Dialect] = {}

__all__ = ["Dialect", "get", "names"]


def names() -> list[str]:
    """Names that ``get`` accepts, sorted."""
    return sorted(_MODULES)


def get(name: str) -> Dialect:
    """The dialect called ``name``, imported at first use. Raises ``KeyError`` for an unknown name."""
    if name not in _LOADED:
        module = importlib.import_module(_MODULES[name])
        _LOADED[name] = module.DIALECT
    return _LOADED[name]
