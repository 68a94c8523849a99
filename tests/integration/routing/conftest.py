"""A primary with two replicas and a proxy before them, for the tests of this folder; and which server answered.

Invariant: nothing here asks the proxy where a statement went: the server that answered says its port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

SCHEMA = """
create table item (id int primary key, name text, n int not null default 0);
create table other (id int primary key, n int not null default 0);
create sequence seq;
insert into item select i, 'item ' || i, i from generate_series(1, 100) i;
insert into other select i, 0 from generate_series(1, 10) i;
create function drawn() returns float8 language plpgsql volatile as $$ begin return random(); end $$;
create function counted() returns int language plpgsql volatile as $$
  begin update other set n = n + 1 where id = 1; return 1; end $$;
create function doubled(int) returns int language sql immutable as $$ select $1 * 2 $$;
create function here() returns int language sql stable as $$ select current_setting('port')::int $$;
create view calm as select id, name from item;
create view wild as select id, counted() as c from other;
"""


def entry(cluster: Cluster, dbname: str = "app", **settings: Any) -> dict[str, Any]:
    """A [databases.NAME] entry for all servers of the cluster."""
    first, *others = (f"{node.host}:{node.port}/{dbname}" for node in (cluster.primary, *cluster.replicas))
    return {"primary": first, "replicas": others, "harmless_functions": ["here"], **settings}


async def make_database(cluster: Cluster, dbname: str = "app") -> None:
    """The tables of SCHEMA in a new database, on all servers."""
    await cluster.primary.sql(f"create database {dbname}")
    await cluster.primary.sql(SCHEMA, dbname=dbname)
    await cluster.caught_up()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app_cluster(cluster: Cluster) -> AsyncIterator[Cluster]:
    """``cluster`` with the database ``app``."""
    await make_database(cluster)
    yield cluster
    await cluster.primary.sql("drop database app with (force)")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(app_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy with one worker before ``app_cluster``."""
    made = Proxy(tmp_path_factory.mktemp("app"), [], databases={"app": entry(app_cluster, balance="round_robin")})
    made.start()
    yield made
    made.stop()
    made.check_log()
