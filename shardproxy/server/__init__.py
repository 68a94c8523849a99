"""Processes: the parent (sockets, signals, health, permits, console, metrics, HTTP) and its workers (clients).

The parent never touches a client's bytes; a worker never opens a listening socket, and asks the parent before it opens
a server connection. They talk over :mod:`shardproxy.server.control` and share the consistency board.
"""
