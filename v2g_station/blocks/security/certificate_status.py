"""OCSP answers about the V2G chain that the CSMS has signed: requested and cached (M06).

For a chain of the configuration the charger has them from there.
"""

from typing import Final

import msgspec

from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.messages.certificates import GetCertificateStatusRequest, GetCertificateStatusResponse
from v2g.pki.ocsp import ocsp_request_data
from v2g_station.blocks.security.certificate_store import CertificateStore, is_issued_by
from v2g_station.kernel.kernel import Answer, Command, Kernel

DAY_MS: Final = 86_400_000
FRESH_MS: Final = 6 * DAY_MS
"""After this time an answer is requested anew (M06.FR.10: at least once a week)."""


class CertificateState(Command, frozen=True, kw_only=True):
    """The OCSP response for a certificate, DER in base64, None without one."""

    serial_number: str
    ocsp: str | None


class _Cached(msgspec.Struct, frozen=True, kw_only=True):
    utc_ms: int
    ocsp: str


class CertificateStatus:
    """Keeps the answers fresh while the station is connected."""

    def __init__(self, kernel: Kernel, store: CertificateStore) -> None:
        self._k = kernel
        self._store = store
        self._cached = kernel.stored("certificate_status", _Cached)

    def refresh(self) -> None:
        """Request what is missing or old: after each registration, with a new chain, and every day (M06.FR.06, .07)."""
        wanted = {each.serial_number: each for each in self._wanted()}
        for serial in self._cached.keys() - wanted.keys():
            del self._cached[serial]
            self._k.forget("certificate_status", serial)
        for serial, data in wanted.items():
            cached = self._cached.get(serial)
            if cached is None or not 0 <= self._k.utc_ms - cached.utc_ms < FRESH_MS:
                self.ask(data)
        if wanted:
            self._k.at_utc("certificate_status", self._k.utc_ms + DAY_MS, self.refresh)

    def _wanted(self) -> list[OCSPRequestData]:
        """Return what to ask about: certificates of the chain that name a responder, with a known issuer."""
        chain = self._store.of("V2GCertificateChain")
        issuers = [*chain, *self._store.of("V2GRootCertificate")]
        found = []
        for certificate in chain:
            issuer = next((each for each in issuers if is_issued_by(certificate, each)), None)
            if issuer is None or issuer == certificate:
                continue
            data = ocsp_request_data(certificate, issuer)
            if data.responder_url:
                found.append(OCSPRequestData(**msgspec.structs.asdict(data)))
        return found

    def ask(self, data: OCSPRequestData) -> None:
        """Request the status of a certificate; `CertificateState` follows."""

        def answered(answer: Answer) -> None:
            good = isinstance(answer, GetCertificateStatusResponse) and answer.status == "Accepted"
            result = answer.ocsp_result if good and isinstance(answer, GetCertificateStatusResponse) else None
            if result is not None:
                self._cached[data.serial_number] = cached = _Cached(utc_ms=self._k.utc_ms, ocsp=result)
                self._k.keep("certificate_status", data.serial_number, cached)
            self._k.do(CertificateState(serial_number=data.serial_number, ocsp=result))

        self._k.call(GetCertificateStatusRequest(ocsp_request_data=data), answered)
