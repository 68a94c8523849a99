"""[pool]: limits that contradict each other."""

from __future__ import annotations

from ..model import Config
from ..report import Report

__all__ = ["check_pool"]


def check_pool(config: Config, report: Report) -> None:
    """Sizes and timeouts of the pools, with the overrides of databases."""
    pool = config.pool
    if pool.min_size > pool.size:
        report.add(("pool", "min_size"), f"{pool.min_size} is more than size = {pool.size}", f"at most {pool.size}")
    if pool.reserve_size and not pool.reserve_timeout:
        report.add(("pool", "reserve_timeout"), "0 means that reserve_size is never used",
                   "give a time, or reserve_size = 0")
    if pool.max_db_connections and pool.max_db_connections < pool.min_size:
        report.add(("pool", "max_db_connections"), f"{pool.max_db_connections} is less than min_size = {pool.min_size}",
                   f"0 (no limit), or at least {pool.min_size}")
    for name, database in config.databases.items():
        size = database.pool_size or pool.size
        smallest = database.min_pool_size
        if smallest is not None and smallest > size:
            report.add(("databases", name, "min_pool_size"), f"{smallest} is more than the pool size, {size}",
                       f"at most {size}")
        elif smallest is None and pool.min_size > size and pool.min_size <= pool.size:
            report.add(("databases", name, "pool_size"), f"{size} is less than [pool] min_size = {pool.min_size}",
                       "add min_pool_size")
