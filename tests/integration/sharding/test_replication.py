"""A database that is spread over servers cannot be replicated as one."""

from __future__ import annotations

import pytest

from tests.fixtures.raw import Raw, codes
from tests.fixtures.sharded import Deployment


@pytest.mark.parametrize("kind", ["database", "true"])
async def test_refused(shop: Deployment, kind: str) -> None:
    assert shop.proxy is not None
    name = next(system.name for system in shop.systems.values() if system.count)
    client = await Raw.open(shop.proxy.port)
    assert codes(await client.log_in({"user": "postgres", "database": name, "replication": kind})) == ["0A000"]
    await client.close()
