"""`v2g pki serve`: the OCSP responder and CRL server."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from v2g.observe import Observe
from v2g_cli.output import print_json, say
from v2g_cli.pki.common import JsonFlag, Tree


def serve(
    directory: Tree,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8088,
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    json: JsonFlag = False,
) -> None:
    """Answer OCSP requests and serve CRLs for a tree, until SIGTERM; revocations take effect at once.

    Example: `v2g pki serve certs/lab --port 8088`

    Certificates contain its URL when they are made with `v2g pki make DIR --url http://HOST:8088`. Keys of authorities
    that
    have a delegated responder need not be in the folder.
    """
    from pki_tools.serve import serve as run_server
    from v2g.io.runtime.clock import Clock
    from v2g.io.runtime.events import EventLog
    from v2g.io.runtime.program import run
    from v2g.io.storage.growing_file import LogFiles

    log = EventLog("pki", Clock(), events)

    def observe(event: Observe) -> None:
        log(event)
        if json:
            print_json({"stage": event.stage, "name": event.name, "data": event.data})
        elif event.name == "ready":
            shown = f"[{host}]" if ":" in host else host
            say(f"ready: http://{shown}:{event.data['port']} serves {directory}")
            sys.stdout.flush()

    try:
        code = run(
            lambda: None,
            lambda _: LogFiles(level="warning"),
            lambda _: run_server(directory, host, port, observe=observe),
        )
    finally:
        log.close()
    raise typer.Exit(code)
