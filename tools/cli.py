"""The command line ``shardproxy``.

Exit codes of every command: 0 done, 1 failed or a fact not met, 2 configuration or usage, 3 refused by preflight or
state, 4 blocked or timed out (retry), 5 verification mismatch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shardproxy import __version__
from shardproxy._compiled import report

from .federate import app as federate
from .reshard import app as reshard
from .topology_changes import add_commands

__all__ = ["app", "main"]

app = typer.Typer(name="shardproxy", no_args_is_help=True, add_completion=False,
                  help="A proxy for PostgreSQL that an application points its connection string at.")  # fmt: skip

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="Configuration file (TOML).")]


@app.command()
def serve(
    config: ConfigFile,
    takeover: Annotated[
        bool, typer.Option(help="Take the listening sockets over from the process that runs now.")
    ] = False,
) -> None:
    """Run the proxy until SIGTERM."""
    from shardproxy.server.serve import serve as run

    raise typer.Exit(run(config, takeover))


@app.command()
def check(
    config: ConfigFile,
    online: Annotated[bool, typer.Option(help="Also connect to the servers and look at them.")] = False,
) -> None:
    """Check a configuration: every mistake at once."""
    from shardproxy.tools.check import check as run

    raise typer.Exit(run(config, online=online))


@app.command()
def explain(
    config: ConfigFile,
    schema: Annotated[
        Path, typer.Option("--schema", "-s", help="CREATE TABLE statements, as pg_dump -s writes.")
    ],
    sql: Annotated[str, typer.Argument(help="The statement.")],
    database: Annotated[str, typer.Option(help="Which database, if several have sharded tables.")] = "",
) -> None:
    """Show how a statement over shards would be carried out, without connecting to a server."""
    from shardproxy.tools.explain import explain as run

    raise typer.Exit(run(config, schema, sql, database))


topology = typer.Typer(no_args_is_help=True, help="Which shard owns what.")
app.add_typer(topology, name="topology")
add_commands(topology)
app.add_typer(reshard, name="reshard")
app.add_typer(federate, name="federate")


@topology.command("show")
def topology_show(
    config: ConfigFile,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show keyspaces, shards, slots and tables, as they are stored."""
    from shardproxy.tools.topology import show

    raise typer.Exit(show(config, as_json=as_json))


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="End when the walk-through has ended.")] = False,
) -> None:
    """Start a PostgreSQL cluster and a proxy on this machine, and show what they do."""
    from shardproxy.tools.demo import demo as run

    raise typer.Exit(run(once=once or not sys.stdout.isatty()))


@app.command()
def version() -> None:
    """Show the version, and which hot modules are compiled."""
    typer.echo(f"shardproxy {__version__}")
    for name, compiled in report().items():
        typer.echo(f"  {'compiled   ' if compiled else 'interpreted'} {name}")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
