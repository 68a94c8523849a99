"""The verbs of ``shardproxy reshard`` and ``shardproxy federate``, as the command line carries them out.

Invariant: what changes a transfer goes through its runner as a request in the journal; this process only asks, makes
sure that there is a runner, and passes the answer on. So every verb works from any machine that reaches the servers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from shardproxy.config.model import Config, Database
from shardproxy.tools.check.findings import Finding, show

from .display import follow
from .finding import Found, database_of, find, journal_of, log_path
from .garbage import collect
from .journal import FINAL, Conflict, Journal, Record
from .launching import ensure_runner
from .looking import look, slot_weights
from .move import Move
from .plan_text import plan_lines
from .planning import Ask, PlanError, plan
from .preflight import preflight
from .report import lines, status
from .servers import Servers
from .verbs import BLOCKED, DONE, FAILED, REFUSED, USAGE, reached

__all__ = ["ask", "gc", "listing", "logs", "planned", "start", "watch"]

POLL_S = 0.1
ENSURE_S = 2.0
WAITS = {"verify": 86400.0, "complete": 3600.0, "cancel": 3600.0}
WAIT_S = 120.0


async def planned(config: Config, tool: str, name: str, wanted: Ask, by: str = "", *, out: TextIO | None = None) -> int:
    """``plan``: print it, and keep it for ``start``; nothing is made yet."""
    out = out or sys.stdout
    entry = database_of(config, wanted.database)
    servers = Servers(entry)
    journal = journal_of(servers)
    try:
        move = await _move(config, entry, servers, tool, name, wanted, by)
        findings = await preflight(servers, move, journal)
        for line in await plan_lines(servers, move):
            print(line, file=out)
        show(findings, out)
        record = await journal.load(name)
        if record is None or record.state in FINAL or not record.body.get("started"):
            await _create(journal, record, move, wanted)
            print(f"next: shardproxy {tool} start {name}", file=out)
        return REFUSED if _errors(findings) else DONE
    except PlanError as error:
        return _problems(error)
    finally:
        await journal.close()


async def start(config: Config, tool: str, name: str, wanted: Ask, by: str = "", *, foreground: bool = False,
                out: TextIO | None = None) -> int:
    """``start``: check everything, write the record, and let a runner begin."""
    out = out or sys.stdout
    entry = database_of(config, wanted.database)
    servers = Servers(entry)
    journal = journal_of(servers)
    try:
        record = await journal.load(name)
        under_way = record is not None and record.state not in FINAL and record.body.get("started")
        if record is not None and (under_way or _is_empty(wanted)) and record.state not in FINAL:
            if under_way and not _is_empty(wanted) and record.body["ask"] != _ask_json(wanted):
                print(f"{name} is under way, and moves something else: {record.body['ask']}", file=sys.stderr)
                return REFUSED
            move = record.move
        else:
            move = await _move(config, entry, servers, tool, name, wanted, by)
        if not under_way:
            findings = await preflight(servers, move, journal)
            show((finding for finding in findings if finding.level != "ok"), out)
            if _errors(findings):
                print(f"{name} was not started: nothing was changed", file=sys.stderr)
                return REFUSED
            record = await _create(journal, record, move, wanted, started=True)
            await journal.log(name, "started", tool=tool)
        assert record is not None
        found = Found(config, entry, servers, journal, await journal.load(name) or record)
        ensure_runner(found)
        print(f"{name} is under way in state {record.state}; status: shardproxy {tool} status {name} --watch; "
              f"log: {log_path(config, name)}", file=out)
        return await follow(found, out) if foreground else DONE
    except PlanError as error:
        return _problems(error)
    except Conflict as error:
        print(error, file=sys.stderr)
        return REFUSED
    finally:
        await journal.close()


async def watch(config: Config, tool: str, name: str, *, as_json: bool = False, watching: bool = False,
                database: str = "", out: TextIO | None = None) -> int:
    """``status``."""
    out = out or sys.stdout
    async with find(config, tool, name, database) as found:
        if not as_json:
            ensure_runner(found)
        if watching:
            return await follow(found, out, as_json=as_json)
        if as_json:
            print(json.dumps(status(found.record)), file=out)
        else:
            for line in lines(found.record):
                print(line, file=out)
        return DONE


async def ask(config: Config, tool: str, name: str, verb: str, args: Mapping[str, Any], *, database: str = "",
              as_json: bool = False, out: TextIO | None = None) -> int:
    """Any verb that the runner carries out; its exit code."""
    out = out or sys.stdout
    async with find(config, tool, name, database) as found:
        if found.record.state in FINAL:
            code, text = _ended(found.record, verb)
            return _answer({"code": code, "text": text}, as_json, out)
        number = await found.journal.request(name, verb, args)
        answer = await _wait(found, number, WAITS.get(verb, WAIT_S))
        if answer is None:
            await found.journal.answer(number, BLOCKED, "nobody waits for it any more")
            return _answer({"code": BLOCKED, "text": f"no answer from the runner of {name}; its log is "
                                                     f"{log_path(config, name)}"}, as_json, out)
        return _answer(answer, as_json, out)


async def logs(config: Config, tool: str, name: str, *, following: bool = False, as_json: bool = False,
               database: str = "", out: TextIO | None = None) -> int:
    """``logs``."""
    out = out or sys.stdout
    async with find(config, tool, name, database) as found:
        last = 0
        while True:
            for event in await found.journal.logged(name, last):
                last = event.id
                if as_json:
                    print(json.dumps({"at": event.at.isoformat(), "event": event.event, **event.fields}), file=out)
                else:
                    fields = " ".join(f"{key}={value}" for key, value in event.fields.items())
                    print(f"{event.at:%Y-%m-%d %H:%M:%S} {event.event} {fields}", file=out, flush=True)
            record = await found.journal.load(name)
            if not following or record is None or record.state in FINAL:
                return DONE
            await asyncio.sleep(0.5)


async def listing(config: Config, tool: str, *, as_json: bool = False, out: TextIO | None = None) -> int:
    """``list``: the transfers of all databases."""
    out = out or sys.stdout
    rows: list[dict[str, Any]] = []
    code = DONE
    for entry in config.databases.values():
        if entry.sharded:
            journal = journal_of(Servers(entry))
            try:
                rows += [{"database": entry.name, **status(record)} for record in await journal.records()
                         if record.body["move"]["tool"] == tool]
            except Exception as error:      # whatever connecting raises: the others are still shown
                print(f"{entry.name}: {error}", file=sys.stderr)
                code = FAILED
            finally:
                await journal.close()
    if as_json:
        print(json.dumps(rows), file=out)
        return code
    for row in rows:
        flags = " paused" * row["paused"] + " failed" * bool(row["error"])
        print(f"{row['name']:24} {row['database']:16} {row['state']}{flags}", file=out)
    if not rows and code == DONE:
        print(f"no {tool} yet", file=out)
    return code


async def gc(config: Config, *, dry_run: bool = False, out: TextIO | None = None) -> int:
    """``gc``: drop what transfers that have ended, or that nobody knows of, have left on the servers."""
    out = out or sys.stdout
    code = DONE
    for entry in config.databases.values():
        if entry.sharded:
            servers = Servers(entry)
            journal = journal_of(servers)
            try:
                async for line, ok in collect(servers, journal, dry_run):
                    print(f"{entry.name}: {line}", file=out)
                    code = code if ok else FAILED
            finally:
                await journal.close()
    return code


async def _move(config: Config, entry: Database, servers: Servers, tool: str, name: str, wanted: Ask, by: str) -> Move:
    if not name.replace("_", "").replace("-", "").isalnum() or len(name) > 40:
        raise PlanError([f'"{name}": a name has at most 40 letters, digits, "-" and "_"'])
    seen = await look(config, entry, servers)
    if by:
        keyspace = wanted.keyspace or entry.sharded[0]
        space = seen.layout.keyspaces.get(keyspace)
        if space is not None:
            object.__setattr__(seen, "weights", {keyspace: await slot_weights(servers, space, by)})
    return plan(name, tool, entry, seen, wanted)


async def _create(journal: Journal, record: Record | None, move: Move, wanted: Ask, *, started: bool = False) -> Record:
    """A record in state PLANNED, or a plan that was not started anew."""
    asked = _ask_json(wanted) if record is None or not _is_empty(wanted) else record.body["ask"]
    body = {"move": move.to_json(), "ask": asked, "started": started}
    if record is not None and record.state not in FINAL:
        if record.body.get("started"):
            raise Conflict(f"{record.name} is under way")
        return await journal.save(record.with_body(**body))
    return await journal.create(move.name, "PLANNED", body)


async def _wait(found: Found, number: int, seconds: float) -> Mapping[str, Any] | None:
    """The answer to a request; a runner that dies meanwhile is replaced."""
    deadline, ensured = time.monotonic() + seconds, 0.0
    while time.monotonic() < deadline:
        now = time.monotonic()
        if now - ensured > ENSURE_S:
            ensured = now
            record = await found.journal.load(found.record.name)
            if record is not None:
                found.record = record
                ensure_runner(found, always=True)
        request = await found.journal.answered(number)
        if request.answer is not None:
            return request.answer
        if found.record.state in FINAL:         # it ended between the question and the look at it
            await found.journal.answer(number, *_ended(found.record, request.verb))
            continue
        await asyncio.sleep(POLL_S)
    return None


def _ended(record: Record, verb: str) -> tuple[int, str]:
    """The answer to a verb that comes after the end."""
    return (DONE if record.state == reached(verb) else REFUSED), f"{record.name} is {record.state}"


def _answer(answer: Mapping[str, Any], as_json: bool, out: TextIO) -> int:
    code = int(answer["code"])
    if as_json:
        print(json.dumps(answer), file=out)
    else:
        print(answer["text"], file=out if code == DONE else sys.stderr)
        for one in answer.get("blocked_by", ()):
            print(f"  {one['what']} (since {one['since']}): {one['remedy']}", file=sys.stderr)
    return code


def _problems(error: PlanError) -> int:
    for problem in error.problems:
        print(problem, file=sys.stderr)
    return USAGE


def _errors(findings: list[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)


def _is_empty(wanted: Ask) -> bool:
    return not (wanted.tables or wanted.to or wanted.keyspace or wanted.move or wanted.split or wanted.source)


def _ask_json(wanted: Ask) -> dict[str, Any]:
    return {"database": wanted.database, "source": wanted.source, "keyspace": wanted.keyspace,
            "tables": list(wanted.tables), "to": list(wanted.to), "move": list(wanted.move),
            "split": list(wanted.split)}
