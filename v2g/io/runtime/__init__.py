"""What every program needs to run: runner of cores, disk, clocks, events, supervision.

What becomes of a task, thread or callback that fails: `supervision.py`; a test forbids tasks and threads made
elsewhere. A hung event loop: `watchdog.py`. How a configuration is read: `program.py`; the files that it names:
`config_files.py`; who else may read them: `program.py`, secrets `v2g/pki/keys.py`. How large event and log files
become, and how many are kept: `v2g/io/storage/growing_file.py`. Durable writes are futures (`disk.py`): threads write
each EVSE's journal in order, and the runner delays the session's next actions until then, except an emergency stop and
what lowers power. The charger uses asyncio's own event loop, the back end uvloop.
"""
