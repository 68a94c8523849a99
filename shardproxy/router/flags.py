"""The bits of ``Route.flags`` (see ``shardproxy.dialects.flags``, where a dialect can reach them too)."""

from __future__ import annotations

from shardproxy.dialects.flags import (
    ADVANCES,
    BEGIN,
    BEGIN_READ_ONLY,
    COMMIT,
    COPY_IN,
    COPY_OUT,
    DDL,
    DEALLOCATE_ALL,
    EMPTY,
    FOREVER,
    HIDDEN,
    MAYBE_READ,
    MULTI,
    NAMES,
    PREPARED_SQL,
    PRIMARY,
    PROBE,
    PROXY_SET,
    PROXY_SHOW,
    READ,
    ROLLBACK,
    SEQUENCE_STATE,
    SESSIONS,
    TERMINATE,
    UNPARSED,
    UNPIN,
    describe,
)

__all__ = ["ADVANCES", "BEGIN", "BEGIN_READ_ONLY", "COMMIT", "COPY_IN", "COPY_OUT", "DDL", "DEALLOCATE_ALL", "EMPTY",
           "FOREVER", "HIDDEN", "MAYBE_READ", "MULTI", "NAMES", "PREPARED_SQL", "PRIMARY", "PROBE",
           "PROXY_SET", "PROXY_SHOW", "READ", "ROLLBACK", "SEQUENCE_STATE", "SESSIONS", "TERMINATE",
           "UNPARSED", "UNPIN", "describe"]
