"""An ErrorResponse as an exception: a server's, or the proxy's own."""

from __future__ import annotations

from collections.abc import Mapping

from shardproxy.dialects.postgres import wire

__all__ = ["SHELL", "PgError", "explain_shell", "lost_at", "refused", "undone",
           "unknown"]


UNKNOWN = "08007"
"""The outcome of a COMMIT that was sent."""

SHELL = "shardproxy_shell"
"""Named in the error of whoever reads a sharded table on the coordinator, where it has no rows."""


NO_ROWS = "is sharded and has no rows on the coordinator"
"""In the error of whoever writes to one there."""


def explain_shell(fields: Mapping[str, str]) -> dict[str, str]:
    """The error of a shell as a refusal. ``fields``: by code letter, as the server sent them."""
    if NO_ROWS in fields.get("M", ""):
        told = {"C": "0A000", "M": "a view, rule, function or trigger on the coordinator writes to a sharded table",
                "D": fields.get("M", ""), "H": "Write to the sharded table in the statement itself."}
        return {**{code: text for code, text in fields.items() if code in "SV"}, **told}
    told = {"C": "0A000", "M": "a function, view or statement that runs on the coordinator reads a sharded table",
            "H": "Read the sharded table in the statement itself, or name one shard: /* shardproxy: shard=NAME */"}
    return {**{code: text for code, text in fields.items() if code in "SVW"}, **told}


class PgError(Exception):
    """``fields``: by code letter, as in the protocol. ``lost``: the connection is gone, the outcome may be unknown."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields.get("M", ""))
        self.fields = dict(fields)
        self.lost = False

    @classmethod
    def from_server(cls, fields: Mapping[str, str]) -> PgError:
        """A server's error; that of a shell says what it means."""
        text = fields.get("M", "")
        return cls(explain_shell(fields) if SHELL in text or NO_ROWS in text else fields)

    @classmethod
    def of(cls, sqlstate: str, text: str, *, detail: str = "", hint: str = "") -> PgError:
        """An error of the proxy's own."""
        fields = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": text, "D": detail, "H": hint}
        return cls({code: value for code, value in fields.items() if value})

    @property
    def sqlstate(self) -> str:
        return self.fields.get("C", "XX000")

    def message(self) -> bytes:
        """As an ErrorResponse; a server's last words about its own connection are an error to our client."""
        fields = dict(self.fields)
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            fields["S"] = fields["V"] = "ERROR"
        body = b"".join(code.encode() + text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
                        for code, text in fields.items())
        return wire.message(b"E", body + b"\0")


def refused(construct: str, hint: str = "", sqlstate: str = "0A000") -> PgError:
    """What cannot be proved right is refused."""
    return PgError.of(sqlstate, construct, hint=hint)


def lost_at(place: str) -> PgError:
    """The connection to a place is gone, and nothing was asked of it that could have become permanent."""
    error = PgError.of("08006", f"the connection to {place or 'the coordinator'} was lost")
    error.lost = True
    return error


def undone(error: PgError) -> PgError:
    """An error within a transaction whose COMMIT was not sent, as the client is told it: if a connection is lost, the
    transaction is certainly rolled back."""
    return _told(error, "40001", "the connection to a server was lost: the transaction was rolled back",
                 "Repeat the transaction.")


def unknown(error: PgError) -> PgError:
    """An error of a statement that commits what it writes: if the connection is lost, it may have done so."""
    return _told(error, UNKNOWN, "the connection to a server was lost while a statement was in progress: its outcome "
                                 "is unknown", "Find out whether it took effect before you repeat it.")


def _told(error: PgError, sqlstate: str, text: str, hint: str) -> PgError:
    if not error.lost or error.sqlstate == UNKNOWN:
        return error
    detail = " ".join(filter(None, (f"{error}.", error.fields.get("D"))))
    return PgError.of(sqlstate, text, detail=detail, hint=hint)
