"""A transfer as operators and programs see it.

Invariant: ``status`` has exactly the keys that the contract names; everything else is in ``lines``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .journal import FINAL, Record

__all__ = ["bytes_text", "lines", "next_step", "status"]

_NEXT = {
    "PLANNED": "start", "READY": "switch", "READS_SWITCHED": "switch --writes",
    "SWITCHED": "complete (or reverse)", "REVERSED": "switch again, or cancel",
}


def status(record: Record) -> dict[str, Any]:
    """For ``--json``."""
    body = record.body
    copied, verified = body.get("copied") or {}, body.get("verified")
    return {
        "name": record.name, "state": record.state, "paused": bool(body.get("paused")), "error": body.get("error"),
        "rows_copied": copied.get("rows", 0), "rows_estimated": copied.get("rows_estimated", 0),
        "lag_bytes": body.get("lag_bytes", 0),
        "verified": None if not verified else {
            "position": verified["position"], "age_s": round(max(0.0, time.time() - verified["at"]), 1),
            "mismatches": verified["mismatches"]},
        "pause_ms": body.get("pause_ms"), "blocked_by": list(body.get("blocked_by") or ())}


def next_step(record: Record) -> str:
    """What to do now; empty: wait."""
    if record.body.get("error"):
        return str(record.body.get("remedy") or "resume")
    if record.body.get("paused"):
        return "resume"
    return _NEXT.get(record.state, "")


def lines(record: Record) -> Iterator[str]:
    """For people."""
    found, body = status(record), record.body
    flags = " (paused)" * found["paused"] + " (failed)" * bool(found["error"])
    yield f"{record.name}: {found['state']}{flags}"
    move = body["move"]
    yield "  tables   " + ", ".join(".".join(table) for table in (*move["tables"], *move["references"]))
    yield "  from     " + ", ".join(place["name"] or "the coordinator" for place in move["sources"])
    yield "  to       " + ", ".join(place["name"] or "the coordinator" for place in move["targets"])
    if found["rows_estimated"] or found["rows_copied"]:
        yield f"  copied   {found['rows_copied']} of about {found['rows_estimated']} rows"
    if record.state not in ("PLANNED", "PREPARED", *FINAL):
        yield f"  lag      {bytes_text(found['lag_bytes'])}"
    if found["verified"]:
        one = found["verified"]
        yield f"  verified {one['mismatches']} rows differ, {one['age_s']:.0f} s ago, at {one['position']}"
        for line in body["verified"].get("detail", ()):
            yield f"           {line}"
    if found["pause_ms"] is not None:
        yield f"  pause    {found['pause_ms']:.0f} ms"
    way = body.get("reverse")
    if way and record.state == "SWITCHED":
        yield "  reverse  " + ("possible" if way["possible"] else f"not possible: {way['why']}")
    for one in found["blocked_by"]:
        yield f"  blocked by {one['what']} since {one['since']}: {one['remedy']}"
    if body.get("waiting"):
        yield f"  waiting  {body['waiting']}"
    if found["error"]:
        yield from (f"  error    {line}" for line in found["error"].splitlines())
    if not record.alive and record.state not in FINAL and not found["paused"] and not found["error"]:
        yield "  runner   none: the next verb starts one"
    if next_step(record):
        yield f"  next     {next_step(record)}"


def bytes_text(number: float) -> str:
    """``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            return f"{number:.0f} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return ""
