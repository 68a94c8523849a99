"""shardproxy: a database proxy that an application points its connection string at, and changes nothing else.

    client --wire--> session --> router --> one server --> relay: the bytes pass untouched

Where things live (imports point one way, left to right; ``tests/tidy`` holds it):

    errors, limits, log   what everything may use
    dialects              all that is specific to one database: codec, authentication, SQL knowledge, catalog
    config                TOML -> checked, frozen settings
    topology              servers, roles and replication positions as snapshots; the shared consistency board
    catalog, router       what tables and functions are; statement text -> digest -> cached route
    pool                  server connections and who may use them
    session               one client's settings, prepared statements and pins
    relay                 the compiled I/O driver: sockets, buffers, backpressure
    server                parent and worker processes, console, metrics, HTTP
    tools                 the command line
"""

from . import _compiled

__version__ = "0.1.0"

_compiled.install()     # before any hot module is imported
