"""Roots that the charger trusts for vehicles and contracts: configured, or changed by its CSMS."""

from collections.abc import Callable, Mapping
from pathlib import Path

from secc.config import TlsConfig
from v2g.errors import V2GError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.pki.credentials import load_chain
from v2g_station.device.certificates import root_file


class TrustFiles:
    """Read again when the CSMS has changed them; if that fails the previous ones stay."""

    def __init__(self, config: TlsConfig, folder: Path | None, observe: Callable[[Observe], None]) -> None:
        """`folder` is where a station stores the roots of its CSMS. Raises V2GError."""
        self._configured: Mapping[InstallCertificateUse, tuple[Path, ...]] = {
            "V2GRootCertificate": config.v2g_roots,
            "OEMRootCertificate": config.oem_roots,
            "MORootCertificate": config.mo_roots,
        }
        self._files = {} if folder is None else {use: root_file(folder, use) for use in self._configured}
        self._observe = observe
        self._watched = FileWatch(tuple(self._files.values()))
        self._known = self._read()

    def of(self, *uses: InstallCertificateUse) -> tuple[bytes, ...]:
        """Return the present roots (DER) for these uses."""
        if self._watched.changed():
            try:
                self._known = self._read()
            except V2GError as error:
                self._observe(Observe("tls", "roots_kept", {"error": str(error)}))
        return tuple(der for use in uses for der in self._known[use])

    def _read(self) -> dict[InstallCertificateUse, tuple[bytes, ...]]:
        return {use: self._roots(use, paths) for use, paths in self._configured.items()}

    def _roots(self, use: InstallCertificateUse, paths: tuple[Path, ...]) -> tuple[bytes, ...]:
        file = self._files.get(use)
        if file is None or not file.exists():
            return tuple(load_chain(path)[0] for path in paths)
        return load_chain(file) if file.stat().st_size else ()
