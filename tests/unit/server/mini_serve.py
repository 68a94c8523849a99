"""``shardproxy serve`` with the small worker of the tests: ``mini_serve.py CONFIG [--takeover]``."""

from __future__ import annotations

import sys
from pathlib import Path

from shardproxy.server.serve import serve

if __name__ == "__main__":
    WORKER = (sys.executable, str(Path(__file__).with_name("mini_worker.py")))
    sys.exit(serve(sys.argv[1], takeover="--takeover" in sys.argv, command=WORKER))
