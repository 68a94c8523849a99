"""What the types of the settings cannot say: contradictions, missing parts, references, files.

Invariant: a check reads the configuration and local files, never the network, and reports instead of raising.
"""

from __future__ import annotations

from ..model import Config
from ..report import Report
from .auth import check_auth
from .databases import check_databases
from .listen import check_listen
from .pool import check_pool
from .sharding import check_sharding

__all__ = ["check_all"]

_CHECKS = (check_listen, check_auth, check_pool, check_databases, check_sharding)


def check_all(config: Config, report: Report) -> None:
    """Run every check."""
    for check in _CHECKS:
        check(config, report)
