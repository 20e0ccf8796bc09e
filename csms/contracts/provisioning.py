"""Answers vehicles' contract requests (OCPP M01) with pool, revocation and provisioning service."""

import asyncio
import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from csms.config import Provisioning, Trust
from csms.contracts.pool import open_pool
from csms.contracts.rules import LONGEST
from csms.contracts.verifier import ContractVerifier
from csms.trust.certificate_status import load_roots
from v2g.errors import CodecError, RevocationError
from v2g.io.keys.stores import load_credentials
from v2g.io.runtime.clock import Clock
from v2g.iso15118.d2 import provisioning as d2
from v2g.iso15118.d20.envelope import Entropy
from v2g.iso15118.d20.installation import SCHEMA_VERSION
from v2g.iso15118.d20.provisioning import ProvisioningService
from v2g.iso15118.engine.contracts import Answer, Contract, Service
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.certificates import Get15118EVCertificateRequest, Get15118EVCertificateResponse
from v2g.ocpp.routes import Version
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.profile import Generation
from v2g.pki.profiles import generation_of
from v2g.pki.verify import VerifiedChain

_SCHEMAS: Final = SCHEMA_VERSION.rpartition(":")[0] + ":"
"""Stations send any of the schemas of -20; the messages are all in one of them."""


class _Asked(Protocol):
    """A verified request of either edition; `pcid` is empty for the update of a contract."""

    @property
    def chain(self) -> VerifiedChain: ...

    @property
    def pcid(self) -> str: ...


_A = TypeVar("_A", bound=_Asked)


class _Edition(Protocol[_A]):
    """The service for the vehicles of one edition."""

    def read(self, exi_request: bytes, utc_ms: int, /) -> _A | Answer: ...

    def revoked(self, asked: _A, error: RevocationError, utc_ms: int, /) -> Answer: ...

    def answer(
        self, asked: _A, contracts: Sequence[Contract], utc_ms: int, entropy: Entropy, /, *, most_bytes: int
    ) -> Answer: ...


class Provisioner:
    """One instance for the whole program."""

    def __init__(
        self,
        config: Provisioning,
        trust: Trust,
        judge: ContractVerifier,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        """Read certificates and open the pool. Raises V2GError for unusable ones."""
        credentials = load_credentials(config.chain, config.key)
        self.pool: Final = open_pool(config.pool)
        oem_roots = load_roots("provisioning.oem_roots", config.oem_roots)
        mo_roots = load_roots("trust.roots", trust.roots)
        interop, crosses = trust.profile == "interop", _certificates(trust.cross_certificates)
        self._d20 = ProvisioningService(
            Service(credentials.chain, credentials.key),
            oem_roots=oem_roots,
            mo_roots=mo_roots,
            interop=interop,
            rules=config.envelope,
            crosses=crosses,
        )
        own = config.iso15118_2
        if own is not None:
            credentials = load_credentials(own.chain, own.key)
        self._d2: d2.ProvisioningService | None = None
        if own is not None or generation_of(key_kind(load_certificate(credentials.leaf))) is Generation.ISO15118_2:
            self._d2 = d2.ProvisioningService(
                Service(credentials.chain, credentials.key),
                oem_roots=oem_roots,
                mo_roots=mo_roots,
                oem_sub_cas=_certificates(config.oem_sub_cas),
                interop=interop,
                crosses=crosses,
            )
        self._judge, self._clock, self._observe = judge, clock, observe

    async def answer(self, request: Get15118EVCertificateRequest, version: Version) -> Get15118EVCertificateResponse:
        """Return the response (M01.FR.04, .07): with a contract, with a rejection for the vehicle, or failed."""
        schema, most_bytes = request.iso15118_schema_version, LONGEST[version] // 4 * 3
        try:
            exi = base64.b64decode(request.exi_request, validate=True)
            if schema.startswith(_SCHEMAS):
                answer = await self._provision(self._d20, exi, most_bytes)
            elif schema != d2.SCHEMA_VERSION:
                return _failed("SchemaVersion", f"{schema} is not supported, only ISO 15118-20 and ISO 15118-2")
            elif self._d2 is None:
                return _failed("NotConfigured", "provisioning.chain is not of ISO 15118-2: set provisioning.iso15118_2")
            else:
                answer = await self._provision(self._d2, exi, most_bytes)
        except (CodecError, ValueError) as error:  # not base64, or not even ASCII
            return _failed("InvalidExi", str(error))
        good = answer.code.name.startswith("OK")
        return Get15118EVCertificateResponse(
            status="Accepted" if good else "Failed",
            exi_response=base64.b64encode(answer.exi).decode(),
            remaining_contracts=answer.remaining if good and version != "2.0.1" else None,
            status_info=None if good else _info("Refused", f"{answer.code.name}: {answer.reason}"),
        )

    async def _provision(self, service: _Edition[_A], exi_request: bytes, most_bytes: int) -> Answer:
        """Return the answer to a request. Raises CodecError."""
        utc_ms = self._clock.utc_ms()
        asked = service.read(exi_request, utc_ms)
        if isinstance(asked, Answer):
            return self._report(asked)
        owner = asked.pcid or asked.chain.emaid
        try:
            await self._judge.check_revocation(asked.chain, owner)
        except RevocationError as error:
            return self._report(service.revoked(asked, error, utc_ms))
        if asked.pcid:
            contracts, problems = await asyncio.to_thread(self.pool.find, asked.pcid)
        else:
            contracts, problems = await asyncio.to_thread(self.pool.find_successors, owner, asked.chain.der[0])
        for problem in problems:
            self._observe(Observe("provisioning", "pool_problem", {"pcid": asked.pcid, "error": problem}))
        return self._report(service.answer(asked, contracts, utc_ms, os.urandom, most_bytes=most_bytes))

    def _report(self, answer: Answer) -> Answer:
        data: dict[str, Scalar] = {
            "pcid": answer.pcid,
            "emaid": answer.emaid,
            "code": answer.code.name,
            "remaining": answer.remaining,
            "reason": answer.reason[:300],
        }
        self._observe(Observe("provisioning", "answered", data))
        return answer


def _certificates(files: Sequence[Path]) -> tuple[bytes, ...]:
    return tuple(der for file in files for der in load_chain(file))


def _failed(reason: str, detail: str) -> Get15118EVCertificateResponse:
    return Get15118EVCertificateResponse(status="Failed", exi_response="", status_info=_info(reason, detail))


def _info(reason: str, detail: str) -> StatusInfo:
    return StatusInfo(reason_code=reason, additional_info=detail[:500])
