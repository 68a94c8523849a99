"""Processes: the parent (sockets, signals, health, permits, console, metrics, HTTP), and workers (clients).

    serve.py        the command: log, limits of the system, parent
    supervisor.py   the parent: puts the parts below together; signals, reload, shutdown
    sockets.py      listening sockets, which outlive workers
    takeover.py     listening sockets pass from a running parent to a new one
    workers.py      worker processes: started, watched, replaced
    control.py      calls between parent and worker; worker_api.py names them, figures.py what they report
    permits.py      who may open a server connection
    admin.py        the console: parsing and commands; show_*.py its tables
    metrics.py, http.py, status.py   /metrics, /healthz, /readyz and the status page

The parent never touches a client's bytes; a worker never opens a listening socket, and asks the parent before
it opens a server connection.
"""
