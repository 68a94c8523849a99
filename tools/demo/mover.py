"""The verbs of ``shardproxy reshard``, as the command line carries them out, shown as an operator sees them.

They run in this process: what takes its time is the runner, a process of its own that the first verb starts. Invariant:
``close`` leaves no runner behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from shardproxy.config.load import load
from shardproxy.errors import ShardproxyError

from ..transfer import commands
from ..transfer.finding import find
from ..transfer.journal import FINAL
from ..transfer.planning import Ask
from ..transfer.report import status
from ..transfer.verbs import BLOCKED, DONE

__all__ = ["Mover"]

ATTEMPTS, PAUSE_S = 10, 0.5


class Mover:
    """Of one transfer. Every verb prints what the command line would; one that fails is a ShardproxyError."""

    def __init__(self, config: Path, tool: str, name: str, console: Console) -> None:
        self._path, self._config = config, load(config)
        self._tool, self._name, self._console = tool, name, console

    async def start(self, keyspace: str, to: tuple[str, ...]) -> None:
        """Begin to move slots of a keyspace, so that these shards share them."""
        ask = Ask("", keyspace=keyspace, to=to)
        await self._said(
            f"start {self._name} --keyspace {keyspace} --to {','.join(to)}",
            lambda out: commands.start(self._config, self._tool, self._name, ask, out=out),
        )

    async def watch(self) -> None:
        """Until it is ready; with bars on a terminal."""
        terminal = sys.stdout if self._console.is_terminal else None
        await self._said(
            f"status {self._name} --watch",
            lambda out: commands.watch(
                self._config, self._tool, self._name, watching=True, out=terminal or out
            ),
        )

    async def done(self, verb: str, **args: Any) -> str:
        """A verb that has to succeed; its answer."""
        return await self._said(f"{verb} {self._name}", lambda out: self._ask(verb, args, out))

    async def switch(self, max_hold_s: float) -> None:
        """As often as something stands in the way: nothing has changed then."""
        text = f"switch {self._name} --max-hold {max_hold_s:g}s"
        for _ in range(ATTEMPTS):
            code, said = await self._run(text, lambda out: self._ask("switch", {"max_hold": max_hold_s}, out))
            if code != BLOCKED:
                break
            await asyncio.sleep(PAUSE_S)
        if code != DONE:
            raise ShardproxyError(f"{text}: exit code {code}: {said}")

    async def status(self) -> dict[str, Any]:
        """As ``status --json`` has it."""
        async with find(self._config, self._tool, self._name) as found:
            return status(found.record)

    async def close(self) -> None:
        """End the runner, if there is one still."""
        with contextlib.suppress(ShardproxyError, OSError):
            async with find(self._config, self._tool, self._name) as found:
                if found.record.runner and found.record.state not in FINAL:
                    os.kill(int(found.record.runner.rpartition(":")[2]), signal.SIGTERM)

    async def _ask(self, verb: str, args: dict[str, Any], out: TextIO) -> int:
        return await commands.ask(self._config, self._tool, self._name, verb, args, out=out)

    async def _said(self, text: str, verb: Callable[[TextIO], Awaitable[int]]) -> str:
        code, said = await self._run(text, verb)
        if code != DONE:
            raise ShardproxyError(f"{text}: exit code {code}: {said}")
        return said

    async def _run(self, text: str, verb: Callable[[TextIO], Awaitable[int]]) -> tuple[int, str]:
        self._console.print(f"  [bold]$ shardproxy {self._tool} {text}[/bold]")
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            code = await verb(out)
        for line in out.getvalue().splitlines():
            self._console.print(f"    {line}", markup=False, soft_wrap=True)
        return code, out.getvalue().strip()
