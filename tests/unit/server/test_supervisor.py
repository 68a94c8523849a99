"""The parent with real worker processes: ready lines, replaced workers, signals, reload, console, HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., Any]


def until(condition: Callable[[], Any], timeout: float = 15) -> Any:
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def admin(proxy: Any, sql: str, user: str = "admin") -> dict[str, Any]:
    client = proxy.client()
    answer = client.ask("call admin " + json.dumps({"sql": sql, "user": user, "database": "shardproxy"}))
    client.close()
    found: dict[str, Any] = json.loads(answer)
    return found


def rows(proxy: Any, sql: str) -> list[dict[str, Any]]:
    answer = admin(proxy, sql)
    assert "error" not in answer, answer
    return [dict(zip([name for name, _ in answer["columns"]], row, strict=True)) for row in answer["rows"]]


def two_workers(proxy: Any) -> tuple[Any, Any]:
    """Clients of two different workers: the kernel chooses, so ask until it has."""
    found: dict[str, Any] = {}
    while len(found) < 2:
        client = proxy.client()
        found.setdefault(client.ask("pid"), client)
    one, other = found.values()
    return one, other


def get(proxy: Any, path: str) -> tuple[int, str]:
    host, port = proxy.address("http")
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_ready_lines_and_a_clean_end(start: Start) -> None:
    proxy = start()
    assert re.fullmatch(r"ready postgres 127\.0\.0\.1:\d+", proxy.ready[0])
    assert re.fullmatch(r"ready http 127\.0\.0\.1:\d+", proxy.ready[1])
    address = proxy.address()
    proxy.signal(signal.SIGTERM)
    assert proxy.exit_code() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 1)
    assert "Traceback" not in proxy.log
    assert "no one may see" not in proxy.log


def test_a_killed_worker_is_replaced_and_its_socket_kept(start: Start) -> None:
    proxy = start(workers=1)
    client = proxy.client()
    first = int(client.ask("pid"))
    os.kill(first, signal.SIGKILL)
    assert client.ask("pid") == ""
    client.close()
    for _ in range(3):  # connects at once: the queue of the socket is the parent's
        client = proxy.client()
        assert int(client.ask("pid")) != first
        client.close()
    assert rows(proxy, "SHOW WORKERS")[0]["restarts"] == 1
    assert "ended=\"signal 9\"" in proxy.log


def test_permits_of_a_killed_worker_come_back(start: Start) -> None:
    proxy = start(workers=2, extra="[pool]\nsize = 1\n")
    one, other = two_workers(proxy)
    take = "call acquire " + json.dumps({"pool": ["shop", "shop/main/main/0", "app"]})
    assert one.ask(take) == "true"
    assert other.ask(take) == "false"
    os.kill(int(one.ask("pid")), signal.SIGKILL)
    until(lambda: "permit" in other.ask("told"))
    assert other.ask(take) == "true"
    assert rows(proxy, "SHOW PERMITS")[0]["held"] == 1


def test_a_stuck_or_broken_worker_is_replaced(start: Start) -> None:
    proxy = start(workers=1)
    client = proxy.client()
    pid = client.ask("pid")
    client.ask("garbage")
    proxy.wait_log("worker broke the control channel")
    client = proxy.client()
    assert client.ask("pid") != pid


def test_a_worker_that_does_not_start_ends_the_proxy(start: Start) -> None:
    proxy = start(lines=0, env={"MINI_WORKER": "refuse"})
    assert proxy.exit_code() == 1
    assert "ended with exit code" in proxy.log


def test_workers_end_with_the_parent(start: Start) -> None:
    proxy = start()
    client = proxy.client()
    pid = int(client.ask("pid"))
    proxy.signal(signal.SIGKILL)
    proxy.exit_code()
    until(lambda: not os.path.exists(f"/proc/{pid}"))


def test_draining_lets_transactions_end(start: Start) -> None:
    proxy = start(workers=1)
    busy, idle = proxy.client(), proxy.client()
    assert busy.ask("hold") == "hold"
    proxy.signal(signal.SIGTERM)
    assert idle.ended()
    assert busy.ask("still here") == "still"
    with pytest.raises(ConnectionRefusedError):
        proxy.client(1)
    assert proxy.process.poll() is None
    busy.ask("end")
    assert proxy.exit_code() == 0


def test_a_second_signal_ends_at_once(start: Start) -> None:
    proxy = start(workers=1)
    busy = proxy.client()
    busy.ask("hold")
    proxy.signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    proxy.signal(signal.SIGINT)
    assert proxy.exit_code() == 0
    assert time.monotonic() - began < 3


def test_a_taken_address_is_a_clear_error(start: Start) -> None:
    proxy = start()
    other = proxy.config.with_name("other.toml")
    other.write_text(proxy.config.read_text().replace('postgres = "127.0.0.1:0"',
                                                      f'postgres = "127.0.0.1:{proxy.address()[1]}"'))
    second = start(config=other, lines=0)
    assert second.exit_code() == 1
    assert f"cannot listen on 127.0.0.1:{proxy.address()[1]}: the address is in use" in second.log


def test_mistakes_in_the_configuration(start: Start) -> None:
    proxy = start(lines=0, extra="[pool]\nsiez = 1\n")
    assert proxy.exit_code() == 2
    assert "siez" in proxy.log


def test_reload_applies_what_it_can(start: Start) -> None:
    proxy = start(workers=1)
    text = proxy.config.read_text()
    proxy.config.write_text(text.replace("workers = 1", "workers = 2") + "[pool]\nsize = 7\n")
    answer = admin(proxy, "RELOAD")
    assert any("pool.size: 20 -> 7" in notice for notice in answer["notices"])
    assert any("needs a restart" in notice and "workers" in notice for notice in answer["notices"])
    assert rows(proxy, "SHOW DATABASES")[0]["pool_size"] == 7
    assert "reload" in proxy.client().ask("told")
    proxy.config.write_text(text + "[pool]\nsize = 0\n")
    assert admin(proxy, "RELOAD")["error"][0] == "F0000"
    assert rows(proxy, "SHOW DATABASES")[0]["pool_size"] == 7
    proxy.config.write_text(text + "[pool]\nsize = 9\n")
    proxy.signal(signal.SIGHUP)
    proxy.wait_log("pool.size: 7 -> 9")
    until(lambda: rows(proxy, "SHOW DATABASES")[0]["pool_size"] == 9)


def test_commands_reach_all_workers_and_their_replacements(start: Start) -> None:
    proxy = start(workers=1)
    assert admin(proxy, "pause shop;")["tag"] == "PAUSE"
    assert admin(proxy, "DISABLE shop")["tag"] == "DISABLE"
    assert rows(proxy, "SHOW DATABASES")[0]["paused"] == 1
    client = proxy.client()
    os.kill(int(client.ask("pid")), signal.SIGKILL)
    told = json.loads(until(lambda: proxy.client().ask("told")))
    assert ["pause", "shop"] in told
    assert ["enable", "shop", False] in told
    assert ["topology", ["shop"]] in told
    assert admin(proxy, "RESUME")["tag"] == "RESUME"
    assert admin(proxy, "RESUME")["error"][0] == "55000"


def test_a_client_can_be_killed(start: Start) -> None:
    proxy = start(workers=2)
    victim = proxy.client()
    victim.ask("pid")
    (row,) = [row for row in rows(proxy, "SHOW CLIENTS") if row["port"] == 0][:1]
    for row in rows(proxy, "SHOW CLIENTS"):
        admin(proxy, f"KILL {row['id']}")
    assert victim.ask("pid") == ""
    assert admin(proxy, "KILL CLIENT 99999999")["error"][0] == "42704"


def test_figures_are_added_up(start: Start) -> None:
    proxy = start(workers=2)
    clients = [proxy.client() for _ in range(8)]
    for client in clients:
        client.ask("pid")
    (pool,) = rows(proxy, "SHOW POOLS")
    assert pool["cl_active"] >= 8
    assert pool["maxwait_us"] == 1
    before = rows(proxy, "SHOW STATS")[0]["total_query_count"]
    os.kill(int(clients[0].ask("pid")), signal.SIGKILL)
    until(lambda: all(row["pid"] for row in rows(proxy, "SHOW WORKERS")))
    assert rows(proxy, "SHOW STATS")[0]["total_query_count"] >= before


def test_http(start: Start) -> None:
    proxy = start()
    assert get(proxy, "/healthz") == (200, '{"status": "alive", "workers": 2, "workers_up": 2}')
    status, text = get(proxy, "/readyz")
    assert status == 503
    assert json.loads(text)["reasons"] == {"shop": "no primary"}
    status, text = get(proxy, "/metrics")
    assert status == 200
    assert 'shardproxy_worker_up{worker="1"} 1.0' in text
    assert 'shardproxy_database_primary_up{database="shop"} 0.0' in text
    status, text = get(proxy, "/")
    assert status == 200
    assert "shop/main/main/0" in text or "shop" in text
    assert get(proxy, "/nothing")[0] == 404


def test_takeover_refuses_no_connection(start: Start) -> None:
    old = start()
    fixed = old.config.read_text()
    for kind in ("postgres", "http"):
        fixed = fixed.replace(f'{kind} = "127.0.0.1:0"', f'{kind} = "127.0.0.1:{old.address(kind)[1]}"')
    old.config.write_text(fixed)
    stays = old.client()
    stays.ask("hold")
    old_pids = {row["pid"] for row in rows(old, "SHOW WORKERS")}
    new = start("--takeover", config=old.config)
    assert new.ready == old.ready
    answers = set()
    for _ in range(30):
        client = new.client()
        answers.add(int(client.ask("pid")))
        client.close()
    assert not answers & old_pids
    assert stays.ask("pid") != ""
    assert old.process.poll() is None
    stays.close()
    assert old.exit_code() == 0
    client = new.client()
    assert client.ask("pid")
    new.wait_log("the old process has ended")
    third = start("--takeover", config=old.config)
    assert new.exit_code() == 0
    assert third.client().ask("pid")
    assert get(third, "/healthz")[0] == 200


def test_takeover_without_anyone_is_a_normal_start(start: Start) -> None:
    assert start("--takeover").client().ask("pid")


def test_connections_during_takeover(start: Start) -> None:
    """Connect without a pause while processes change: none is refused or reset."""
    old = start(workers=1)
    text = old.config.read_text().replace('postgres = "127.0.0.1:0"',
                                          f'postgres = "127.0.0.1:{old.address()[1]}"')
    old.config.write_text(text.replace("workers = 1", "workers = 2"))
    new = start("--takeover", config=old.config, lines=0)
    served = 0
    while old.process.poll() is None or served < 50:
        client = old.client()
        assert client.ask("pid")
        client.close()
        served += 1
    new.wait_ready(2)
    assert old.exit_code() == 0
    assert len({row["pid"] for row in rows(new, "SHOW WORKERS")}) == 2
