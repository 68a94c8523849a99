"""Partial aggregates of several servers become one: sum, min, max, and, or; in text and in binary format.

Invariants:
* Sums are exact: integers without bound, numerics as integers with a decimal scale, which is the largest of the
  parts', as in PostgreSQL.
* NULL parts do not count; if all are NULL, the result is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from shardproxy.planner.plan import Fold

from .errors import PgError
from .keys_cy import key_of

__all__ = ["fold", "fold_rows"]

INTEGERS = {20: ("!q", "bigint"), 23: ("!i", "integer"), 21: ("!h", "smallint")}
NUMERIC, BOOLEAN = 1700, 16
NAN, INFINITY, MINUS_INFINITY = 0xC000, 0xD000, 0xF000
SPECIAL = {b"NaN": NAN, b"Infinity": INFINITY, b"-Infinity": MINUS_INFINITY}
TRUE = (b"t", b"\1")


def fold_rows(folds: Sequence[Fold], forms: Sequence[int], rows: Sequence[Sequence[bytes | None]],
              ) -> list[bytes | None]:
    """One row from one row of each server. ``forms``: format of each column."""
    return [fold(one, form, [row[column] for row in rows])
            for column, (one, form) in enumerate(zip(folds, forms, strict=True))]


def fold(how: Fold, form: int, cells: Sequence[bytes | None]) -> bytes | None:
    """One value from the parts in one format."""
    parts = [cell for cell in cells if cell is not None]
    if not parts:
        return None
    if how.how == "sum":
        return _sum(how.type_oid, form, parts)
    if how.how in ("and", "or"):
        wanted = how.how == "or"
        return next((cell for cell in parts if (cell == TRUE[form]) == wanted), parts[0])
    if how.how not in ("min", "max"):
        raise ValueError(f"unknown fold {how.how}")
    try:
        keyed = [(key_of(how.type_oid, form, cell), cell) for cell in parts]
    except ValueError as error:
        raise PgError.of("0A000", f"{how.how} over several shards: {error}") from None
    best = min if how.how == "min" else max         # of equal ones the first, as PostgreSQL
    return best(keyed, key=lambda one: one[0])[1]


def _sum(type_oid: int, form: int, parts: Sequence[bytes]) -> bytes:
    if type_oid == NUMERIC:
        values = [_read_binary(cell) if form else _read_text(cell) for cell in parts]
        total = _add(values)
        return _write_binary(*total) if form else _write_text(*total)
    if type_oid not in INTEGERS:
        raise ValueError(f"no sum of type {type_oid}")
    layout, name = INTEGERS[type_oid]
    number = sum(struct.unpack(layout, cell)[0] if form else int(cell) for cell in parts)
    try:
        packed = struct.pack(layout, number)
    except struct.error:
        raise PgError.of("22003", f"{name} out of range") from None
    return packed if form else str(number).encode()


# numeric: (special, unscaled integer, scale)

Numeric = tuple[int, int, int]


def _add(values: Sequence[Numeric]) -> Numeric:
    special = {one for one, _, _ in values if one}
    if special:
        mixed = len(special) > 1 or NAN in special
        return (NAN if mixed else special.pop()), 0, 0
    scale = max(scale for _, _, scale in values)
    return 0, sum(number * 10 ** (scale - own) for _, number, own in values), scale


def _read_text(cell: bytes) -> Numeric:
    if cell in SPECIAL:
        return SPECIAL[cell], 0, 0
    whole, _, fraction = cell.partition(b".")
    return 0, int(whole + fraction), len(fraction)


def _write_text(special: int, number: int, scale: int) -> bytes:
    if special:
        return next(text for text, code in SPECIAL.items() if code == special)
    digits = str(abs(number)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return (("-" if number < 0 else "") + text).encode()


def _read_binary(cell: bytes) -> Numeric:
    count, weight, sign, scale = struct.unpack_from("!HhHH", cell)
    if sign in SPECIAL.values():
        return sign, 0, 0
    number = 0
    for group in struct.unpack_from(f"!{count}H", cell, 8):
        number = number * 10000 + group
    shift = 4 * (weight - count + 1) + scale        # number stands for number * 10^(shift - scale)
    number = number * 10**shift if shift >= 0 else number // 10**-shift
    return 0, -number if sign == 0x4000 else number, scale


def _write_binary(special: int, number: int, scale: int) -> bytes:
    if special:
        return struct.pack("!HhHH", 0, 0, special, 0)
    rest = -scale % 4                               # zeros that fill the last group of the fraction
    magnitude, groups = abs(number) * 10**rest, []
    while magnitude:
        magnitude, group = divmod(magnitude, 10000)
        groups.append(group)
    weight = len(groups) - (scale + rest) // 4 - 1
    groups.reverse()
    while groups and not groups[-1]:
        groups.pop()
    sign = 0x4000 if number < 0 else 0
    return struct.pack(f"!HhHH{len(groups)}H", len(groups), weight if groups else 0, sign, scale, *groups)
