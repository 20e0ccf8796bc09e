"""The built-in authority for stations' certificates: signs, delivers, and stores the outcome (A02, A03)."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed
from csms.config import CsmsConfig, StationAuthority
from csms.db.store import Store
from csms.station_security import store as security
from csms.station_security.enrolment import Enrolments, generation_of, role_of
from csms.station_security.rules import Authority, delivered, is_root_of, read_request, sign
from v2g.errors import CertificateError, ConfigError, RefusedError, V2GError
from v2g.io.keys.stores import load_credentials
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages import security as ocpp
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.remote_control import TriggerMessageRequest, TriggerMessageResponse
from v2g.pki.certificates import chain_from_pem, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.csr import load_csr
from v2g.pki.issue import Issuer
from v2g.pki.profile import ORGANIZATION, Role

_TRIGGERS: Final = {
    "ChargingStationCertificate": "SignChargingStationCertificate",
    "V2GCertificate": "SignV2GCertificate",
    "V2G20Certificate": "SignV2G20Certificate",
    None: "SignCombinedCertificate",
}

COMBINED: Final = "Combined"
"""Stored kind of a combined certificate, for the CSMS and for vehicles."""

_SOON_MS: Final = 35 * 86_400_000
"""Before the alert of 30 days, which then says that renewal has failed."""


class StationCa:
    """Both authorities; one instance for the whole program."""

    def __init__(
        self,
        config: CsmsConfig,
        store: Store,
        clock: Clock,
        connections: ConnectionRegistry,
        observe: Callable[[Observe], None],
        feed: Feed,
    ) -> None:
        """Read certificates and keys. Raises V2GError for unusable ones."""
        self._station = _open("station_ca", config.station_ca, Role.STATION)
        self._v2g = _open("v2g_ca", config.v2g_ca, Role.SECC)
        self._roots = tuple(
            der for path in (*config.ocpp.client_roots, *config.trust.roots) for der in load_chain(path)
        )
        self._store = store
        self._clock = clock
        self._connections = connections
        self._observe = observe
        self._feed = feed
        self._under_way: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.enrolments: Final = Enrolments(config.outside_cas, store, clock, self.deliver, observe, feed)

    async def renew(self, station_id: str, kind: ocpp.CertificateSigningUse | None) -> str:
        """Have a station request a new certificate (A02); None: a combined one.

        Return its answer (TriggerMessageStatusEnumType). Raises V2GError as `ConnectionRegistry.call` does.
        """
        trigger = TriggerMessageRequest(requested_message=_TRIGGERS[kind])  # type: ignore[arg-type]
        return (await self._connections.expect(station_id, trigger, TriggerMessageResponse)).status

    async def renew_expired(self, station_id: str) -> None:
        """Have a station that was admitted with an expired certificate request a new one (A00.FR.429, A02)."""
        try:
            status = await self.renew(station_id, "ChargingStationCertificate")
        except V2GError as error:
            status = str(error)[:200]
        self._report("certificate_due", station_id, kind="ChargingStationCertificate", status=status)

    async def keep_renewed(self, interval_s: float = 86_400.0) -> None:
        """Check for certificates that expire soon, once a day, for ever."""
        while True:
            await self.renew_due()
            await asyncio.sleep(interval_s)

    async def renew_due(self) -> int:
        """Have connected stations renew certificates that expire soon; return how many.

        Stations also do so themselves (A03); this is for those that do not.
        """
        reported = 0
        for station_id, kind in await self._store.read(security.due, self._clock.utc_ms() + _SOON_MS):
            if station_id not in self._connections.connected_here():
                continue
            try:
                status = await self.renew(station_id, None if kind == COMBINED else kind)  # type: ignore[arg-type]
            except V2GError as error:
                status = str(error)[:200]
            self._report("certificate_due", station_id, kind=kind, status=status)
            reported += 1
        return reported

    async def answer(self, station_id: str, request: ocpp.SignCertificateRequest) -> ocpp.SignCertificateResponse:
        """Return whether a request can be signed; if so the certificate is sent afterwards (A02.FR.11, A02.FR.12).

        Raises StoreError when a request for an outside CA cannot be noted.
        """
        kind = request.certificate_type
        vehicles_only, wanted = kind not in (None, "ChargingStationCertificate"), request.hash_root_certificate
        try:
            if roots := self.enrolments.roots(station_id, kind):
                if wanted is not None and not is_root_of(wanted, roots):
                    raise RefusedError("no authority under that root", reason="UnknownRoot")
                generation = generation_of(load_csr(request.csr.encode()))
                read_request(request.csr, station_id, role_of(kind or ""), generation, vehicles_only=vehicles_only)
                await self.enrolments.ask(station_id, kind, request.csr, request.request_id)
                return ocpp.SignCertificateResponse(status="Accepted")
            # the authority: for the CSMS, or for vehicles; for both the latter if there is one
            # (A02.FR.13)
            authority = self._station if kind == "ChargingStationCertificate" else self._v2g
            if authority is None and kind is None:
                authority = self._station
            if authority is None:
                raise RefusedError("no such authority is configured", reason="NotConfigured")
            if wanted is not None and not is_root_of(wanted, (*self._roots, *authority.chain)):
                raise RefusedError("no authority under that root", reason="UnknownRoot")
            asked = read_request(
                request.csr, station_id, authority.role, authority.generation, vehicles_only=vehicles_only
            )
            if (station_id, kind or "") in self._under_way:
                raise RefusedError("a certificate is already being signed", reason="UnderWay")
        except (CertificateError, RefusedError) as error:
            self._report(
                "certificate_refused", station_id, kind=kind or "", reason=error.reason, detail=str(error)[:200]
            )
            detail = "; ".join(filter(None, (str(error), error.hint)))
            info = StatusInfo(reason_code=error.reason[:20], additional_info=detail[:500])
            return ocpp.SignCertificateResponse(status="Rejected", status_info=info)
        serial = int.from_bytes(os.urandom(16), "big") | 1 << 120  # positive, and of constant length
        at = self._clock.now()

        async def work() -> None:
            certificate = await asyncio.to_thread(sign, asked, authority, serial, at)
            # deliver what a station has asked for; the outcome is reported
            signed = ocpp.CertificateSignedRequest(
                certificate_chain=delivered(certificate, authority),
                certificate_type=request.certificate_type,  # A02.FR.14
                request_id=request.request_id,
            )
            with contextlib.suppress(V2GError):
                await self.deliver(station_id, signed)

        task = spawn(work())
        self._under_way[station_id, kind or ""] = task
        task.add_done_callback(lambda _: self._under_way.pop((station_id, kind or ""), None))
        return ocpp.SignCertificateResponse(status="Accepted")

    def close(self) -> None:
        """Stop delivering."""
        for task in list(self._under_way.values()):
            task.cancel()

    async def deliver(
        self, station_id: str, signed: ocpp.CertificateSignedRequest, timeout_s: float | None = None
    ) -> ocpp.CertificateSignedResponse:
        """Store a certificate, deliver it to its station, and store the answer.

        Raises RefusedError (`certificate`) for a text without certificate, or one of another station, and V2GError as
        `ConnectionRegistry.call` does.
        """
        try:
            certificate = load_certificate(chain_from_pem(signed.certificate_chain.encode())[0])
        except (CertificateError, ValueError, IndexError) as error:
            raise RefusedError(f"no PEM certificate: {error}", reason="certificate") from None
        kind, serial = signed.certificate_type, f"{certificate.serial_number:x}"
        columns = {
            "station_id": station_id,
            "kind": kind or COMBINED,
            "subject": certificate.subject.rfc4514_string()[:255],
            "issued_ms": self._clock.utc_ms(),
            "until_ms": int(certificate.not_valid_after_utc.timestamp() * 1000),
            "status": "Issued",
            "pem": certificate.public_bytes(Encoding.PEM).decode(),
        }
        if not await self._store.run(security.add_certificate, serial, **columns):
            raise RefusedError("that is the certificate of another station", reason="certificate")
        detail, status = "", "Failed"
        try:
            answer = await self._connections.expect(
                station_id, signed, ocpp.CertificateSignedResponse, timeout_s=timeout_s
            )
            status = answer.status
        except V2GError as error:
            detail = str(error)[:200]
            raise
        finally:
            await self._store.run(security.set_certificate_status, serial, status)
            report = {"kind": kind or "", "serial": serial, "status": status, "detail": detail}
            self._report("certificate_delivered", station_id, **report)
        return answer

    def _report(self, name: str, station_id: str, **data: Scalar) -> None:
        self._observe(Observe("ocpp", name, {"station": station_id, **data}))
        self._feed.publish(name, station_id, data)


def _open(section: str, config: StationAuthority | None, role: Role) -> Authority | None:
    if config is None:
        return None
    credentials = load_credentials(config.chain, config.key)
    certificate = load_certificate(credentials.leaf)
    names = [str(each.value) for each in certificate.subject if each.oid.dotted_string == ORGANIZATION]
    organization = config.organization or (names[0] if names else "")
    if not organization:
        raise ConfigError(f"[{section}]: organization is empty", hint="the CA's certificate has none either")
    if role is Role.SECC and not (config.ocsp_url or config.crl_url):
        raise ConfigError(f"[{section}]: ocsp_url and crl_url are missing", hint="vehicles need one of them")
    return Authority(
        chain=credentials.chain,
        issuer=Issuer(certificate, credentials.private_key),
        organization=organization,
        role=role,
        days=config.days,
        ocsp_url=config.ocsp_url,
        crl_url=config.crl_url,
    )
