"""Imports point one way, and only the registry names a dialect."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import module_name, parsed, product, short

# Left never imports right. What stands in one group may not import each other either. A dialect is a plug-in: the
# engine reaches it through the registry alone, so it may use all of the engine but the server that runs it.
ORDER: tuple[tuple[str, ...], ...] = (
    ("_compiled", "errors", "limits"),
    ("certificates", "hosts", "log"),
    ("tls",),
    ("dialects", "relay"),          # what all dialects share; relay is I/O only
    ("config",),
    ("topology",),
    ("catalog",),
    ("router",),
    ("pool",),
    ("session", "transactions"),
    ("dialects.postgres",),
    ("server",),
    ("tools",),
)
RANK = {part: rank for rank, group in enumerate(ORDER) for part in group}
RELAY_MAY = {"errors", "limits", "relay", "_compiled"}


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Full names of what a file imports from the product, with the line; those for type checkers too."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.startswith("shardproxy"))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[:len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            if base == "shardproxy" or base.startswith("shardproxy."):
                yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def part(module: str) -> str:
    """The part of the product that a module belongs to; empty for the package itself."""
    names = module.split(".")[1:]
    return ".".join(names[:2]) if names[:2] and ".".join(names[:2]) in RANK else "".join(names[:1])


def test_every_part_has_its_place() -> None:
    unknown = {part(module_name(path)) for path in product()} - RANK.keys() - {"", "__main__"}
    assert not unknown, f"say in ORDER where these stand: {sorted(unknown)}"


def test_imports_point_one_way() -> None:
    wrong: list[str] = []
    for path in product():
        here = part(module_name(path))
        for target, line in imported(path):
            there = part(target)
            if here in RANK and there in RANK and here != there and RANK[there] >= RANK[here]:
                wrong.append(f"{short(path)}:{line}: {here} may not import {target}")
            if here == "relay" and there in RANK and there not in RELAY_MAY:
                wrong.append(f"{short(path)}:{line}: relay is I/O only, it may not import {target}")
    assert not wrong, "\n".join(wrong)


def test_dialects_are_asked_for_by_name_of_registry_only() -> None:
    wrong: list[str] = []
    for path in product():
        name = module_name(path)
        if name.startswith("shardproxy.dialects"):
            continue
        for target, line in imported(path):
            if target.startswith(("shardproxy.dialects.postgres", "shardproxy.dialects.mysql")):
                wrong.append(f"{short(path)}:{line}: {target}")
    assert not wrong, "use shardproxy.dialects.get(name):\n" + "\n".join(wrong)


def test_no_second_copy_of_linked_packages() -> None:
    wrong: list[str] = []
    for path in product():
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            if any(name.split(".")[0] in ("dialects", "tools") for name in names):
                wrong.append(f"{short(path)}:{getattr(node, 'lineno', 0)}")
    assert not wrong, f"import shardproxy.dialects, shardproxy.tools: {wrong}"
