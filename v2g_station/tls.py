"""TLS towards the CSMS, with files renewed manually or by the CSMS: the next connection uses them."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from v2g.errors import KeyAccessError
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.tls.files import RenewedContext, keep_renewed
from v2g.io.websocket.client import TlsFiles, client_context
from v2g.observe import Observe
from v2g_station.device.certificates import root_file


class CsmsTls:
    """Returns a context for each connection. The roots are the file installed by the CSMS if present, else `ca`."""

    def __init__(self, files: TlsFiles, folder: Path, observe: Callable[[Observe], None]) -> None:
        """Raises KeyAccessError for unusable files."""
        self._files, self._roots, self._observe = files, root_file(folder, "CSMSRootCertificate"), observe
        self._watched = FileWatch((files.ca, self._roots))
        self._context = self._make()
        self._renewed = self._renewal()

    @property
    def roots(self) -> Path:
        """The file with the roots for the CSMS's certificate."""
        return self._roots if self._roots.exists() and self._roots.stat().st_size else self._files.ca

    def context(self, _wanted: Any = None) -> ssl.SSLContext:
        """Return the context for a new connection; if the files are unusable, the previous one."""
        if self._watched.changed():
            try:
                self._context = self._make()
                self._renewed[:] = self._renewal()
            except KeyAccessError as error:
                self._observe(Observe("tls", "roots_kept", {"error": str(error)}))
        for each in self._renewed:
            each.poll()
        return self._context

    async def run(self) -> None:
        """Check for renewed files until cancelled, so that an error is reported before the next connection."""
        await keep_renewed(self._renewed)

    def _make(self) -> ssl.SSLContext:
        return client_context(replace(self._files, ca=self.roots))

    def _renewal(self) -> list[RenewedContext]:
        own = self._files.own
        return [RenewedContext(self._context, *own, self._observe)] if own is not None else []
