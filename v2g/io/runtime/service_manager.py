"""What a service manager such as systemd learns of a program: sd_notify(3) over the socket that it names.

Without NOTIFY_SOCKET in the environment, as in a terminal, nothing is sent.
"""

import asyncio
import logging
import os
import socket
from typing import Final

_log = logging.getLogger(__name__)

_FEEDS: Final = 3
"""How often the watchdog is fed within its time, so that one late feeding restarts nothing."""


def notify(state: str) -> None:
    """Send a state, such as "READY=1". A failure is logged, and never raised."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.settimeout(0)  # a full queue must not stop the loop that charges
            sending.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        _log.warning("cannot notify the service manager at %s: %s", address, error)


def _watchdog_s() -> float | None:
    """Return the time within which the service manager's watchdog must be fed (WatchdogSec=), or None: it has none."""
    try:
        found = int(os.environ["WATCHDOG_USEC"]) / 1e6
        meant = int(os.environ.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except (KeyError, ValueError):
        return None
    return found if meant and found > 0 else None


async def feed_watchdog() -> None:
    """Feed the service manager's watchdog from the event loop, for ever: one that hangs is restarted (R166)."""
    within = _watchdog_s()
    while within is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(within / _FEEDS)
