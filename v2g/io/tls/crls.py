"""Revocation lists in files, by which chains of peers and contracts are judged; read anew when they change."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from v2g.errors import ConfigError, RevocationError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.crl import RevocationList, is_older, load_crl, series_of

_log = logging.getLogger(__name__)


class CrlFiles:
    """What an Endpoint, or a judge of contracts, asks for the lists that count now."""

    def __init__(self, files: Sequence[Path], observe: Callable[[Observe], None], *, key: str = "tls.crls") -> None:
        """Read the files that the configuration names under `key`.

        Raises ConfigError for one that cannot be read now. Later the list read last counts on where its file is gone or
        broken, or an older list is put back, which would take revocations back; and beside the new one where that is
        another issuer's, or of its new key: what the former key has signed is still good.
        """
        self._observe = observe
        self._files = [(path, FileWatch((path,))) for path in files]
        try:
            read = [load_crl(path.read_bytes()) for path in files]
        except (OSError, RevocationError) as error:
            raise ConfigError(f"{key}: {error}", hint="CRLs are whole lists, PEM or DER files") from None
        self._lists = [{series_of(each): each} for each in read]

    def __call__(self) -> tuple[RevocationList, ...]:
        """Return the lists."""
        return tuple(each for _, each in self.with_files())

    def with_files(self) -> list[tuple[Path, RevocationList]]:
        """Return the lists with the files in which they were."""
        for place, (path, watched) in enumerate(self._files):
            if watched.changed():
                self._renew(place, path)
        return [
            (path, each) for (path, _), lists in zip(self._files, self._lists, strict=True) for each in lists.values()
        ]

    def _renew(self, place: int, path: Path) -> None:
        try:
            found = load_crl(path.read_bytes())
            held = self._lists[place].get(series_of(found))
            if held is not None and is_older(found, held):
                raise RevocationError(f"{path}: the list is older than the one in use", reason="expired")
        except (OSError, RevocationError) as error:
            _log.warning("%s: the old revocation list stays in use: %s", path, error)
            self._observe(Observe("tls", "crls_kept", {"file": str(path), "error": str(error)}))
            return
        self._lists[place][series_of(found)] = found
        self._observe(Observe("tls", "crls_renewed", {"file": str(path), "entries": len(found.entries)}))
