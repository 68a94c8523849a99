"""Registry of dialects: the only way by which the engine reaches code that knows one database."""

from __future__ import annotations

import importlib
from typing import cast

if __name__ != "shardproxy.dialects":  # a second copy under another name would have its own registry
    raise ImportError("import this package as shardproxy.dialects")

from .base import Dialect
from .serving import Serves

_MODULES = {"postgres": "shardproxy.dialects.postgres"}
_LOADED: dict[str, Dialect] = {}

__all__ = ["Dialect", "Serves", "get", "names", "serving"]


def names() -> list[str]:
    """Names that ``get`` accepts, sorted."""
    return sorted(_MODULES)


def get(name: str) -> Dialect:
    """The dialect called ``name``, imported at first use. Raises ``KeyError`` for an unknown name."""
    if name not in _LOADED:
        module = importlib.import_module(_MODULES[name])
        _LOADED[name] = module.DIALECT
    return _LOADED[name]


def serving(name: str) -> Serves:
    """The same dialect, as what serves clients."""
    return cast(Serves, get(name))
