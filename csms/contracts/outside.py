"""Contracts from pools outside (OPCP, OPNC), asked while a vehicle waits; what they answer is verified, up to the
revocation of contract and service (R217)."""

import asyncio
import base64
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final

from csms.config import OutsidePool, Trust
from csms.contracts.rules import LONGEST
from csms.contracts.verifier import ContractVerifier
from csms.trust.certificate_status import load_anchors
from v2g.errors import CertificateError, CodecError, RefusedError, TrustError, V2GError, with_reason
from v2g.io.http.pools import PoolClient
from v2g.io.runtime.clock import Clock
from v2g.iso15118.foreign_contracts import (
    ContractTrust,
    ForeignRequest,
    addressed,
    check_contract,
    no_contract,
    read_contract_request,
)
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.certificates import Get15118EVCertificateRequest, Get15118EVCertificateResponse
from v2g.ocpp.routes import Version
from v2g.pki.pools import PoolContract

PATIENCE_S: Final = 3.0
"""For all pools together: a vehicle of ISO 15118-2 waits 4.5 s for the whole way."""
_MOST_SESSIONS: Final = 4096
_NONE: Final = "no contract"
"""What a pool answers that has none."""


class OutsidePools:
    """All pools outside; one instance for the whole program."""

    def __init__(
        self,
        config: tuple[OutsidePool, ...],
        trust: Trust,
        judge: ContractVerifier,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._pools = [(each, PoolClient(each.server, clock)) for each in config]
        anchors = load_anchors(trust)
        self._trust = ContractTrust(roots=anchors.roots, crosses=anchors.crosses, interop=anchors.interop)
        self._judge, self._clock, self._observe = judge, clock, observe
        self._delivered: dict[tuple[bytes, str], tuple[str, ...]] = {}

    async def answer(
        self, request: Get15118EVCertificateRequest, version: Version, *, before_own: bool
    ) -> tuple[Get15118EVCertificateResponse | None, bool]:
        """Return a contract for a vehicle; None: none of these pools has one that it could install. And whether each
        that was asked has answered so."""
        try:
            exi, asked = _read(request)
        except (CodecError, CertificateError, ValueError):
            return None, True  # the own service says what is wrong, `refuse` else; an update has no way to a pool
        pools = [
            (config, client)
            for config, client in self._pools
            if config.before_own == before_own
            and asked.generation.value in config.editions
            and (not config.vehicles or any(fnmatchcase(asked.pcid, each) for each in config.vehicles))
        ]
        end, sure = self._clock.monotonic() + PATIENCE_S, True
        for config, client in pools:
            if (left_s := end - self._clock.monotonic()) <= 0:
                problem = f"not asked: {PATIENCE_S:g} s are over"
            else:
                try:
                    async with asyncio.timeout(left_s):  # with the token, and the status of certificates
                        usable = await self._usable(await client.contracts(exi, asked.namespace), asked)
                    if usable:
                        emaid, response = self._chosen(usable, asked, version)
                        self._report(config, asked, emaid=emaid)
                        return response, True
                    problem = _NONE
                except TimeoutError:
                    problem = f"no answer in {left_s:.1f} s"
                except V2GError as error:
                    problem = with_reason(error)
            self._report(config, asked, problem=problem)
            sure = sure and problem == _NONE
        return None, sure

    def refuse(self, request: Get15118EVCertificateRequest, *, sure: bool) -> Get15118EVCertificateResponse:
        """Return the answer when no pool has a contract that the vehicle could install, and there is no own one; not
        `sure`: it may ask again later."""
        why = "no pool outside has a contract for this vehicle"
        info = StatusInfo(
            reason_code="NoContract", additional_info=why if sure else f"{why} at present: see pool_asked"
        )
        try:
            _, asked = _read(request)
            response = base64.b64encode(no_contract(asked, self._clock.utc_ms(), sure=sure)).decode()
        except (CodecError, CertificateError, ValueError) as error:
            response, info = "", StatusInfo(reason_code="InvalidExi", additional_info=str(error)[:500])
        return Get15118EVCertificateResponse(status="Failed", exi_response=response, status_info=info)

    async def _usable(self, found: tuple[PoolContract, ...], asked: ForeignRequest) -> dict[str, PoolContract]:
        """Return by EMAID what the vehicle could install, of services and contracts that are not revoked.

        Raises the last problem if there is nothing else.
        """
        problem: V2GError | None = None
        usable: dict[str, PoolContract] = {}
        for each in found:
            try:
                chains = await asyncio.to_thread(check_contract, each.response, asked, self._trust, self._clock.now())
                emaid = chains[0].emaid
                if each.emaid and each.emaid.replace("-", "").upper()[:14] != emaid[:14]:
                    raise RefusedError(f"the pool says {each.emaid[:20]}, the contract {emaid}", reason="wrong_subject")
                await asyncio.gather(*(self._judge.check_revocation(chain, emaid) for chain in chains))
            except (CodecError, TrustError, RefusedError) as error:
                problem = error
            else:
                usable.setdefault(emaid, each)
        if problem is not None and not usable:
            raise problem
        return usable

    def _chosen(
        self, usable: dict[str, PoolContract], asked: ForeignRequest, version: Version
    ) -> tuple[str, Get15118EVCertificateResponse]:
        """Return the EMAID and response with the next contract of a session: the vehicle's preferred ones first, no
        more than it has room for. Raises RefusedError (`too_long`)."""
        order = sorted(usable, key=lambda emaid: asked.emaids.index(emaid) if emaid in asked.emaids else len(usable))
        order = order[: max(asked.maximum, 1)]
        session = (asked.session_id, asked.pcid)
        given = self._delivered.pop(session, ())
        waiting = [emaid for emaid in order if emaid not in given] or order
        emaid, *others = waiting
        response = addressed(usable[emaid].response, asked, self._clock.utc_ms(), len(others))
        text = base64.b64encode(response).decode()
        if len(text) > LONGEST[version]:
            raise RefusedError(f"the contract of {len(text)} characters does not fit OCPP {version}", reason="too_long")
        if others:
            while len(self._delivered) >= _MOST_SESSIONS:
                del self._delivered[next(iter(self._delivered))]
            self._delivered[session] = (*(given if waiting != order else ()), emaid)
        remaining = len(others) if version != "2.0.1" else None
        return emaid, Get15118EVCertificateResponse(status="Accepted", exi_response=text, remaining_contracts=remaining)

    def _report(self, config: OutsidePool, asked: ForeignRequest, *, emaid: str = "", problem: str = "") -> None:
        pool, why = config.server.url, problem[:200]
        data: dict[str, Scalar] = {"pool": pool, "pcid": asked.pcid, "emaid": emaid, "problem": why}
        self._observe(Observe("provisioning", "pool_asked", data))


def _read(request: Get15118EVCertificateRequest) -> tuple[bytes, ForeignRequest]:
    """Return a vehicle's request, and what it asks for. Raises CodecError, CertificateError, ValueError."""
    exi = base64.b64decode(request.exi_request, validate=True)
    return exi, read_contract_request(exi, request.iso15118_schema_version)
