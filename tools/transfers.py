"""The command groups ``shardproxy reshard`` and ``shardproxy federate``: the same verbs for both.

Invariant: nothing but options here; what a verb does is in ``tools/transfer``, and its exit code is the process's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ConfigError, ShardproxyError

__all__ = ["group", "run"]

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="Configuration file (TOML).")]
Name = Annotated[str, typer.Argument(help="Name of the transfer.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
DatabaseName = Annotated[str, typer.Option("--database", help="Which database, if several have such a transfer.")]
Tables = Annotated[str, typer.Option(help="Tables: orders,app.items or app.* for a schema.")]
Slots = Annotated[list[str] | None, typer.Option("--move", help="Give slots: 0-127=s2 (more than once).")]
Split = Annotated[list[str] | None, typer.Option("--split", help="Cut a range: KEY=s2 gets what is not below KEY.")]
Even = Annotated[str, typer.Option("--by", help="Even out by slots, size or load.")]
Hold = Annotated[str, typer.Option("--max-hold", help="Writes wait at most so long, or nothing is changed: 1s, 500ms.")]

FAILED, USAGE = 1, 2


def run(config: Path, work: Any) -> int:
    """Load the configuration and run ``work(config)``; every error as a sentence and an exit code."""
    try:
        loaded = load(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return USAGE
    from shardproxy.tools.transfer.servers import FAILURES

    try:
        return asyncio.run(_coroutine(work, loaded))
    except KeyboardInterrupt:
        return 130
    except (ShardproxyError, LinkError, *FAILURES) as error:
        print(f"shardproxy: {error or type(error).__name__}", file=sys.stderr)
        return FAILED


async def _coroutine(work: Any, config: Config) -> int:
    made: Coroutine[Any, Any, int] = work(config)
    return await made


def group(tool: str, text: str) -> typer.Typer:
    """All verbs of a tool."""
    app = typer.Typer(no_args_is_help=True, help=text)
    if tool == "reshard":
        _plan_reshard(app)
    else:
        _plan_federate(app)
    _look(app, tool)
    _change(app, tool)
    _end(app, tool)
    _tidy(app, tool)
    return app


def texts(value: str) -> tuple[str, ...]:
    """``a,b``."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _plan_reshard(app: typer.Typer) -> None:
    from shardproxy.tools.transfer.planning import Ask

    def wanted(database: str, source: str, keyspace: str, tables: str, to: str, move: Any, split: Any) -> Ask:
        return Ask(database, source, keyspace, texts(tables), texts(to), tuple(move or ()), tuple(split or ()))

    @app.command()
    def plan(name: Name, config: ConfigFile, database: DatabaseName = "",
             source: Annotated[str, typer.Option("--from", help="Keyspace of the tables now.")] = "",
             keyspace: Annotated[str, typer.Option(help="Keyspace whose shards get them.")] = "",
             tables: Tables = "", to: Annotated[str, typer.Option(help="Shards afterwards: s0,s1,s2.")] = "",
             move: Slots = None, split: Split = None, by: Even = "") -> None:
        """Print steps, locks, estimates and problems; keep the plan for `start`."""
        from shardproxy.tools.transfer.commands import planned

        ask = wanted(database, source, keyspace, tables, to, move, split)
        raise typer.Exit(run(config, lambda found: planned(found, "reshard", name, ask, by)))

    @app.command()
    def start(name: Name, config: ConfigFile, database: DatabaseName = "",
              source: Annotated[str, typer.Option("--from", help="Keyspace of the tables now.")] = "",
              keyspace: Annotated[str, typer.Option(help="Keyspace whose shards get them.")] = "",
              tables: Tables = "", to: Annotated[str, typer.Option(help="Shards afterwards: s0,s1,s2.")] = "",
              move: Slots = None, split: Split = None, by: Even = "",
              foreground: Annotated[bool, typer.Option(help="Show the progress until it is ready.")] = False) -> None:
        """Check everything and begin; it goes on in a process of its own."""
        from shardproxy.tools.transfer.commands import start as begin

        ask = wanted(database, source, keyspace, tables, to, move, split)
        raise typer.Exit(run(config, lambda found: begin(found, "reshard", name, ask, by, foreground=foreground)))


def _plan_federate(app: typer.Typer) -> None:
    from shardproxy.tools.transfer.planning import Ask

    @app.command()
    def plan(name: Name, config: ConfigFile, database: DatabaseName = "", tables: Tables = "",
             to: Annotated[str, typer.Option(help="Keyspace that gets the tables.")] = "") -> None:
        """Print steps, locks, estimates and problems; keep the plan for `start`."""
        from shardproxy.tools.transfer.commands import planned

        ask = Ask(database, keyspace=to, tables=texts(tables))
        raise typer.Exit(run(config, lambda found: planned(found, "federate", name, ask)))

    @app.command()
    def start(name: Name, config: ConfigFile, database: DatabaseName = "", tables: Tables = "",
              to: Annotated[str, typer.Option(help="Keyspace that gets the tables.")] = "",
              foreground: Annotated[bool, typer.Option(help="Show the progress until it is ready.")] = False) -> None:
        """Check everything and begin; it goes on in a process of its own."""
        from shardproxy.tools.transfer.commands import start as begin

        ask = Ask(database, keyspace=to, tables=texts(tables))
        raise typer.Exit(run(config, lambda found: begin(found, "federate", name, ask, foreground=foreground)))


def _look(app: typer.Typer, tool: str) -> None:
    @app.command()
    def status(name: Name, config: ConfigFile, watch: Annotated[
            bool, typer.Option("--watch", help="Until it is ready, has ended or has failed.")] = False,
            as_json: AsJson = False, database: DatabaseName = "") -> None:
        """Show how far it is."""
        from shardproxy.tools.transfer.commands import watch as show

        raise typer.Exit(run(config, lambda found: show(found, tool, name, as_json=as_json, watching=watch,
                                                        database=database)))

    @app.command()
    def logs(name: Name, config: ConfigFile, follow: Annotated[
            bool, typer.Option("--follow", "-f", help="Until it has ended.")] = False,
            as_json: AsJson = False, database: DatabaseName = "") -> None:
        """Show what happened, in order."""
        from shardproxy.tools.transfer.commands import logs as show

        raise typer.Exit(run(config, lambda found: show(found, tool, name, following=follow, as_json=as_json,
                                                        database=database)))

    @app.command("list")
    def listed(config: ConfigFile, as_json: AsJson = False) -> None:
        """Show all transfers and their states."""
        from shardproxy.tools.transfer.commands import listing

        raise typer.Exit(run(config, lambda found: listing(found, tool, as_json=as_json)))


def _ask(tool: str, config: Path, name: str, verb: str, args: dict[str, Any], database: str, as_json: bool) -> None:
    from shardproxy.tools.transfer.commands import ask

    raise typer.Exit(run(config, lambda found: ask(found, tool, name, verb, args, database=database,
                                                   as_json=as_json)))


def _change(app: typer.Typer, tool: str) -> None:
    @app.command()
    def verify(name: Name, config: ConfigFile, database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Compare both sides now."""
        _ask(tool, config, name, "verify", {}, database, as_json)

    @app.command()
    def switch(name: Name, config: ConfigFile,
               reads: Annotated[bool, typer.Option("--reads", help="Only the reads of replicas.")] = False,
               writes: Annotated[bool, typer.Option("--writes", help="Reads and writes (the default).")] = False,
               dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what stands in the way.")] = False,
               max_hold: Hold = "1s", database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Let the writes go to the new side."""
        args = {"dry_run": dry_run, "max_hold": seconds(max_hold), "reads": reads and not writes}
        _ask(tool, config, name, "switch", args, database, as_json)

    @app.command()
    def reverse(name: Name, config: ConfigFile, max_hold: Hold = "1s", database: DatabaseName = "",
                as_json: AsJson = False) -> None:
        """After a switch: back to the old side, with everything written since."""
        _ask(tool, config, name, "reverse", {"max_hold": seconds(max_hold)}, database, as_json)

    @app.command()
    def pause(name: Name, config: ConfigFile, database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Stop for now; the sources keep the changes."""
        _ask(tool, config, name, "pause", {}, database, as_json)

    @app.command()
    def resume(name: Name, config: ConfigFile, accept: Annotated[
            bool, typer.Option("--accept", help="Tables that were changed by DDL are right as they are.")] = False,
            database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Go on after a pause or a failure."""
        _ask(tool, config, name, "resume", {"accept": accept}, database, as_json)

    @app.command()
    def throttle(name: Name, config: ConfigFile,
                 rate: Annotated[str, typer.Option(help="Bytes a second for the copy: 20MB; 0: no limit.")] = "",
                 parallel: Annotated[int, typer.Option(help="Chunks at a time for each source; 0: as it is.")] = 0,
                 lag: Annotated[str, typer.Option(help="Wait while a replica of a target is so far behind: 10MB; "
                                                       "0: never.")] = "",
                 database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Limit the copy while it runs."""
        args = {"bytes_per_s": size(rate) if rate else None, "parallel": parallel or None,
                "lag_bytes": size(lag) if lag else None}
        _ask(tool, config, name, "throttle", args, database, as_json)


def _end(app: typer.Typer, tool: str) -> None:
    @app.command()
    def cancel(name: Name, config: ConfigFile, database: DatabaseName = "", as_json: AsJson = False) -> None:
        """Before a switch, or after the way back: drop what was made."""
        _ask(tool, config, name, "cancel", {}, database, as_json)

    @app.command()
    def complete(name: Name, config: ConfigFile, keep: Annotated[
            bool, typer.Option("--keep", help="Leave the old tables in schema shardproxy_old.")] = False,
            database: DatabaseName = "", as_json: AsJson = False) -> None:
        """After a switch: give up the way back and drop the old side."""
        _ask(tool, config, name, "complete", {"keep": keep}, database, as_json)


def _tidy(app: typer.Typer, tool: str) -> None:
    @app.command()
    def gc(config: ConfigFile, dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False) -> None:
        """Drop what ended transfers have left on servers."""
        from shardproxy.tools.transfer.commands import gc as collect

        raise typer.Exit(run(config, lambda found: collect(found, dry_run=dry_run)))


def seconds(text: str) -> float:
    """``500ms``, ``1s`` or a number of seconds."""
    from shardproxy.config.values import SettingError, parse_seconds

    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_seconds(text)
    except SettingError as error:
        raise typer.BadParameter(f"{error.problem} ({error.remedy})") from None


def size(text: str) -> int:
    """``20MB`` or a number of bytes."""
    from shardproxy.config.values import SettingError, parse_bytes

    try:
        return int(text) if text.isdigit() else parse_bytes(text)
    except SettingError as error:
        raise typer.BadParameter(f"{error.problem} ({error.remedy})") from None
