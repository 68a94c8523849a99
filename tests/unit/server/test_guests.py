"""Counting clients over workers, by database and by user."""

from __future__ import annotations

from shardproxy.server.guests import Guests


def test_limits_and_their_release() -> None:
    guests = Guests(lambda database, user: (2 if database == "shop" else 0, 3 if user == "app" else 0))
    assert [guests.admit(worker, "shop", "x") for worker in (0, 1, 2)] == ["", "", "max_db_client_connections"]
    guests.left(1, "shop", "x")
    guests.left(1, "shop", "x")  # it has none left there: nothing of another worker's is given back
    assert [guests.admit(worker, "shop", "x") for worker in (1, 1)] == ["", "max_db_client_connections"]
    others = [guests.admit(0, f"other{number}", "app") for number in range(4)]
    assert others == ["", "", "", "max_user_client_connections"]
    guests.worker_died(0)
    assert guests.admit(1, "shop", "app") == ""
    assert guests.admit(1, "shop", "app") == "max_db_client_connections"


def test_those_that_came_before_the_limit_count() -> None:
    guests = Guests(lambda database, user: (2, 0))
    for _ in range(5):
        guests.count(0, "shop", "x")
    assert guests.admit(1, "shop", "x") == "max_db_client_connections"
    for _ in range(4):
        guests.left(0, "shop", "x")
    assert guests.admit(1, "shop", "x") == ""
