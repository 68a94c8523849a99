"""ruff and mypy are content."""

from __future__ import annotations

import shutil
import subprocess
import sys

from tests.tidy.tree import ROOT


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_ruff() -> None:
    run("ruff", "check", "--output-format=concise")


def test_mypy() -> None:
    run("mypy", "--no-error-summary")


def test_shell_scripts_parse() -> None:
    for script, shell in (("packaging/environment.sh", "sh"), (".ci/run", "bash")):
        done = subprocess.run([shutil.which(shell) or shell, "-n", script], cwd=ROOT, capture_output=True, text=True)
        assert not done.returncode, done.stderr
