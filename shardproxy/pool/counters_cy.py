"""Running totals of one pool; only ever added to, by one worker. Times in microseconds, traffic in bytes."""

import cython

__all__ = ["FIELDS", "Counters"]

FIELDS = (
    "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time_us", "query_time_us", "wait_time_us",
    "client_parse_count", "server_parse_count", "bind_count", "read_count", "replica_read_count", "write_count",
    "retry_count", "error_count",
)  # fmt: skip


class Counters:
    def __init__(self):
        self.xact_count = self.query_count = self.bytes_received = self.bytes_sent = 0
        self.xact_time_us = self.query_time_us = self.wait_time_us = 0
        self.client_parse_count = self.server_parse_count = self.bind_count = 0
        self.read_count = self.replica_read_count = self.write_count = self.retry_count = self.error_count = 0

    def as_dict(self):
        """All totals by name."""
        return {name: getattr(self, name) for name in FIELDS}
