"""asyncio's event loop around the pump.

Invariant: whatever asyncio is given to do (a call, a timer, a future that ends) while the pump runs makes the pump
return to asyncio at the end of its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

from shardproxy.relay.pump_cy import Pump, PumpSelector

__all__ = ["PumpLoop"]

Ts = TypeVarTuple("Ts")


class PumpLoop(asyncio.SelectorEventLoop):
    """An event loop whose selector serves ``pump``'s channels in place."""

    def __init__(self) -> None:
        selector = PumpSelector()
        self.pump: Pump = selector.pump
        super().__init__(selector)

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.pump.interrupted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.pump.interrupted = True
        return super().call_at(when, callback, *args, context=context)
