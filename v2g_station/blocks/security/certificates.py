"""Contracts for vehicles, fetched from the CSMS, and OCSP answers that it has signed: requested and cached (M06)."""

import base64
import binascii
from math import inf
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages import certificates as ocpp
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.routes import Version
from v2g.pki.ocsp import ocsp_request_data
from v2g.units import DAY_MS
from v2g_station.blocks.security.certificate_store import UNREADABLE, CertificateStore, is_issued_by
from v2g_station.kernel.kernel import Answer, Kernel, StationCommand

FRESH_MS: Final = DAY_MS // 2
"""After this time the next daily look requests an answer anew: M06.FR.10 demands once a week, but a vehicle takes an
answer for as long as its responder says, a week at most (V2G20-1021)."""


class KeepStatus(StationCommand, frozen=True, kw_only=True):
    """Staple this OCSP response, DER in base64, for the certificate with this serial number (hexadecimal)."""

    serial_number: str
    ocsp: str


class _Cached(msgspec.Struct, frozen=True, kw_only=True):
    utc_ms: int
    ocsp: str


class CertificateStatuses:
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
            try:
                data = ocsp_request_data(certificate, issuer)
            except UNREADABLE:  # then it names no responder
                continue
            if data.responder_url:
                found.append(OCSPRequestData(**msgspec.structs.asdict(data)))
        return found

    def ask(self, data: OCSPRequestData) -> None:
        """Request the status of a certificate; `KeepStatus` follows a response."""

        def answered(answer: Answer) -> None:
            if not isinstance(answer, ocpp.GetCertificateStatusResponse) or answer.status != "Accepted":
                return
            if answer.ocsp_result is not None:
                self._cached[data.serial_number] = cached = _Cached(utc_ms=self._k.utc_ms, ocsp=answer.ocsp_result)
                self._k.keep("certificate_status", data.serial_number, cached)
                self._k.do(KeepStatus(serial_number=data.serial_number, ocsp=answer.ocsp_result))

        self._k.call(ocpp.GetCertificateStatusRequest(ocsp_request_data=data), answered)


ContractStatus = Literal["answered", "failed", "unreachable"]


class ContractRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's CertificateInstallationReq (EXI, as received) of the namespace `schema`, or in -2 for an `update` its
    CertificateUpdateReq.

    `maximum` and `emaids` repeat its content in -20. After `within_s` the vehicle has its answer, whatever it is.
    """

    schema: str
    exi: bytes
    update: bool = False
    maximum: int | None = None
    emaids: tuple[str, ...] = ()
    within_s: float = inf

    def message(self, version: Version) -> ocpp.Get15118EVCertificateRequest:
        """Return the OCPP request (M01.FR.01, .03; M02 for an `update`). 2.0.1 lacks `maximum` and `emaids`."""
        new = version != "2.0.1"
        return ocpp.Get15118EVCertificateRequest(
            iso15118_schema_version=self.schema,
            action="Update" if self.update else "Install",
            exi_request=base64.b64encode(self.exi).decode(),
            maximum_contract_certificate_chains=self.maximum if new else None,
            prioritized_emaids=self.emaids if new else (),
        )


class ContractAnswer(msgspec.Struct, frozen=True):
    """The CSMS's answer for a vehicle: `exi` is the CertificateInstallationRes or CertificateUpdateRes, empty if
    missing; one that `failed` may still contain a refusal.

    `remaining` is the number of contracts still to come, None if not given (2.0.1).
    """

    status: ContractStatus
    exi: bytes = b""
    remaining: int | None = None


UNREACHABLE: Final = ContractAnswer(status="unreachable")


def contract_answer(response: ocpp.Get15118EVCertificateResponse) -> ContractAnswer:
    """Return the meaning of a response. A failed one may still contain a rejection for the vehicle."""
    failed = response.status != "Accepted"
    try:
        exi = base64.b64decode(response.exi_response, validate=True)
    except (binascii.Error, ValueError):
        exi = b""
    return ContractAnswer(
        status="failed" if failed or not exi else "answered", exi=exi, remaining=response.remaining_contracts
    )
