"""Views: the same after a journey through JSON; the wildcard serves any name."""

from __future__ import annotations

import json
from dataclasses import replace

from shardproxy.topology.view import (
    PRIMARY,
    REPLICA,
    WILDCARD_INDEX,
    DatabaseView,
    ServerView,
    TopologyView,
    wildcard_index,
)

PRIMARY_SERVER = ServerView("*/main/any/0", 4, "10.0.0.1", 5432, "*", role=PRIMARY, healthy=True, timeline=2)
REPLICA_SERVER = ServerView("*/main/any/1", 5, "", 5432, "*", unix="/run/pg", role=REPLICA, healthy=True, weight=0.5)
WILD = DatabaseView("*", WILDCARD_INDEX, False, "*/main/any/0", (PRIMARY_SERVER, REPLICA_SERVER))
SHOP = DatabaseView("shop", 0, True, None, (replace(PRIMARY_SERVER, id="shop/main/main/0", dbname="shop"),),
                    "two primaries")


def test_through_json() -> None:
    view = TopologyView(7, {"shop": SHOP, "*": WILD})
    assert TopologyView.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_lookups() -> None:
    assert WILD.primary_server == PRIMARY_SERVER
    assert SHOP.primary_server is None
    assert WILD.server("*/main/any/1") == REPLICA_SERVER
    assert WILD.server("*/main/any/2") is None
    assert TopologyView(1, {"shop": SHOP}).database("other") is None


def test_replicas_are_those_that_may_get_work() -> None:
    assert WILD.replicas == (REPLICA_SERVER,)
    for change in ({"draining": True}, {"banned": True}, {"healthy": False}, {"role": "fenced"}):
        assert replace(WILD, servers=(PRIMARY_SERVER, replace(REPLICA_SERVER, **change))).replicas == ()


def test_databases_of_the_wildcard() -> None:
    view = TopologyView(1, {"shop": SHOP, "*": WILD})
    assert view.database("shop") is SHOP
    made = view.database("crm")
    assert made is view.database("crm")
    assert made is not None
    assert made.index == wildcard_index("crm") >= WILDCARD_INDEX
    assert made.primary == "crm/main/any/0"
    assert made.primary_server is not None
    assert [(server.id, server.index, server.dbname) for server in made.servers] == [
        ("crm/main/any/0", 4, "crm"), ("crm/main/any/1", 5, "crm")]
    for number in range(3000):      # names come from clients
        view.database(f"db{number}")
    assert view.database("crm") == made
