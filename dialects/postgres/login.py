"""A client's way in: TLS, startup packet, authentication, parameters; then the relay takes over.

Invariants:
* Nothing is answered to a client before its bytes are checked; every read is bounded in size and time.
* What a client learns at login (parameters) is what a server reported for exactly these startup parameters.
* A failed login tells the same to an unknown user and to a wrong password.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

from shardproxy import limits
from shardproxy.errors import ClientError, ProtocolViolation, ServerError, ShardproxyError
from shardproxy.hosts import Peer
from shardproxy.log import get_logger
from shardproxy.session.settings import EMPTY, Settings, intern_settings
from shardproxy.tls import client_certificate_name

from . import internal, wire
from .auth import ALPN, ClientAuthentication, ClientCertificate, Secret
from .probe import sync_sql
from .walsender import BY_NAME, PHYSICAL, ReplicationSession, database_of, kind_of

__all__ = ["Arrival", "Startup", "log_in"]

_log = get_logger(__name__)
TLS_RECORD = b"\x16"
GOODBYE = int.from_bytes(wire.TERMINATE[:4], "big")
PASSWORD_MAX = 64 * 1024
NOT_SETTINGS = frozenset({"user", "database", "replication", "options"})
PLAIN_NAME = re.compile(r"[ -~]{0,63}")


@dataclass(slots=True)
class Startup:
    """What a client asks for. ``settings``: its startup parameters, those in ``options`` too.

    ``replication``: empty, ``physical`` or ``logical``.
    """

    user: str
    database: str
    settings: dict[str, str]
    version: int
    replication: str = ""
    unknown: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Arrival:
    """What is known of a client before its first packet. ``address`` is None on a unix socket."""

    link: Any
    address: str | None
    port: int
    local_address: str
    local_port: int
    tls: Any = None
    """The snapshot of the TLS settings that this connection is served with."""


class Refused(ShardproxyError):
    """The client was told why, or needs no answer; close it."""


async def log_in(arrival: Arrival, worker: Any, refusal: ClientError | None = None) -> None:
    """From the first byte to the relay, or to ``refusal``. Errors end in an ErrorResponse and a closed connection."""
    link = arrival.link
    try:
        async with asyncio.timeout(worker.config.pool.client_login_timeout or None):
            startup = await _first_packets(arrival, worker)
            if startup is None:
                link.close()
                return
            if refusal is not None:
                raise refusal
            await _enter(arrival, worker, startup)
    except Refused:
        link.close(True)
    except TimeoutError:
        _refuse(link, ClientError("08006", "the login took longer than client_login_timeout"))
    except ShardproxyError as error:
        worker.login_failed(arrival, error)
        _refuse(link, error)
    except (OSError, ssl.SSLError) as error:
        worker.login_failed(arrival, error)
        link.close()
    except Exception as error:
        _log.error("a login failed because of an internal error", connection=link.id, exc_info=error)
        _refuse(link, ClientError("XX000", "internal error"))
    finally:
        if link.session is not None and (link.closed or not link.streaming):  # it was a session, and serves nobody
            link.session.leave()


def _refuse(link: Any, error: ShardproxyError) -> None:
    if not link.closed:
        state = getattr(error, "sqlstate", "XX000")
        link.write(
            wire.error(
                state,
                str(error),
                severity="FATAL",
                hint=getattr(error, "hint", ""),
                detail=getattr(error, "detail", ""),
            )
        )
        link.close(True)


# -- the first packets ---------------------------------------------------------------------------------------------


async def _first_packets(arrival: Arrival, worker: Any) -> Startup | None:
    """Requests for encryption and cancel, then the startup packet. None: nothing more is to be done."""
    link = arrival.link
    arrival.tls = worker.client_tls.current
    if arrival.tls.context is not None and await link.first_byte() == TLS_RECORD:
        await _direct_tls(link, arrival.tls)
    asked = 0
    while True:
        size = int.from_bytes(await link.take(4), "big")
        if size == GOODBYE:  # a client that leaves before it has said who it is
            return None
        if size < 8 or size > limits.STARTUP_PACKET_MAX:
            raise ProtocolViolation("invalid length of startup packet")
        code = int.from_bytes(await link.take(4), "big")
        if code in (wire.SSL_REQUEST, wire.GSSENC_REQUEST):
            asked += 1
            if size != 8 or asked > 3:
                raise ProtocolViolation("invalid length of startup packet")
            await _encryption(link, arrival.tls, code)
            continue
        payload = await link.take(size - 8)
        if code == wire.CANCEL_REQUEST:
            if len(payload) >= 8:
                await worker.cancel_request(int.from_bytes(payload[:4], "big"), payload[4:])
            return None
        return _startup(code, payload)


async def _direct_tls(link: Any, tls: Any) -> None:
    """TLS from the first byte, without a request for it (PostgreSQL 17): the client must ask for us by ALPN."""
    await link.start_tls(tls.context, True)
    if link.tls.selected_alpn_protocol() not in ALPN:
        raise ProtocolViolation("received direct SSL connection request without ALPN protocol negotiation extension")


async def _encryption(link: Any, tls: Any, code: int) -> None:
    if code == wire.GSSENC_REQUEST or tls.context is None or link.tls is not None:
        link.write(b"N")
        return
    if len(link.inbox):
        raise ProtocolViolation("received unencrypted data after SSL request")
    link.sock.send(b"S")  # in clear, before the handshake owns the socket
    await link.start_tls(tls.context, True)


def _startup(code: int, payload: bytes) -> Startup:
    if code >> 16 != 3:
        raise ClientError(
            "0A000", f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: server supports 3.0 to 3.2"
        )
    try:
        parameters = wire.startup_parameters(payload)
    except ValueError as error:
        raise ProtocolViolation(str(error)) from None
    user = parameters.get("user", "")
    if not user:
        raise ClientError("28000", "no PostgreSQL user name specified in startup packet")
    settings = {
        name.lower(): value
        for name, value in parameters.items()
        if name not in NOT_SETTINGS and not name.startswith("_pq_.")
    }
    settings.update(_options(parameters.get("options", "")))
    unknown = [name for name in parameters if name.startswith("_pq_.")]
    replication = kind_of(parameters.get("replication", ""))
    return Startup(user, parameters.get("database") or user, settings, code, replication, unknown)


def _options(text: str) -> dict[str, str]:
    """``-c name=value`` and ``--name=value``, with backslash escapes, as postgres reads them."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^\s\\])+", text)]
    found: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "-c" and position < len(words):
            word = words[position]
            position += 1
        elif word.startswith("-c"):
            word = word[2:]
        elif word.startswith("--"):
            word = word[2:]
        else:
            raise ClientError("42601", f"invalid command-line argument for server process: {word}")
        name, equals, value = word.partition("=")
        if not equals:
            raise ClientError("42601", f"-c {name} requires a value")
        found[name.replace("-", "_").lower()] = value
    return found


# -- who it is ------------------------------------------------------------------------------------------------------


async def _enter(arrival: Arrival, worker: Any, startup: Startup) -> None:
    link = arrival.link
    tls = arrival.tls
    if tls.required and link.tls is None and arrival.address is not None:
        raise ClientError(
            "28000", "this proxy accepts only encrypted connections", hint="Connect with sslmode=require."
        )
    physical = startup.replication == PHYSICAL
    asked = BY_NAME if physical else startup.database
    peer = Peer(arrival.address, startup.user, asked, link.tls is not None, named_only=physical)
    method = worker.hosts.method_for(peer)
    if physical:
        startup.database = database_of(worker, startup.database)
    secret = await worker.secret_of(startup.user, startup.database)
    name = client_certificate_name(link.tls) if link.tls is not None else None
    binding = tls.binding if link.tls is not None else None
    certificate = ClientCertificate(name, demanded=tls.names_user and arrival.address is not None)
    exchange = ClientAuthentication(
        startup.user, method, secret, salt_key=worker.salt_key, binding=binding, certificate=certificate
    )
    await _exchange(link, exchange, startup)
    if startup.database == worker.admin_database and not startup.replication:
        await worker.admin_session(arrival, startup)
        return
    await _join(arrival, worker, startup, exchange, secret)


async def _exchange(link: Any, exchange: ClientAuthentication, startup: Startup) -> None:
    """Run the authentication; AuthenticationOk is sent last by ``_greet``, with the rest."""
    answers = exchange.start()
    while not exchange.done:
        if exchange.failed is not None:
            _log.info("authentication failed", connection=link.id, user=startup.user, reason=exchange.log_detail)
            raise exchange.failed
        for answer in answers:
            link.write(answer)
        head = await link.take(5)
        size = int.from_bytes(head[1:], "big") - 4
        if head[:1] != b"p" or size < 0 or size > PASSWORD_MAX:
            raise ProtocolViolation("expected password response, got message type " + str(head[0]))
        answers = exchange.receive(await link.take(size))
    for answer in answers:
        link.write(answer)


# -- what it gets ---------------------------------------------------------------------------------------------------


async def _join(
    arrival: Arrival, worker: Any, startup: Startup, exchange: ClientAuthentication, secret: Secret | None
) -> None:
    """The database, the parameters, the key; then the relay."""
    link = arrival.link
    session = await worker.open_session(arrival, startup, exchange.server_credential())
    if startup.replication:
        session = await ReplicationSession.join(session, startup)
        link.settings = intern_settings(startup.settings)
        link.parameters = session.link.server.parameters
        session.parameters_changed()
    else:
        link.settings, link.parameters = await _welcome(session, startup.settings, worker)
        session.baseline = link.settings
        session.settings_changed()
        session.parameters_changed()
    pid, key = worker.new_cancel_key(link, startup.version)
    out = []
    if startup.version & 0xFFFF > 2 or startup.unknown:
        out.append(wire.negotiate(min(startup.version, wire.PROTOCOL_3_2), startup.unknown))
    out += [wire.parameter_status(name, value) for name, value in link.parameters.values.items()]
    out += [wire.backend_key(pid, key), wire.ready()]
    link.write(b"".join(out))
    link.set_counters(session.database.counters)
    early, link.inbox = bytes(link.inbox), bytearray()
    link.inbox_max = 1 << 62
    link.start_streaming()
    if early:
        link.inbox = bytearray(early)
        link.resume() if link.taker is None else link.taker()


class _LoginWaiter:
    """Waits for a server connection as a client does, during its login."""

    closed = False
    settings = None

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def give_up(self) -> None:
        """A connection that was granted in the very moment goes back."""
        if self.future.done() and not self.future.cancelled() and self.future.exception() is None:
            server = self.future.result()
            if server is not None:
                server.pool.release(server)

    def granted(self, server: Any) -> None:
        if self.future.done():
            server.pool.release(server)
        else:
            self.future.set_result(server)

    def refused(self, sqlstate: str, message: str, hint: str = "") -> None:
        if not self.future.done():
            self.future.set_exception(ServerError(sqlstate, message, hint=hint))

    def elsewhere(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


async def _borrow(session: Any, worker: Any) -> Any:
    """A server connection of the primary, for a moment."""
    while True:
        pool = await worker.primary_pool(session)
        waiter = _LoginWaiter()
        server = pool.acquire(waiter)
        if server is None:
            try:
                server = await worker.patience(session.database, waiter.future, pool)
            except BaseException:
                waiter.give_up()
                raise
            finally:
                pool.leave(waiter)
        if server is not None:
            return server


async def _welcome(session: Any, raw: dict[str, str], worker: Any) -> tuple[Settings, Settings]:
    """What the session's settings and reported parameters are for these startup parameters."""
    name = raw.get("application_name", "")
    plain = PLAIN_NAME.fullmatch(name) is not None
    key_values = {k: v for k, v in raw.items() if k != "application_name" or not plain}
    key = (session.server_user, frozenset(key_values.items()))
    found = session.database.welcomes.get(key)
    if found is None:
        server = await _borrow(session, worker)
        found = await _ask(server, key_values)
        if len(session.database.welcomes) > 10_000:
            session.database.welcomes.clear()
        session.database.welcomes[key] = found
    settings, parameters = found
    if not plain or not name:
        return settings, parameters
    return (
        intern_settings({**settings.values, "application_name": name}),
        intern_settings({**parameters.values, "application_name": name}),
    )


async def _ask(server: Any, raw: dict[str, str]) -> tuple[Settings, Settings]:
    """``_asked``, and whatever happens, the connection does not stay with us."""
    try:
        found = await _asked(server, raw)
    except BaseException:
        if not server.closed:
            server.events.discard(server, "a login was given up")
        raise
    server.pool.release(server)
    return found


async def _asked(server: Any, raw: dict[str, str]) -> tuple[Settings, Settings]:
    """Apply the parameters on a server connection and read back what they mean there. ServerError if they are wrong."""
    if sql := sync_sql(server.settings, EMPTY):
        await _apply(server, sql)
    values: dict[str, str] = {}
    if raw:
        # each cell before and after: what a parameter was by default, and what its new value is called
        calls = (
            f"current_setting({name}, true), set_config({name}, {value}, false)"
            for name, value in ((wire.quote_literal(n), wire.quote_literal(v)) for n, v in raw.items())
        )
        row = (await _apply(server, "SELECT " + ", ".join(calls))).rows[0]
        cells = ["" if cell is None else cell.decode("utf-8", "surrogateescape") for cell in row]
        values = {name: new for name, old, new in zip(raw, cells[::2], cells[1::2], strict=True) if new != old}
    server.settings = intern_settings(values)
    return server.settings, server.parameters


async def _apply(server: Any, sql: str) -> internal.Result:
    result = await _run(server, sql.encode("utf-8", "surrogateescape"))
    if result.error is not None:
        server.events.discard(server, "startup parameters were refused")
        raise ServerError(
            result.error.get("C", "22023"),
            result.error.get("M", "invalid startup parameter"),
            hint=result.error.get("H", ""),
        )
    return result


async def _run(server: Any, sql: bytes) -> internal.Result:
    """An internal statement, awaited. ServerError if the connection is lost."""
    future: asyncio.Future[internal.Result] = asyncio.get_running_loop().create_future()

    def done(_: Any, result: internal.Result) -> None:
        if not future.done():
            future.set_result(result)

    internal.run(server, wire.query(sql), done)
    server.borrower = future
    try:
        return await future
    finally:
        server.borrower = None
