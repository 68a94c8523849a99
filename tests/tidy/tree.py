"""The checkout as the tidy tests see it: files that git knows or would add, each once, whatever links lead to it."""

from __future__ import annotations

import ast
import functools
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("shardproxy", "dialects", "tools")
SKIPPED = {"__pycache__", "build", "dist", "node_modules"}


def _walk(*tops: str) -> list[Path]:
    found: list[Path] = []
    for top in tops:
        for folder, folders, files in os.walk(ROOT / top):
            folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith(".")
                                and not name.endswith(".egg-info"))
            found += [Path(folder, file) for file in sorted(files)]
    return found


@functools.cache
def product() -> tuple[Path, ...]:
    """Python files of the product."""
    return tuple(path for path in _walk(*SOURCES) if path.suffix == ".py")


@functools.cache
def python() -> tuple[Path, ...]:
    """All Python files: product, tests, benchmarks, setup."""
    others = [path for path in _walk("tests", "benchmarks") if path.suffix == ".py"]
    return (*product(), *others, ROOT / "setup.py")


@functools.cache
def texts() -> tuple[Path, ...]:
    """All files that people read."""
    suffixes = {".py", ".pxd", ".md", ".toml", ".sh", ".service", ".sql", ".in", ".yml", ".html", ".css", ".js"}
    top = [path for path in ROOT.iterdir()
           if path.is_file() and (path.suffix in suffixes or path.name in ("Makefile", "Dockerfile"))]
    return (*(path for path in _walk(*SOURCES, "tests", "benchmarks", "docs", "packaging", ".ci")
              if path.suffix in suffixes or path.name == "run"), *sorted(top))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    """Full name under which a product file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "shardproxy" else ("shardproxy", *parts))
