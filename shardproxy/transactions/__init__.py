"""Transactions over several places: their names, and who is told what while they are being committed.

Invariant: nothing here knows a database; how a place prepares and decides is its dialect's matter.
"""
