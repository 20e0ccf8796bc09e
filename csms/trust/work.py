"""Trust lists of an ecosystem: fetched, verified, and brought to stations (M03 to M05, R217).

New roots come first, and a station on which one of them cannot be installed keeps its old ones: so a root is rolled
over without a session that fails. What a list no longer has is deleted only where an operator has ordered that.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Final

from csms.config import TrustListSource
from csms.services import Services
from csms.station_security import work as certificates
from csms.station_security.rules import is_root_of
from csms.trust import store
from csms.trust.certificate_status import CertificateStatus
from v2g.errors import OcppError, RefusedError, StoreError, V2GError, with_reason
from v2g.io.http.pools import PoolClient
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn, wait_at_most
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.pki.certificates import chain_to_pem, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import read_secret_text
from v2g.pki.pools import PoolRoot, RootKind, read_event
from v2g.pki.trust_list import TrustList, read_trust_list

_USES: Final[Mapping[RootKind, InstallCertificateUse]] = {
    "V2G": "V2GRootCertificate",
    "MO": "MORootCertificate",
    "OEM": "OEMRootCertificate",
}
_LOOK_S: Final = 10.0
_RETRY_MS: Final = 300_000
_AGAIN_MS: Final = 60_000
_LEASE: Final = "trust list"
_ABOUT_ROOTS: Final = frozenset({"root.cert.added", "root.cert.expired", "root.cert.revoked"})


class TrustLists:
    """The list of one ecosystem, and the stations; one instance for the whole program."""

    def __init__(self, config: TrustListSource, clock: Clock) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._config, self._client = config, PoolClient(config.server, clock)
        self._anchors = tuple(der for path in config.roots for der in load_chain(path))
        file = config.secret_file
        self._secret = "" if file is None else read_secret_text(file)
        self._wake, self._tried_ms = asyncio.Event(), 0

    async def run(self, services: Services) -> None:
        """Fetch the list when it is due, and carry on with stations, for ever."""
        while True:
            self._wake.clear()
            with contextlib.suppress(StoreError):
                await self.fetch_if_due(services)
                await self.look(services)
            await wait_at_most(_LOOK_S, self._wake.wait())

    async def fetch_if_due(self, services: Services) -> None:
        """Fetch the list if that is due, some minutes after a failure at the earliest. Raises StoreError."""
        known, now_ms = await services.store.read(store.state), services.clock.utc_ms()
        due = now_ms - known.fetched_ms >= self._config.every_h * 3_600_000
        if due and abs(now_ms - self._tried_ms) >= _RETRY_MS and await services.leads(_LEASE, _LOOK_S):
            self._tried_ms = now_ms
            with contextlib.suppress(V2GError):
                await self.fetch(services)

    async def fetch(self, services: Services) -> TrustList:
        """Fetch, verify and store the list. Raises V2GError; what is known stays."""
        known, now_ms = await services.store.read(store.state), services.clock.utc_ms()
        try:
            body = await self._client.trust_list()
            crls = services[CertificateStatus].crls.current()
            found = read_trust_list(body, self._anchors, at=services.clock.now(), newest=known.list_number, crls=crls)
        except V2GError as error:
            problem = with_reason(error)
            await services.store.run(store.note_problem, problem)
            services.announce("ocpp", "trust_list_refused", problem=problem[:200])
            raise
        new, gone = await services.store.run(store.take, found, now_ms)
        if new or gone:
            services.announce("ocpp", "trust_list_changed", number=found.number, added=len(new), removed=len(gone))
        return found

    def told(self, body: bytes, signature: str) -> bool:
        """Return whether a signed event of the ecosystem is about roots; a repeated one does no harm.

        Raises RefusedError unless events are expected, CertificateError for a wrong signature, CodecError.
        """
        if not self._secret:
            why = "set trust_list.secret_file"
            raise RefusedError("no events are expected", reason="not_configured", hint=why)
        return read_event(body, signature, self._secret).kind in _ABOUT_ROOTS

    async def order(self, services: Services, stations: Collection[str], *, removes: bool) -> int:
        """Have stations brought up to the newest list; return its number. Raises RefusedError: `no_list`, `expired`."""
        known, now_ms = await services.store.read(store.state), services.clock.utc_ms()
        if not known.list_number:
            raise RefusedError("there is no list yet", reason="no_list", hint=known.problem or "fetch it first")
        if known.until_ms < now_ms:
            why = f"list {known.list_number} has expired"
            raise RefusedError(why, reason="expired", hint=known.problem or "fetch it first")
        await services.store.run(store.order, stations, known.list_number, now_ms, removes=removes)
        self._wake.set()
        return known.list_number

    async def look(self, services: Services) -> None:
        """Carry on with stations that are connected here. Raises StoreError."""
        connected = services.connections.connected_here()
        claimed = await services.store.run(store.claim, connected, services.clock.utc_ms())
        if not claimed:
            return
        present = await services.store.read(store.trusted, removed=False)
        gone = await services.store.read(store.trusted, removed=True)
        await asyncio.gather(
            *(spawn(_bring(services, each, present, gone if removes else ())) for each, removes in claimed)
        )


async def _bring(
    services: Services, station_id: str, present: Collection[PoolRoot], gone: Collection[PoolRoot]
) -> None:
    again_ms = 0
    try:
        installed, deleted = await _change(services, station_id, present, gone)
        outcome, detail = "Done", f"{installed} installed, {deleted} deleted"
    except V2GError as error:  # else it is not connected any more, or does not answer
        final = isinstance(error, OcppError) or getattr(error, "reason", "") in ("station", "certificate")
        outcome, detail, again_ms = ("Failed", str(error), 0) if final else ("Waiting", str(error), _AGAIN_MS)
    now_ms = services.clock.utc_ms()
    with contextlib.suppress(StoreError):  # else the lease ends
        await services.store.run(store.settle, station_id, now_ms, outcome, detail, again_ms)
    services.report("ocpp", "roots_rolled_out", station_id, {"outcome": outcome, "detail": detail[:200]})


async def _change(
    services: Services, station_id: str, present: Collection[PoolRoot], gone: Collection[PoolRoot]
) -> tuple[int, int]:
    """Return how many roots were installed and deleted. Raises RefusedError where the station refuses one."""
    newer = services.connections.version(station_id) == "2.1"
    known, number = await certificates.installed(services, station_id), 0
    for root in present:
        for use in _uses(root, newer=newer):
            has = (each for each in known if each.certificate_type == use)
            if any(is_root_of(each.certificate_hash_data, (root.certificate,)) for each in has):
                continue
            pem = chain_to_pem((root.certificate,))
            answer = await certificates.install(services, station_id, use, pem)
            if answer.status != "Accepted":
                raise RefusedError(f"{_name(root)}: InstallCertificate is {answer.status}", reason="station")
            number += 1
    deleted = 0
    for root in gone:
        uses = _uses(root, newer=newer)
        for each in known:
            if each.certificate_type in uses and is_root_of(each.certificate_hash_data, (root.certificate,)):
                status = (await certificates.delete(services, station_id, each.certificate_hash_data)).status
                if status == "Failed":
                    raise RefusedError(f"{_name(root)}: DeleteCertificate is {status}", reason="station")
                deleted += 1
    return number, deleted


def _uses(root: PoolRoot, *, newer: bool) -> list[InstallCertificateUse]:
    """Return as what a root is installed; OCPP 2.0.1 knows no roots of vehicles."""
    return [_USES[kind] for kind in root.kinds if kind in _USES and (newer or kind != "OEM")]


def _name(root: PoolRoot) -> str:
    return load_certificate(root.certificate).subject.rfc4514_string()[:100]
