"""Contracts for vehicles, fetched from the CSMS (functional block M)."""

import base64
import binascii
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.certificates import Get15118EVCertificateRequest, Get15118EVCertificateResponse
from v2g.ocpp.routes import Version

ContractStatus = Literal["answered", "failed", "unreachable"]


class ContractRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's CertificateInstallationReq (EXI, as received) of the namespace `schema`, or in -2 for an `update` its
    CertificateUpdateReq.

    `maximum` and `emaids` repeat its content in -20.
    """

    schema: str
    exi: bytes
    update: bool = False
    maximum: int | None = None
    emaids: tuple[str, ...] = ()

    def message(self, version: Version) -> Get15118EVCertificateRequest:
        """Return the OCPP request (M01.FR.01, .03; M02 for an `update`). 2.0.1 lacks `maximum` and `emaids`."""
        new = version != "2.0.1"
        return Get15118EVCertificateRequest(
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


def contract_answer(response: Get15118EVCertificateResponse) -> ContractAnswer:
    """Return the meaning of a response. A failed one may still contain a rejection for the vehicle."""
    failed = response.status != "Accepted"
    try:
        exi = base64.b64decode(response.exi_response, validate=True)
    except (binascii.Error, ValueError):
        exi = b""
    return ContractAnswer(
        status="failed" if failed or not exi else "answered", exi=exi, remaining=response.remaining_contracts
    )
