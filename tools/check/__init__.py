"""``shardproxy check``: is this configuration right, and do the servers fit it?

    findings.py   one finding: ok, a warning or an error; how it is printed
    offline.py    what is suspicious in a configuration without mistakes, and its summary
    online.py     asks every server; what to ask is the dialect's matter (postgres.py, logins.py, servers.py)

Invariant: nothing is written to any server, and no secret is printed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.errors import ConfigError
from shardproxy.tools.topology import differences
from shardproxy.topology.store import StoreError

from .findings import Finding, count, show, warn
from .offline import summary, warnings
from .online import check_online

__all__ = ["EXIT_CONFIG", "EXIT_FAILED", "EXIT_OK", "Finding", "check", "check_online", "summary", "warnings"]

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2


def check(path: Path, *, online: bool = False, env: Mapping[str, str] = os.environ,
          out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Check a configuration file, print what is found, and give the exit code.

    Mistakes in the file go to ``err``, each on a line of its own: 2. With ``online`` the servers are asked too: 1 if
    one of them does not fit. Everything else goes to ``out``: 0.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        config = load(path, env)
    except ConfigError as error:
        for mistake in error.mistakes:
            print(mistake, file=err)
        return EXIT_CONFIG
    findings = warnings(config)
    if any(database.sharded for database in config.databases.values()):
        findings += asyncio.run(_stored(config, online))
    show(findings, out)
    if online:
        findings += asyncio.run(check_online(config, lambda finding: show([finding], out)))
    failed = sum(finding.level == "error" for finding in findings)
    print("ok" if not failed else count(failed, "error"), file=out)
    for line in summary(config):
        print(f"  {line}", file=out)
    return EXIT_FAILED if failed else EXIT_OK


async def _stored(config: Config, online: bool) -> list[Finding]:
    """Where the stored layout wins over the configuration; a store in the database is only read ``online``."""
    found: list[Finding] = []
    for name, entry in config.databases.items():
        if not entry.sharded or (config.topology == "database" and not online):
            continue
        try:
            told = await differences(config, entry)
        except StoreError as error:
            found.append(warn(f"databases.{name}", f"the stored layout cannot be read: {error}"))
            continue
        found += [warn(f"databases.{name}", f"the stored layout wins: {difference}", "see `shardproxy topology show`")
                  for difference in told]
    return found
