"""The whole configuration: names, overrides, derived paths, and the way to a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shardproxy.config.model import Config, Secret

from .conftest import MINIMAL, Load

RICH = MINIMAL + """
replicas = [{ address = "[::1]:5433/shop", weight = 2, zone = "b" }, "/tmp:5434"]
max_lag = "1MB, 1.5s"
pool_size = 7
server_password = "hush"
[databases."*"]
shards.any = { primary = "127.0.0.1:5432" }
[auth.users.batch]
verifier = "md5%s"
pool_mode = "session"
pool_size = 3
[[auth.hosts]]
source = "10.1.2.3/8"
method = "md5"
tls = false
[[auth.hosts]]
[pool]
query_wait_timeout = "1min"
max_db_connections = 9
""" % ("0" * 32)


def test_nothing_can_be_changed(load_text: Load) -> None:
    config = load_text()
    with pytest.raises(ValidationError):
        config.pool.size = 5


def test_database_for(load_text: Load) -> None:
    config = load_text(RICH)
    shop, other = config.database_for("shop"), config.database_for("other")
    assert shop is config.databases["shop"]
    assert shop.name == "shop"
    assert other is not None
    assert other.name == "other"
    assert other.servers[0].dbname == "other"
    assert config.databases["*"].servers[0].id == "*/main/any/0", "the entry itself is unchanged"
    assert [config.database_for(name) for name in ("shardproxy", "*", "")] == [None, None, None]
    assert load_text().database_for("other") is None


def test_servers_in_one_form(load_text: Load) -> None:
    primary, tcp, unix = load_text(RICH).databases["shop"].servers
    assert (primary.id, primary.configured_primary, primary.host, primary.port) == (
        "shop/main/main/0", True, "127.0.0.1", 5432)
    assert (tcp.id, tcp.host, tcp.weight, tcp.zone) == ("shop/main/main/1", "::1", 2.0, "b")
    assert (unix.unix, unix.port, unix.dbname) == ("/tmp", 5434, "shop"), "the name of the entry fills in"


@pytest.mark.parametrize("text", [
    'primary = "a:1/x"\nreplicas = ["b:1/x"]', 'shards.main = { primary = "a:1/x", replicas = ["b:1/x"] }',
    'keyspaces.main.shards.main = { primary = "a:1/x", replicas = ["b:1/x"] }'])
def test_three_ways_to_write_the_same(text: str, load_text: Load) -> None:
    database = load_text(MINIMAL.partition("primary")[0] + text).databases["shop"]
    assert [server.id for server in database.servers] == ["shop/main/main/0", "shop/main/main/1"]
    assert database.main_keyspace == "main"


def test_pool_limits(load_text: Load) -> None:
    config = load_text(RICH)
    shop = config.databases["shop"]
    app, batch = config.pool_for(shop, "app"), config.pool_for(shop, "batch")
    assert (app.mode, app.size, app.query_wait_timeout, app.max_db_connections) == ("transaction", 7, 60.0, 9)
    assert (batch.mode, batch.size) == ("session", 3), "the user's settings come before the database's"
    other = config.database_for("other")
    assert other is not None
    assert config.pool_for(other, "unknown").size == 20


def test_users(load_text: Load) -> None:
    config = load_text(RICH)
    batch = config.user("batch")
    assert batch is not None
    assert batch.password is None
    assert batch.verifier is not None
    assert config.user("nobody") is None


def test_a_password_in_the_form_of_a_verifier_is_one(load_text: Load) -> None:
    verifier = "SCRAM-SHA-256$4096:c2FsdA==$" + "A" * 43 + "=:" + "B" * 43 + "="
    user = load_text(MINIMAL + f'[auth.users.x]\npassword = "{verifier}"\n').auth.users["x"]
    assert user.password is None
    assert user.verifier == Secret(verifier)


def test_the_way_to_a_worker(load_text: Load, tmp_path: Path) -> None:
    config = load_text(RICH)
    text = config.to_worker_json()
    received = Config.from_worker_json(text)
    assert received == config
    assert received.source == tmp_path / "shardproxy.toml"
    assert received.databases["shop"].name == "shop"
    password = received.databases["shop"].server_password
    assert password is not None
    assert password.reveal() == "hush"
    assert "hush" in text
    assert "hush" not in config.model_dump_json() + repr(config) + str(config.model_dump())


def test_derived_paths(load_text: Load, tmp_path: Path) -> None:
    config = load_text()
    assert config.control_path == tmp_path / "shardproxy.control"
    assert config.state_dir == tmp_path / "shardproxy.topology"
    listen = MINIMAL.replace("[listen]", '[listen]\ncontrol = "none"')
    assert load_text(listen).control_path is None
    assert load_text(listen.replace("none", "/run/c")).control_path == Path("/run/c")
    assert load_text('topology = "file:state"' + MINIMAL).state_dir == tmp_path / "state"


def test_relative_paths_start_at_the_file(load_text: Load, tmp_path: Path) -> None:
    assert load_text(MINIMAL + '[log]\nfile = "proxy.log"\n').log.file == tmp_path / "proxy.log"


def test_unix_socket_mode(load_text: Load, tmp_path: Path) -> None:
    unix = load_text(MINIMAL.replace("[listen]", '[listen]\nunix = { directory = ".", mode = "0770" }')).listen.unix
    assert unix is not None
    assert unix.mode_bits == 0o770
    assert unix.directory == tmp_path / "."
