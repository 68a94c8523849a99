"""What is in the tree is in the package: every module, every typed header, every compiled module in every list."""

from __future__ import annotations

import importlib.util
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import setuptools

from shardproxy import _compiled
from tests.tidy.tree import ROOT, SOURCES, module_name, product, short

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def setup_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shardproxy_setup", ROOT / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packages() -> set[str]:
    found = setuptools.find_packages(str(ROOT), include=PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
    return set(found)


def test_every_folder_with_modules_is_a_package() -> None:
    wanted = {module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
              for path in product()}
    assert wanted == packages(), "an __init__.py is missing, or a folder is empty"


def test_every_other_file_is_package_data() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    left = [short(path) for top in SOURCES for path in (ROOT / top).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc", ".so", ".c") and not path.is_symlink()
            and not any(fnmatch(path.name, pattern) for pattern in patterns)]
    assert not left, f"not in [tool.setuptools.package-data]: {left}"


def test_every_suffix_is_in_the_source_distribution() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text()
    for pattern in PYPROJECT["tool"]["setuptools"]["package-data"]["*"]:
        for top in SOURCES:
            if any(fnmatch(path.name, pattern) for path in (ROOT / top).rglob("*")):
                line = next(line for line in manifest.splitlines() if line.startswith(f"recursive-include {top} "))
                assert pattern in line.split(), f"{line}: no {pattern}"


def test_compiled_modules_are_the_same_in_every_list(monkeypatch: Any) -> None:
    in_tree = {module_name(path) for path in product() if path.name.endswith("_cy.py")}
    assert set(_compiled.modules()) == in_tree
    monkeypatch.chdir(ROOT)
    assert {extension.name for extension in setup_module().extensions()} == in_tree
    mypy = PYPROJECT["tool"]["mypy"]
    relaxed = {name for entry in mypy["overrides"] for name in entry["module"] if name.endswith("_cy")}
    assert relaxed == in_tree, "the list of hot modules in [[tool.mypy.overrides]] differs from the tree"
    assert set(mypy["untyped_calls_exclude"]) == in_tree, "untyped_calls_exclude in [tool.mypy] differs from the tree"


def test_hot_modules_do_not_postpone_annotations() -> None:
    wrong = [short(path) for path in product() if path.name.endswith("_cy.py")
             and "from __future__ import annotations" in path.read_text()]
    assert not wrong, f"Cython takes types from annotations, they must be real: {wrong}"


def test_nothing_built_is_committed() -> None:
    if not (ROOT / ".git").exists():
        return
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    built = [file for file in files
             if Path(file).suffix in (".c", ".so", ".pyc") or file.startswith((".venv/", "build/"))]
    assert not built
