"""Every bound on memory, in one place. Bytes unless the name says otherwise."""

from __future__ import annotations

STARTUP_PACKET_MAX = 16 * 1024
"""A startup packet, a password or SASL message before the client is known. PostgreSQL allows 10,000 and 65,535."""

MESSAGE_MAX = 1 << 30
"""One protocol message, as in PostgreSQL (1 GiB)."""

RECEIVE_CHUNK = 64 * 1024
"""Read from a socket in one call, into one buffer shared by all connections of a worker."""

OUT_HIGH = 256 * 1024
"""Bytes waiting for a peer that does not read; above this nothing more is read from the other side."""

OUT_LOW = 64 * 1024
"""Reading resumes when the waiting bytes fall below this."""

CONTROL_MESSAGE_MAX = 64 * 1024 * 1024
"""One message between parent and worker."""

ROUTES_MAX = 10_000
"""Cached routes of one database in one worker."""

STATEMENT_CACHED_MAX = 64 * 1024
"""A longer statement text is routed but not cached."""

PREPARED_PER_SERVER_MAX = 500
"""Prepared statements kept on one server connection, least recently used dropped first."""

PREPARED_PER_CLIENT_MAX = 50_000
"""Prepared statements one client may hold open."""
