"""Configuration: a TOML file becomes one checked, frozen ``Config``.

    load.py       text -> TOML -> models -> checks; every mistake at once
    model.py      Config, with listen.py, auth.py, pool.py, log.py, databases.py, servers.py
    reload.py     what a RELOAD can apply, and what needs a restart
    describe.py   the settings reference (docs/configuration.md) from the models
    addresses.py, values.py, secret.py    values: addresses, times, sizes, paths, secrets
"""

from __future__ import annotations

from .model import Config, Database, PoolLimits, ServerRef, User

__all__ = ["Config", "Database", "PoolLimits", "ServerRef", "User"]
