"""The admin console: one command in, one table, tag or error out.

Who may do what: admin users everything, stats users SHOW. Invariant: a command that changes something does it on
all workers, those included that are started later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shardproxy.errors import ClientError, ConfigError, ControlError
from shardproxy.log import get_logger
from shardproxy.server import (
    admin_commands,
    console_recovery,
    show_connections,
    show_layout,
    show_pools,
    show_process,
    show_stats,
    show_topology,
)
from shardproxy.server.command import Command, parse, suggest
from shardproxy.server.settings import settings
from shardproxy.server.state import State
from shardproxy.server.table import INT, TEXT, Reply, failure

__all__ = ["Admin"]

VERBS = {**admin_commands.VERBS, **console_recovery.VERBS}
_log = get_logger(__name__)

Show = Callable[[State], Awaitable[Reply]]


async def _config(state: State) -> Reply:
    """All settings and whether RELOAD and SET can change them."""
    rows = [[name, value, default, "yes" if changeable else "no"]
            for name, value, default, changeable in settings(state.config)]
    columns = (("key", TEXT), ("value", TEXT), ("default", TEXT), ("changeable", TEXT))
    return Reply(columns=columns, rows=rows)


async def _help(state: State) -> Reply:
    """This table."""
    rows = [[f"SHOW {name}", _purpose(show)] for name, show in SHOWS.items() if name not in _ALIASES]
    rows += [[verb.usage, verb.purpose] for verb in VERBS.values()]
    return Reply(columns=(("command", TEXT), ("purpose", TEXT)), rows=rows)


SHOWS: Mapping[str, Show] = {
    "HELP": _help, "DATABASES": show_pools.databases, "SERVERS": show_connections.servers,
    "LAG": show_topology.lag, "POOLS": show_pools.pools, "PERMITS": show_pools.permits,
    "CLIENTS": show_connections.clients, "TRANSACTIONS": show_connections.transactions,
    "ROUTES": show_topology.routes, "READS": show_stats.reads, "PREPARED": show_topology.prepared,
    "SHARDS": show_layout.shards, "TOPOLOGY": show_layout.topology,
    "TRANSFERS": show_topology.transfers, "STATS": show_stats.stats, "STATS_TOTALS": show_stats.stats_totals,
    "STATS_AVERAGES": show_stats.stats_averages, "TOTALS": show_stats.totals, "USERS": show_pools.users,
    "LISTS": show_pools.lists, "CONFIG": _config, "WORKERS": show_process.workers,
    "LISTENERS": show_process.listeners, "STATE": show_process.state, "VERSION": show_process.version,
    "MEM": show_process.mem, "SOCKETS": show_connections.sockets,
    "ACTIVE_SOCKETS": show_connections.active_sockets, "DNS_HOSTS": show_process.dns_hosts,
    "DNS_ZONES": show_process.dns_zones, "PEERS": show_process.peers, "PEER_POOLS": show_process.peer_pools,
}
_ALIASES = {"DNS_HOSTS", "DNS_ZONES", "PEERS", "PEER_POOLS"}
"""Known, but not worth a line in HELP."""

_DRIVERS_SETTINGS = {"client_encoding": "UTF8", "default_transaction_isolation": "read committed",
                     "standard_conforming_strings": "on", "datestyle": "ISO, MDY", "timezone": "UTC",
                     "extra_float_digits": "3", "transaction_isolation": "read committed",
                     "server_version": "15.0", "application_name": "", "intervalstyle": "postgres",
                     "lc_messages": "C", "bytea_output": "hex", "search_path": "",
                     "statement_timeout": "0", "client_min_messages": "notice"}
"""Drivers set and ask these when they connect: they are answered, and mean nothing here."""

_DRIVERS_VERBS = {"BEGIN": "BEGIN", "START": "BEGIN", "COMMIT": "COMMIT", "ROLLBACK": "ROLLBACK",
                  "END": "COMMIT", "DISCARD": "DISCARD ALL", "RESET": "RESET"}


class Admin:
    """The console of one proxy."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def run(self, sql: str, user: str) -> dict[str, Any]:
        """Run one command for a user who has logged in to the console."""
        try:
            return (await self._run(parse(sql), user)).to_json()
        except ClientError as error:
            return failure(error)
        except ConfigError as error:
            return failure(ClientError("F0000", f"the configuration has mistakes, nothing was changed:\n{error}"))
        except ControlError as error:
            return failure(ClientError("58000", f"a worker failed: {error}"))

    async def _run(self, command: Command, user: str) -> Reply:
        auth = self._state.config.auth
        if user not in auth.admin_users and user not in auth.stats_users:
            raise ClientError("42501", f'user "{user}" may not use the admin console',
                              hint="name the user in admin_users or stats_users of [auth]")
        if not command.verb:
            return Reply(tag="")
        if command.verb == "SHOW":
            return await self._show(command)
        if (reply := _for_drivers(command)) is not None:
            return reply
        verb = VERBS.get(command.verb)
        if verb is None:
            raise ClientError("42601", f"unknown command {command.verb}",
                              hint=suggest(command.verb, [*VERBS, "SHOW"], "SHOW HELP lists the commands"))
        if user not in auth.admin_users:
            raise ClientError("42501", f"{command.verb} needs an admin user; user {user!r} may only SHOW",
                              hint="name the user in admin_users of [auth]")
        _log.info("console command", user=user, command=command.verb,
                  arguments=" ".join(word.value for word in command.words))
        return await verb.run(self._state, command)

    async def _show(self, command: Command) -> Reply:
        if not command.words:
            raise ClientError("42601", "SHOW needs the name of a table", hint="SHOW HELP lists them")
        name = "_".join(word.value for word in command.words)
        show = SHOWS.get(name.upper())
        if show is not None:
            return await show(self._state)
        if name.lower() in _DRIVERS_SETTINGS:
            return Reply(columns=((name.lower(), TEXT),), rows=[[_DRIVERS_SETTINGS[name.lower()]]])
        raise ClientError("42704", f"SHOW does not know {name.upper()}",
                          hint=suggest(name, SHOWS, "SHOW HELP lists what it knows"))


def _for_drivers(command: Command) -> Reply | None:
    """What drivers and pools send without being asked."""
    words = [word.value.lower() for word in command.words]
    if command.verb in _DRIVERS_VERBS:
        return Reply(tag=_DRIVERS_VERBS[command.verb])
    if command.verb == "SET" and words:
        name = words[1] if words[0] in ("session", "local") and len(words) > 1 else words[0]
        if name in _DRIVERS_SETTINGS or name == "names":
            return Reply(tag="SET", notices=["settings of a session mean nothing on the admin console: ignored"])
    if command.verb == "SELECT" and words == ["1"]:
        return Reply(tag="SELECT 1", columns=(("?column?", INT),), rows=[[1]])
    return None


def _purpose(show: Show) -> str:
    return (show.__doc__ or "").strip().splitlines()[0].rstrip(".")
