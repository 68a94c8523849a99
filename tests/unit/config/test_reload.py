"""What a RELOAD applies, and what it leaves to a restart."""

from __future__ import annotations

from shardproxy.config.reload import diff, effective

from .conftest import MINIMAL, Load


def test_nothing_changed(load_text: Load) -> None:
    old, new = load_text(), load_text()
    assert old == new
    changes = diff(old, new)
    assert (changes.applied, changes.needs_restart) == ([], [])


def test_what_can_be_applied(load_text: Load) -> None:
    changes = diff(load_text(MINIMAL + 'replicas = ["b:1"]\n'), load_text(MINIMAL + """
        replicas = ["b:1", { address = "c:1", weight = 2 }]
        [databases.new]
        primary = "a:1"
        [pool]
        size = 30
        [log]
        connections = false
        """))
    assert changes.needs_restart == []
    assert changes.applied == [
        "pool.size: 20 -> 30",
        "log.connections: true -> false",
        "databases.shop.replicas: [{address = b:1, weight = 1.0}] -> "
        "[{address = b:1, weight = 1.0}, {address = c:1, weight = 2.0}]",
        "databases.new: added"]


def test_what_needs_a_restart(load_text: Load) -> None:
    old = load_text()
    new = load_text('topology = "file:x"' + MINIMAL.replace(
        '"127.0.0.1:6432"', '["127.0.0.1:6432", "127.0.0.1:6433"]\nworkers = 2\nshutdown_timeout = 5\nunix = "/tmp"'))
    changes = diff(old, new)
    assert changes.applied == ["listen.shutdown_timeout: 30.0 -> 5.0"]
    assert changes.needs_restart == [
        "topology: none -> file:x",
        "listen.postgres: [127.0.0.1:6432] -> [127.0.0.1:6432, 127.0.0.1:6433]",
        "listen.unix: none -> {directory = /tmp, mode = 0777}",
        "listen.workers: 1 -> 2"]


def test_effective_keeps_what_needs_a_restart(load_text: Load) -> None:
    old = load_text()
    new = load_text('topology = "file:x"' + MINIMAL.replace("[listen]", "[listen]\nworkers = 2\nshutdown_timeout = 5")
                    + "pool_size = 3\n")
    running = effective(old, new)
    assert (running.topology, running.listen.workers) == (None, 1)
    assert (running.listen.shutdown_timeout, running.databases["shop"].pool_size) == (5.0, 3)
    assert running.databases["shop"].name == "shop"
    assert running.source == old.source
    assert diff(running, new).applied == []
    assert diff(old, running).needs_restart == []


def test_secrets_are_not_shown(load_text: Load) -> None:
    changes = diff(load_text(), load_text(MINIMAL.replace('"secret"', '"hush"') + 'server_password = "hush"\n'))
    assert changes.applied == ["auth.users.app.password: changed", "databases.shop.server_password: changed"]


def test_removed_entries(load_text: Load) -> None:
    more = MINIMAL + '[auth.users.x]\npassword = "hush"\n[databases."*"]\nprimary = "a:1"\n'
    assert diff(load_text(more), load_text()).applied == ["auth.users.x: removed", 'databases."*": removed']
