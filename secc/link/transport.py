"""The charger's end of TLS, by the configuration: chains and their OCSP answers, and trusted roots."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from secc.config import ChainConfig, ProgramConfig, TlsConfig, served_profiles, tls_profiles
from secc.station.device import certificate_folder
from v2g.errors import V2GError
from v2g.io.keys.stores import load_credentials
from v2g.io.network import plain_tcp
from v2g.io.runtime.disk import Turnstile
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.tls.endpoint import Endpoint
from v2g.io.tls.identity import Answers, IdentityFiles, identities
from v2g.io.tls.peer_verifier import check_own_key
from v2g.io.tls.revocation import CrlFiles
from v2g.io.tls.stapler import Stapler
from v2g.io.tls.warnings import log_backend, log_profile, open_key_log
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials, load_authorities, load_chain
from v2g.pki.profile import Role
from v2g_station.device.certificates import root_file, status_file

# -- Roots that the charger trusts for vehicles and contracts: configured, or changed by its CSMS


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
            return load_authorities(paths)
        return load_chain(file) if file.stat().st_size else ()


VEHICLES: Final[tuple[InstallCertificateUse, ...]] = ("V2GRootCertificate", "OEMRootCertificate")
"""Roots for the certificates of vehicles."""


class VehicleTransport:
    """Chains, roots and OCSP answers of one charger."""

    def __init__(
        self, config: ProgramConfig, observe: Callable[[Observe], None], turnstile: Turnstile | None = None
    ) -> None:
        """Read the files; new vehicles wait at the `turnstile`. Raises V2GError for unusable ones."""
        self.config, self.turnstile = config, turnstile or Turnstile()
        tls_config = config.tls
        allowed = tls_profiles(config)
        profile = allowed["20"]
        folder = certificate_folder(config.station) if config.station is not None else None
        self.trust = TrustFiles(tls_config, folder, observe)
        log_profile(profile, observe)
        if any(place.sdp.without_tls for place in config.places):
            editions = {name for place in config.places for name in place.charger.editions}
            plain_tcp.permit(profile, observe, editions=editions)
        key_log = open_key_log(tls_config.key_log, observe) if tls_config.key_log is not None else None
        self._stapler = _stapler(config, self.trust.of(*VEHICLES), observe)
        first = ChainConfig(chain=tls_config.chain, key=tls_config.key, ocsp=tls_config.ocsp)

        def files(chain: ChainConfig) -> IdentityFiles:
            def load() -> Credentials:
                credentials = load_credentials(chain.chain, chain.key)
                check_own_key(load_certificate(credentials.leaf), *allowed.values())
                return credentials

            answers = self._stapler.answer if self._stapler is not None else _answers(chain.ocsp, folder)
            files = (chain.chain, *([chain.key.path] if chain.key.path is not None else []))
            return IdentityFiles(load, files, answers=answers, observe=observe)

        self._files = tuple(files(chain) for chain in (first, *tls_config.other_chains))
        leaves = [load_certificate(each.current().credentials.leaf) for each in self._files]
        self._profiles = served_profiles(config, leaves)
        self.endpoint = Endpoint(
            server=True,
            identities=identities(self._files),
            anchors=lambda: self.trust.of(*VEHICLES),
            peer_role=Role.VEHICLE,
            crosses=load_authorities(tls_config.cross_certificates),
            profile=profile,
            falls_back=tls_config.falls_back,
            backend=tls_config.backend,
            crls=CrlFiles(tls_config.crls, observe),
            key_log=key_log,
        )
        log_backend(self.endpoint, observe)

    def endpoint_of(self, place: ProgramConfig) -> Endpoint | None:
        """Return the TLS end for an EVSE's editions, None if none of them has TLS."""
        profiles = [each for name, each in self._profiles.items() if name in place.charger.editions]
        if not profiles:
            return None
        older = profiles[1] if len(profiles) > 1 else None
        return msgspec.structs.replace(self.endpoint, profile=profiles[0], older=older)

    @property
    def credentials(self) -> tuple[Credentials, ...]:
        """The chains in use, best first."""
        return tuple(each.credentials for each in self.endpoint.current())

    async def run(self) -> None:
        """Keep the OCSP answers fresh, until cancelled."""
        if self._stapler is not None:
            await self._stapler.run(lambda: [each for files in self._files for each in files.wanted()])
        await asyncio.Event().wait()

    async def watch_ends(self) -> None:
        """Report once a day chains that are to be renewed, until cancelled."""
        while True:
            for each in self._files:
                each.report_end()
            await asyncio.sleep(86_400)


def _stapler(config: ProgramConfig, anchors: tuple[bytes, ...], observe: Callable[[Observe], None]) -> Stapler | None:
    wanted = config.tls.stapler
    if wanted is None:
        return None
    cache = wanted.cache or config.data_dir / "ocsp"
    return Stapler(anchors=anchors, responder=wanted.responder, cache=cache, observe=observe)


def _answers(path: Path | None, folder: Path | None) -> Answers | None:
    """Return the answers to staple: of a file of the configuration, else those that the CSMS gives (OCPP M06)."""
    if path is not None:
        return lambda _credentials: path.read_bytes()
    if folder is None:
        return None

    def answer(credentials: Credentials) -> bytes:
        leaf = load_certificate(credentials.leaf)
        try:
            return status_file(folder, f"{leaf.serial_number:x}").read_bytes()
        except FileNotFoundError:
            return b""

    return answer
