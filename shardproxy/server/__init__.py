"""Processes: the parent (sockets, signals, health, permits, console, metrics, HTTP), and workers (clients).

    serve.py        the command: log, limits of the system, parent
    supervisor.py   the parent: puts the parts below together; signals, reload, shutdown
    sockets.py      listening sockets, which outlive workers
    takeover.py     listening sockets pass from a running parent to a new one
    workers.py      worker processes: started, watched, replaced
    control.py      calls between parent and worker; worker_api.py names them, figures.py what they report
    parent_api.py   what the parent answers to workers
    permits.py      who may open a server connection; reclaim.py moves idle ones to workers that wait
    state.py        all that can be looked at; stats.py counters over workers and periods
    admin.py        the console: command.py its grammar, admin_commands.py and show_*.py what it does
    metrics.py, http.py, status.py   /metrics, /healthz, /readyz and the status page
    monitor.py      health, roles and lag of all servers; catalogs.py what is in them
    worker.py       one worker: its clients, its databases

The parent never touches a client's bytes; a worker never opens a listening socket, and asks the parent before
it opens a server connection.
"""
