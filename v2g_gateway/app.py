"""The gateway program: runs until SIGTERM or SIGINT, delivers what it can within a few seconds, and ends."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from v2g.io.ota.unreadable import read_or_go_back
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import run
from v2g.io.runtime.service_manager import notify
from v2g.io.runtime.supervision import defects_reported
from v2g_gateway.config import GatewayConfig, load_config
from v2g_gateway.error_log import ErrorLog
from v2g_gateway.gateway import Gateway, state_folder


def main(config_path: Path, events: Path | None) -> int:
    """Run until a signal ends it; return the exit code."""
    return run(
        lambda: read_or_go_back(config_path, partial(load_config, name=str(config_path)), _place),
        lambda config: config.log,
        lambda config: _run(config, events or config.log.events),
    )


def _place(tree: Any) -> tuple[dict[str, Any], Path]:
    return tree["update"], state_folder(Path(tree["outbox"]))


async def _run(config: GatewayConfig, events: Path | None) -> int:
    clock = Clock(config.clock)
    with contextlib.ExitStack() as stack:
        events_log = EventLog("gateway", clock, events, files=config.log)
        stack.callback(events_log.close)
        observe = ErrorLog(config.error_log, config.log, clock, events_log)
        stack.callback(observe.close)
        stack.enter_context(defects_reported(observe))
        gateway = await Gateway.open(config, clock, observe)
        notify("READY=1")
        try:
            await asyncio.Event().wait()
        finally:
            await gateway.close()
    return 0
