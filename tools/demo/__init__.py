"""The command ``demo``: a cluster, the proxy before it, and a walk-through in which everything said is counted.

size.py       how much of everything
stage.py      the cluster, the proxy and connections to them
market.py     the sharded shop: its servers, its proxy, its data, and the same on one server
serving.py    the proxy as a process of its own
shop.py       the sample data, loaded through the proxy
load.py       clients that work until they are told to stop, and the tally of what they met
facts.py      what was counted, and whether it is as promised
acts/         the walk-through, one act a file
walk.py       the order of the acts, the summary, and staying up afterwards
"""

from .size import SMALL, Size
from .walk import demo

__all__ = ["SMALL", "Size", "demo"]
