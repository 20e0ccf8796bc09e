"""Revocation lists in files, by which the peer's chain is judged; read anew when they change."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from v2g.errors import ConfigError, RevocationError
from v2g.net.watched import Watched
from v2g.observe import Observe
from v2g.pki.crl import RevocationList, load_crl

_log = logging.getLogger(__name__)


class CrlFiles:
    """What an Endpoint asks for the lists that count now."""

    def __init__(self, files: Sequence[Path], observe: Callable[[Observe], None]) -> None:
        """Read the files. Raises ConfigError for one that cannot be read now; later the lists read last count on."""
        self._files = tuple(files)
        self._observe = observe
        self._watched = Watched(files)
        try:
            self._lists = self._read()
        except (OSError, RevocationError) as error:
            raise ConfigError(f"tls.crls: {error}", hint="CRLs are PEM or DER files") from None

    def __call__(self) -> tuple[RevocationList, ...]:
        """Return the lists."""
        if self._watched.changed():
            try:
                self._lists = self._read()
            except (OSError, RevocationError) as error:
                _log.warning("the old revocation lists stay in use: %s", error)
                self._observe(Observe("tls", "crls_kept", {"error": str(error)}))
            else:
                self._observe(
                    Observe("tls", "crls_renewed", {"entries": sum(len(each.entries) for each in self._lists)})
                )
        return self._lists

    def _read(self) -> tuple[RevocationList, ...]:
        return tuple(load_crl(path.read_bytes()) for path in self._files)
