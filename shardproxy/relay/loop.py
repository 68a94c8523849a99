"""asyncio's event loop around the pump.

Invariant: whatever asyncio is given to do (a call, a timer, a future that ends) while the pump runs makes the pump
return to asyncio at the end of its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from shardproxy.relay.pump_cy import Pump, PumpSelector

__all__ = ["PumpLoop"]


class PumpLoop(asyncio.SelectorEventLoop):
    """An event loop whose selector serves ``pump``'s channels in place."""

    def __init__(self) -> None:
        selector = PumpSelector()
        self.pump: Pump = selector.pump
        super().__init__(selector)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        self.pump.interrupted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self.pump.interrupted = True
        return super().call_at(when, callback, *args, context=context)
