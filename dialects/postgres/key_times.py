"""Dates and times of sharding keys: days and microseconds since 2000-01-01, as PostgreSQL stores them.

Invariant: read is only what means one moment under every DateStyle and TimeZone: ISO dates with a year of four digits
or more, ``timestamptz`` with its offset, ``infinity``. Everything else gives None.
"""

from __future__ import annotations

import re

__all__ = ["date", "timestamp", "timestamptz"]

_DATE = r"([0-9]{4,6})-([0-9]{2})-([0-9]{2})"
_TIME = r"(?:[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?"
_ZONE = r"(Z|[+-][0-9]{2}(?::?[0-9]{2}(?::[0-9]{2})?)?)"
_DATE_ONLY = re.compile(f"{_DATE}( BC)?".encode())
_TIMESTAMP = re.compile(f"{_DATE}{_TIME})?( BC)?".encode())
_TIMESTAMPTZ = re.compile(f"{_DATE}{_TIME}{_ZONE})( BC)?".encode())
_SECOND = 1_000_000
_DAY = 86400 * _SECOND
_ENDS = {b"infinity": 1, b"-infinity": -1}
_EPOCH = 730_119
"""Days from 0001-01-01 to 2000-01-01."""
_DATES = range(-2_451_545, 2_145_031_949)
_TIMES = range(-211_813_488_000_000_000, 9_223_371_331_200_000_000)
"""What the server accepts: from Julian day 0 up to, but not with, the year 5874898 and 294277."""


def date(data: bytes, binary: bool) -> int | None:
    """A ``date`` in days."""
    if binary:
        return int.from_bytes(data, "big", signed=True) if len(data) == 4 else None
    if data in _ENDS:
        return (1 << 31) - 1 if _ENDS[data] > 0 else -1 << 31
    found = _DATE_ONLY.fullmatch(data)
    days = None if found is None else _days(found.group(1), found.group(2), found.group(3), found.group(4))
    return days if days in _DATES else None


def timestamp(data: bytes, binary: bool) -> int | None:
    """A ``timestamp`` in microseconds; a date alone is its midnight."""
    return _moment(data, binary, _TIMESTAMP)


def timestamptz(data: bytes, binary: bool) -> int | None:
    """A ``timestamptz`` in microseconds of UTC."""
    return _moment(data, binary, _TIMESTAMPTZ)


def _moment(data: bytes, binary: bool, form: re.Pattern[bytes]) -> int | None:
    if binary:
        return int.from_bytes(data, "big", signed=True) if len(data) == 8 else None
    if data in _ENDS:
        return (1 << 63) - 1 if _ENDS[data] > 0 else -1 << 63
    found = form.fullmatch(data)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, *zone, era = found.groups()
    days = _days(year, month, day, era)
    clock = _clock(hour, minute, second, fraction)
    offset = _offset(zone[0]) if zone else 0
    if days is None or clock is None or offset is None:
        return None
    moment = days * _DAY + clock - offset * _SECOND
    return moment if moment in _TIMES else None


def _days(year: bytes, month: bytes, day: bytes, era: bytes | None) -> int | None:
    """Days since 2000-01-01 in the Gregorian calendar, which has no year 0 and is used for all times."""
    y, m, d = int(year), int(month), int(day)
    if not y or not 1 <= m <= 12:
        return None
    if era:
        y = 1 - y
    leap = y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= d <= lengths[m - 1]:
        return None
    before = y - 1
    return before * 365 + before // 4 - before // 100 + before // 400 + sum(lengths[:m - 1]) + d - 1 - _EPOCH


def _clock(hour: bytes | None, minute: bytes | None, second: bytes | None, fraction: bytes | None) -> int | None:
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if h > 23 or m > 59 or s > 59:              # 24:00:00 and the second 60 mean the next day: too rare to be read
        return None
    return ((h * 60 + m) * 60 + s) * _SECOND + int((fraction or b"0").ljust(6, b"0"))


def _offset(zone: bytes) -> int | None:
    if zone == b"Z":
        return 0
    parts = zone[1:].replace(b":", b"")
    h, m, s = int(parts[:2]), int(parts[2:4] or 0), int(parts[4:6] or 0)
    if h > 15 or m > 59 or s > 59:
        return None
    seconds = (h * 60 + m) * 60 + s
    return -seconds if zone[:1] == b"-" else seconds
