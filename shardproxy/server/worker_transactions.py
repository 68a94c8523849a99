"""What the parent asks of a worker about its transactions over several places.

Invariant: the answers come from ``Transactions`` alone; nothing is kept here.
"""

from __future__ import annotations

from typing import Any

from shardproxy.transactions.coordination import Transactions

__all__ = ["TransactionOperations"]


class TransactionOperations:
    """The part of ``WorkerApi`` that is about transactions; see there."""

    transactions: Transactions
    databases: dict[str, Any]

    async def transactions_told(self, database: str, installation: str, incarnation: str,
                                in_doubt: list[str]) -> None:
        self.transactions.told(database, installation, incarnation, in_doubt)
        if database in self.databases:
            self.databases[database].gate.close()

    async def distributed(self) -> list[dict[str, Any]]:
        return self.transactions.snapshot()

    async def deadlocked(self, transaction: int, detail: str) -> bool:
        return self.transactions.deadlocked(transaction, detail)

    async def hold_commits(self, seconds: float) -> bool:
        return await self.transactions.hold(seconds)

    async def release_commits(self) -> None:
        self.transactions.release()
