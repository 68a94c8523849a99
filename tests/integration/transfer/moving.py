"""A process that moves tables and may be killed at any moment: ``python -m tests.integration.transfer.moving``.

It copies what is missing, applies changes all the time, and says on its standard output how far it is.
"""

from __future__ import annotations

import asyncio
import json
import sys

from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import Move
from shardproxy.tools.transfer.preparing import prepare

from .places import Places


async def main(host: str, port: int, data: str) -> None:
    """Until it is killed."""
    move = Move.from_json(json.loads(data))
    places = Places(host, port, move.name)
    tables = await prepare(move, places, places, move.into)
    print("prepared", flush=True)
    for source in move.streams():
        copier = Copier(move, source, places, tables[source.name], chunk_rows=500)
        asyncio.get_running_loop().call_later(0.1, copier.stop)
        while not await copier.run():           # in between, changes of what is not copied yet are left to the copy
            await Applier(move, source, places, tables[source.name]).run(await places.written(source.name))
            asyncio.get_running_loop().call_later(0.1, copier.stop)
    print("copied", flush=True)
    await asyncio.gather(*(Applier(move, source, places, tables[source.name]).run() for source in move.streams()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
