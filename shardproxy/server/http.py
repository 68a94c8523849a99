"""HTTP for monitoring: /metrics, /healthz, /readyz and the status page. Reading only, and without a login: so it
listens on a loopback address unless the configuration says otherwise.

Invariant: no request changes anything, and no answer holds a statement's text or a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from shardproxy.server import metrics
from shardproxy.server.sockets import HTTP, Listener
from shardproxy.server.state import State
from shardproxy.server.status import page

__all__ = ["HttpServer", "readiness"]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def readiness(state: State) -> dict[str, str]:
    """Why statements cannot be served now, by database; empty if they can."""
    if state.draining:
        return {"*": "the proxy is ending"}
    found = {}
    for name in state.config.databases:
        view = state.view.database(name)
        primary = view.primary_server if view is not None else None
        if view is None or primary is None:
            found[name] = view.conflict if view is not None and view.conflict else "no primary"
        elif view.hold or not primary.healthy:
            found[name] = f"primary {primary.id} does not answer"
        elif state.is_paused(name):
            found[name] = "paused"
    return found


class HttpServer:
    """Serves until ``close``."""

    def __init__(self, state: State) -> None:
        self._state = state
        app = web.Application()
        app.add_routes([web.get("/", self._page), web.get("/metrics", self._metrics),
                        web.get("/healthz", self._health), web.get("/readyz", self._ready)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Accept on the listeners for HTTP."""
        await self._runner.setup()
        for listener in listeners:
            if listener.kind == HTTP:
                for sock in listener.sockets:
                    await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Stop accepting and finish the requests that are being answered."""
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=await page(self._state), content_type="text/html", headers=_HEADERS)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await metrics.render(self._state),
                            headers={**_HEADERS, "Content-Type": metrics.CONTENT_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        workers = self._state.workers.processes
        alive = sum(1 for _, pid, _, _ in workers if pid)
        answer = {"status": "alive", "workers": len(workers), "workers_up": alive}
        return web.json_response(answer, headers=_HEADERS)

    async def _ready(self, request: web.Request) -> web.Response:
        reasons = readiness(self._state)
        return web.json_response({"ready": not reasons, "reasons": reasons},
                                 status=503 if reasons else 200, headers=_HEADERS)
