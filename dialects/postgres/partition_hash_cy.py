# cython: annotation_typing=False
"""The hash by which PostgreSQL deals rows to partitions (``PARTITION BY HASH``).

Invariant: for every key that gets a hash, ``hash % modulus`` is the remainder for which the server's
``satisfies_hash_partition`` is true. A value that cannot be read exactly gets None, never a guess. NULL columns do not
count; a key of NULLs only has the hash 0.

The arithmetic is that of ``hash_bytes_extended`` (Jenkins' lookup3 with a seed), on unsigned words of 32 bits that wrap
around; ``M`` makes them wrap where this is not compiled.
"""

from collections.abc import Sequence

import cython

from shardproxy.dialects.postgres import key_values

__all__ = ["hash_bytes", "hash_int", "hash_of", "partition_hash"]

M = 0xFFFFFFFF
M64 = 0xFFFFFFFFFFFFFFFF
INIT = 0x9E3779B9 + 3923095         # never above 32 bits
SEED_HIGH, SEED_LOW = 0x7A5B2236, 0x7996DCFD
SEED = 0x7A5B22367996DCFD
MAGIC = 0x49A0F4DD15E5A8E3


def rot(x, bits):
    return ((x << bits) & M) | (x >> (32 - bits))


def final(a, b, c):
    c = ((c ^ b) - rot(b, 14)) & M
    a = ((a ^ c) - rot(c, 11)) & M
    b = ((b ^ a) - rot(a, 25)) & M
    c = ((c ^ b) - rot(b, 16)) & M
    a = ((a ^ c) - rot(c, 4)) & M
    b = ((b ^ a) - rot(a, 14)) & M
    c = ((c ^ b) - rot(b, 24)) & M
    high = b
    return (high << 32) | c


def hash_bytes(data):
    """Hash of a string of bytes, for text, bytea and uuid."""
    p = data
    n = len(data)
    i = 0
    c = (INIT + n) & M
    a = (c + SEED_HIGH) & M
    b = (c + SEED_LOW) & M
    while True:
        a = ((a - c) & M) ^ rot(c, 4)
        c = (c + b) & M
        b = ((b - a) & M) ^ rot(a, 6)
        a = (a + c) & M
        c = ((c - b) & M) ^ rot(b, 8)
        b = (b + a) & M
        a = ((a - c) & M) ^ rot(c, 16)
        c = (c + b) & M
        b = ((b - a) & M) ^ rot(a, 19)
        a = (a + c) & M
        c = ((c - b) & M) ^ rot(b, 4)
        b = (b + a) & M
        if n - i < 12:
            break
        a = (a + word(p, i, 4, 0)) & M
        b = (b + word(p, i + 4, 4, 0)) & M
        c = (c + word(p, i + 8, 4, 0)) & M
        i += 12
    left = n - i
    a = (a + word(p, i, left, 0)) & M
    b = (b + word(p, i + 4, left - 4, 0)) & M
    c = (c + word(p, i + 8, left - 8, 8)) & M       # its lowest byte stands for the length
    return final(a, b, c)


def word(p, i, count, shift):
    """Up to four bytes, little-endian, shifted left."""
    found = 0
    if count > 4:
        count = 4
    k = 0
    while k < count:
        byte = p[i + k]
        found = found | (byte << (8 * k + shift))
        k += 1
    return found


def hash_int(value):
    """Hash of an integer of any width; equal numbers of different widths have equal hashes."""
    low = value & M
    high = (value >> 32) & M
    if value < 0:
        high = high ^ M
    # The words of a key of four bytes, mixed once.
    c = (INIT + 4) & M
    a = (c + SEED_HIGH) & M
    b = (c + SEED_LOW) & M
    a = ((a - c) & M) ^ rot(c, 4)
    c = (c + b) & M
    b = ((b - a) & M) ^ rot(a, 6)
    a = (a + c) & M
    c = ((c - b) & M) ^ rot(b, 8)
    b = (b + a) & M
    a = ((a - c) & M) ^ rot(c, 16)
    c = (c + b) & M
    b = ((b - a) & M) ^ rot(a, 19)
    a = (a + c) & M
    c = ((c - b) & M) ^ rot(b, 4)
    b = (b + a) & M
    return final((a + (low ^ high)) & M, b, c)


def combine(a, b):
    return a ^ ((b + MAGIC + ((a << 54) & M64) + (a >> 7)) & M64)


def hash_of(oid: int, value: key_values.Key) -> int | None:
    """Hash of one value of the type ``oid``; None if the type is not known here, or the value cannot be read."""
    found = key_values.read(oid, value)
    if found is None:
        return None
    kind = type(found)
    if kind is int:
        return hash_int(found)
    if kind is bytes:
        return hash_bytes(found)
    if found.digits is None:                    # NaN and the infinities
        return SEED
    if not found.digits:                        # zero
        return SEED - 1
    return hash_bytes(found.digits) ^ (found.weight & M64)


def partition_hash(types: Sequence[int], values: Sequence[key_values.Key]) -> int | None:
    """Hash of a whole key, 64 bits, unsigned. ``types``: OIDs of the key's columns. None: cannot be computed."""
    total = 0
    for oid, value in zip(types, values, strict=True):
        if value is None:
            continue
        found = hash_of(oid, value)
        if found is None:
            return None
        total = combine(total, found)
    return total
