"""Renewal of certificates in `ssl` contexts while the program runs: later handshakes use the new one.

For connections outside ISO 15118: OCPP at both ends, the HTTP API, telemetry. Open connections are not affected, unless
their owner begins new ones (`then`).
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from v2g.errors import V2GError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.certificates import common_name, load_certificate
from v2g.pki.credentials import load_credentials

POLL_S: Final = 5.0
"""Interval of checks. Certificates overlap by days."""


class RenewedContext:
    """A context, and the files of its chain and key; both PEM. `then` is called after each renewal."""

    def __init__(
        self,
        context: ssl.SSLContext,
        chain: Path,
        key: Path,
        observe: Callable[[Observe], None],
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self._context, self._then = context, then
        self._chain = chain
        self._key = key
        self._observe = observe
        self._watched = FileWatch((chain, key))

    def poll(self) -> None:
        """Load a renewed certificate into the context; an expired one, or one with another key, is reported."""
        if not self._watched.changed():
            return
        try:
            leaf = load_certificate(load_credentials(self._chain, self._key).leaf)
            # A context that fails half way has lost its key: try with a temporary one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
            self._context.load_cert_chain(self._chain, self._key)
        except (V2GError, OSError) as error:  # ssl.SSLError is one
            self._observe(Observe("tls", "credentials_kept", {"certificate": str(self._chain), "error": str(error)}))
            return
        data = {"certificate": common_name(leaf), "until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}
        self._observe(Observe("tls", "credentials_renewed", dict(data)))
        self._then()


class Renewed(Protocol):
    """Contexts that are renewed from files."""

    def poll(self) -> None:
        """Load renewed certificates."""


async def keep_renewed(renewed: Sequence[Renewed], interval_s: float = POLL_S) -> None:
    """Check the files until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        for each in renewed:
            each.poll()
