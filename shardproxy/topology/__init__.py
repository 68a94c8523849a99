"""Servers, roles, replication positions: snapshots (``view``), choice (``balance``), the board.

Invariant: a view never changes after it was made; what changes many times a second is on the board.
"""
