"""Revocation lists in files, for chains of peers and contracts; read again when they change."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from v2g.errors import ConfigError, RevocationError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.crl import RevocationList, is_older, load_crl, series_of

_log = logging.getLogger(__name__)


class CrlFiles:
    """Returns the present lists, for an Endpoint or a verifier of contracts."""

    def __init__(self, files: Sequence[Path], observe: Callable[[Observe], None], *, key: str = "tls.crls") -> None:
        """Read the files of the configuration's `key`.

        Raises ConfigError for one that cannot be read now. Later the last list stays in use if its file is missing or
        broken, or an older list is put back, which would undo revocations; and besides the new one if that is
        of another issuer or its new key: certificates signed by the former key are still valid.
        """
        self._observe = observe
        self._files = [(path, FileWatch((path,))) for path in files]
        try:
            read = [load_crl(path.read_bytes()) for path in files]
        except (OSError, RevocationError) as error:
            raise ConfigError(f"{key}: {error}", hint="CRLs are complete lists, PEM or DER files") from None
        self._lists = [{series_of(each): each} for each in read]

    def __call__(self) -> tuple[RevocationList, ...]:
        """Return the lists."""
        return tuple(each for _, each in self.with_files())

    def with_files(self) -> list[tuple[Path, RevocationList]]:
        """Return the lists with their files."""
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
