"""Which hot modules (``*_cy.py``) run compiled; decided once, when ``shardproxy`` is imported.

Invariant: all of them run compiled or all run interpreted. They share C types, so a mixture would not work, and
the two states that exist are exactly the two that are tested.

``SHARDPROXY_EXT`` at run time: ``auto`` (default) takes the compiled modules if they are complete, and in a checkout
no older than their sources; ``require`` raises ImportError unless that holds; ``no`` runs the sources even where
compiled modules lie beside them. ``summary()`` says what is used and why.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["install", "modules", "problems", "report", "summary"]

MODES = ("auto", "require", "no")
_PACKAGE = "shardproxy"
_ROOT = Path(__file__).resolve().parent


def modules(root: Path = _ROOT) -> dict[str, Path]:
    """Full names of all hot modules and their sources, sorted; follows the links to dialects and tools."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for file in files:
            if file.endswith("_cy.py"):
                path = Path(folder, file)
                found[".".join((_PACKAGE, *path.relative_to(root).with_suffix("").parts))] = path
    return dict(sorted(found.items()))


def binary(source: Path) -> Path | None:
    """The compiled module beside its source that this interpreter would load, if there is one."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        candidate = source.with_name(source.stem + suffix)
        if candidate.exists():
            return candidate
    return None


def problems(root: Path = _ROOT) -> dict[str, str]:
    """Modules that cannot run compiled, and why. Ages count only in a checkout: installers set their own times."""
    checkout = (root.parent / "setup.py").exists()
    found: dict[str, str] = {}
    for name, source in modules(root).items():
        compiled = binary(source)
        if compiled is None:
            found[name] = "not compiled"
        elif checkout:
            texts = [path for path in (source, source.with_suffix(".pxd")) if path.exists()]
            if max(path.stat().st_mtime for path in texts) > compiled.stat().st_mtime:
                found[name] = "compiled module is older than its source"
    return found


class _SourcesOnly:
    """Meta path finder that gives the source of a hot module, whatever lies beside it."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None,
                  ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.endswith("_cy") or not fullname.startswith(_PACKAGE + "."):
            return None
        for entry in path or ():
            source = os.path.join(entry, fullname.rpartition(".")[2] + ".py")
            if os.path.exists(source):
                loader = importlib.machinery.SourceFileLoader(fullname, source)
                return importlib.util.spec_from_file_location(fullname, source, loader=loader)
        return None


def install() -> None:
    """Decide, and put the finder in place if the sources are to run. Called when the package is imported."""
    mode = os.environ.get("SHARDPROXY_EXT") or "auto"
    if mode not in MODES:
        raise ImportError(f"SHARDPROXY_EXT={mode}: must be one of {', '.join(MODES)}")
    bad = {} if mode == "no" else problems()
    if mode == "require" and bad:
        listed = "; ".join(f"{name}: {why}" for name, why in bad.items())
        raise ImportError(f"SHARDPROXY_EXT=require, but {listed} (`make ext` compiles)")
    if (mode == "no" or bad) and _SourcesOnly not in sys.meta_path:
        sys.meta_path.insert(0, _SourcesOnly)


def report() -> dict[str, bool]:
    """For each hot module whether it runs compiled (or would, where it is not imported yet)."""
    compiled: dict[str, bool] = {}
    for name, source in modules().items():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded is None:
            compiled[name] = _SourcesOnly not in sys.meta_path and binary(source) is not None
        else:
            compiled[name] = not loaded.endswith(".py")
    return compiled


def summary() -> str:
    """One line for ``--version``, the log and the header of a test run."""
    states = report()
    if states and all(states.values()):
        return f"hot modules compiled ({len(states)})"
    why = "SHARDPROXY_EXT=no" if os.environ.get("SHARDPROXY_EXT") == "no" else ""
    if not why:
        bad = problems()
        why = next((f"{name}: {reason}" for name, reason in bad.items()), "none found")
        why += f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"hot modules interpreted ({why})"
