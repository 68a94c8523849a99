"""Compiled or interpreted hot modules: what SHARDPROXY_EXT and the files in the tree decide."""

from __future__ import annotations

import importlib.machinery
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shardproxy import _compiled

ASK = """
import importlib.util, json
from shardproxy import _compiled
specs = {name: importlib.util.find_spec(name) for name in _compiled.modules()}
print(json.dumps({"report": _compiled.report(), "summary": _compiled.summary(),
                  "origins": {name: spec.origin for name, spec in specs.items()}}))
"""


def ask(mode: str, root: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", ASK], cwd=root, capture_output=True, text=True,
                          env=os.environ | {"SHARDPROXY_EXT": mode, "PYTHONPATH": str(root)})
    if done.returncode:
        raise ImportError(done.stderr.strip().splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with two hot modules, one behind a link, and files where the compiled ones would be."""
    package = tmp_path / "shardproxy"
    (tmp_path / "dialects").mkdir()
    package.mkdir()
    (package / "dialects").symlink_to("../dialects")
    (tmp_path / "setup.py").touch()
    shutil.copy(_compiled.__file__, package / "_compiled.py")
    (package / "__init__.py").write_text("from . import _compiled\n_compiled.install()\n")
    (tmp_path / "dialects" / "__init__.py").touch()
    for source in (package / "one_cy.py", tmp_path / "dialects" / "two_cy.py"):
        source.write_text("x = 1\n")
        os.utime(source, (1_000_000, 1_000_000))
        source.with_name(source.stem + importlib.machinery.EXTENSION_SUFFIXES[0]).touch()
    return tmp_path


@pytest.mark.parametrize("mode", ["auto", "require", ""])
def test_compiled_when_all_are(checkout: Path, mode: str) -> None:
    answer = ask(mode, checkout)
    assert answer["report"] == {"shardproxy.dialects.two_cy": True, "shardproxy.one_cy": True}
    assert all(str(origin).endswith(".so") for origin in answer["origins"].values())
    assert answer["summary"] == "hot modules compiled (2)"


def test_no_means_sources_although_compiled(checkout: Path) -> None:
    answer = ask("no", checkout)
    assert answer["report"] == {"shardproxy.dialects.two_cy": False, "shardproxy.one_cy": False}
    assert all(str(origin).endswith(".py") for origin in answer["origins"].values())
    assert answer["summary"] == "hot modules interpreted (SHARDPROXY_EXT=no)"


def test_one_that_is_missing_makes_all_interpreted(checkout: Path) -> None:
    next((checkout / "dialects").glob("two_cy*.so")).unlink()
    answer = ask("auto", checkout)
    assert not any(answer["report"].values())
    assert "shardproxy.dialects.two_cy: not compiled" in str(answer["summary"])
    with pytest.raises(ImportError, match="two_cy: not compiled"):
        ask("require", checkout)


def test_edited_source_is_not_hidden_by_an_old_binary(checkout: Path) -> None:
    (checkout / "shardproxy" / "one_cy.py").write_text("x = 2\n")
    os.utime(next((checkout / "shardproxy").glob("one_cy*.so")), (1_000_001, 1_000_001))
    assert not any(ask("auto", checkout)["report"].values())
    with pytest.raises(ImportError, match="older than its source"):
        ask("require", checkout)


def test_ages_do_not_count_once_installed(checkout: Path) -> None:
    (checkout / "setup.py").unlink()
    (checkout / "shardproxy" / "one_cy.py").write_text("x = 2\n")
    os.utime(next((checkout / "shardproxy").glob("one_cy*.so")), (1_000_001, 1_000_001))
    assert all(ask("auto", checkout)["report"].values())


def test_unknown_mode_is_an_error(checkout: Path) -> None:
    with pytest.raises(ImportError, match="must be one of auto, require, no"):
        ask("yes", checkout)


def test_hot_modules_of_the_product_import_interpreted() -> None:
    code = ("import importlib, shardproxy\nfrom shardproxy import _compiled\n"
            "for name in _compiled.modules():\n"
            "    assert importlib.import_module(name).__file__.endswith('.py'), name\n"
            "assert not any(_compiled.report().values())\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=Path(_compiled.__file__).parents[1], env=os.environ | {"SHARDPROXY_EXT": "no"})
    assert done.returncode == 0, done.stderr
