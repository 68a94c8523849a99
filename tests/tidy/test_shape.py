"""Files and functions stay small, say what they are for, and nothing is left for later."""

from __future__ import annotations

import ast
import re

from tests.tidy.tree import ROOT, parsed, python, short, texts

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# Hosts of package registries and mirrors: a checkout must work with whichever one its user has.
BANNED = re.compile("|".join(("pypi" r"\.org", "files" r"\.pythonhosted", "registry" r"\.npmjs", "repo1?" r"\.maven",
                              "deb" r"\.debian\.org", "/work" "/shared", "/tmp" "/v0")))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_files_are_short() -> None:
    long = [f"{short(path)}: {lines} lines" for path in python()
            if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX]
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    long = [f"{short(path)}:{node.lineno}: {node.name} has {lines} lines" for path in python()
            for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX]
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is_for() -> None:
    silent = [short(path) for path in python() if parsed(path).body and not ast.get_docstring(parsed(path))]
    assert not silent, silent


def test_nothing_is_left_for_later() -> None:
    left = [f"{short(path)}:{number}: {line.strip()}" for path in texts() if path.name != "test_shape.py"
            for number, line in enumerate(path.read_text().splitlines(), 1) if LATER.search(line)]
    assert not left, "\n".join(left)


def test_no_test_is_skipped_without_condition() -> None:
    skipped = [f"{short(path)}:{node.lineno}" for path in python() for node in ast.walk(parsed(path))
               if isinstance(node, ast.Attribute) and node.attr in ("skip", "xfail")
               and isinstance(node.value, ast.Attribute) and node.value.attr == "mark"]
    assert not skipped, skipped


def test_words_that_have_no_place_here() -> None:
    found = [f"{short(path)}:{number}: {line.strip()[:100]}" for path in texts()
             for number, line in enumerate(path.read_text().splitlines(), 1) if BANNED.search(line)]
    assert not found, "\n".join(found)


def test_links_in_documents_lead_somewhere() -> None:
    dead: list[str] = []
    for path in texts():
        if path.suffix != ".md":
            continue
        for target in LINK.findall(path.read_text()):
            file = target.split("#")[0]
            if file and not re.match(r"[a-z]+:", file) and not (path.parent / file).exists():
                dead.append(f"{short(path)}: {target}")
    assert not dead, "\n".join(dead)


def test_links_to_dialects_and_tools_are_links() -> None:
    for name in ("dialects", "tools"):
        link = ROOT / "shardproxy" / name
        assert link.is_symlink(), f"{link} must be a link (on checkouts without links: git config core.symlinks true)"
        assert link.resolve() == ROOT / name
