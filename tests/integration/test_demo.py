"""The demo as users run it, with small numbers: every fact is met, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = "import sys; from shardproxy.tools.demo import SMALL, demo; sys.exit(demo(once=True, size=SMALL))"


@pytest.mark.slow
def test_demo_once() -> None:
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True,
                              timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stderr
        assert "facts are as promised" in done.stdout
        assert os.listdir(folder) == []


def test_without_a_terminal_the_command_ends_by_itself() -> None:
    code = ("import sys, shardproxy.tools.demo as d; d.demo = lambda once: 0 if once else 9; "
            "from shardproxy.tools.cli import main; sys.argv = ['shardproxy', 'demo']; main()")
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
