"""The certificate provisioning service: answers a CertificateInstallationReq with the response for the vehicle.

Pure: the caller looks up contracts by PCID, checks revocation, and provides time and entropy. For a few
minutes the service stores which contracts a session still has to receive, but no keys.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed448

from v2g import exi
from v2g.errors import CertificateError, CodecError, EnvelopeError, RevocationError, SignatureError
from v2g.iso15118.d20 import installation
from v2g.iso15118.d20.envelope import Entropy
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.messages.certificates import SignedInstallationData
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Answer, Contract, Service, pcid_of
from v2g.pki.certificates import common_name, contract_of, key_kind, load_certificate
from v2g.pki.keys import PublicKey
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import generation_of
from v2g.pki.verify import VerifiedChain, verify_chain

PATIENCE_MS: Final = 300_000
"""Time-out of a session with several contracts for its next request."""

MOST_SESSIONS: Final = 4096
"""Limit of stored sessions; beyond it the oldest starts over."""

MOST_BYTES: Final = 17_000 // 4 * 3
"""Limit of a response in OCPP 2.1, bytes before base64."""

BY_REASON: Final[Mapping[str, ResponseCode]] = {
    "expired": ResponseCode.WARNING_CertificateExpired,  # V2G20-2203
    "not_yet_valid": ResponseCode.WARNING_CertificateNotYetValid,  # V2G20-2204
}
"""CertificateError.reason of a provisioning chain -> response code; any other is a validation error."""


class Asked(msgspec.Struct, frozen=True):
    """A request with valid signature and chain. Revocation of `chain` is still open."""

    request: CertificateInstallationReq
    chain: VerifiedChain
    pcid: str


class _Delivery(msgspec.Struct, frozen=True):
    """The remaining EMAIDs of a session, and its expiry."""

    waiting: tuple[str, ...]
    until_ms: int


class ProvisioningService:
    """One service. `oem_roots` are those of vehicles, `mo_roots` those of contracts (V2G roots are both), all DER.

    `crosses` are local cross certificates, over which chains may lead to them.
    """

    def __init__(
        self,
        service: Service,
        *,
        oem_roots: Sequence[bytes],
        mo_roots: Sequence[bytes],
        interop: bool = False,
        rules: EnvelopeRules = RULES,
        crosses: Sequence[bytes] = (),
    ) -> None:
        self._service = service
        self._oem_roots, self._mo_roots = tuple(oem_roots), tuple(mo_roots)
        self._interop, self._rules, self._crosses = interop, rules, tuple(crosses)
        self._deliveries: dict[tuple[bytes, str], _Delivery] = {}

    def read(self, exi_request: bytes, utc_ms: int) -> Asked | Answer:
        """Return the request if its signature and chain are valid, else the rejection.

        Raises CodecError for bytes that are not a CertificateInstallationReq, which cannot be answered.
        """
        request = exi.decode(exi_request, COMMON_MESSAGES)
        if not isinstance(request, CertificateInstallationReq):
            raise CodecError(f"{type(request).__name__} is not a CertificateInstallationReq")
        try:
            installation.check_request_signature(request, interop=self._interop)
            chain = installation.verify_provisioning_chain(
                request.oem_provisioning_certificate_chain,
                self._oem_roots,
                at=_at(utc_ms),
                interop=self._interop,
                crosses=self._crosses,
            )
        except SignatureError as error:
            return self._refuse(request, ResponseCode.FAILED_SignatureError, utc_ms, str(error))  # V2G20-461
        except CertificateError as error:
            code = BY_REASON.get(error.reason, ResponseCode.WARNING_CertificateValidationError)
            return self._refuse(request, code, utc_ms, f"{error.reason}: {error}")
        return Asked(request, chain, pcid_of(chain.leaf))

    def revoked(self, asked: Asked, error: RevocationError, utc_ms: int) -> Answer:
        """Return the rejection of a vehicle whose provisioning chain is revoked, or has an unknown status."""
        bad = error.reason == "revoked"
        code = ResponseCode.WARNING_CertificateRevoked if bad else ResponseCode.WARNING_CertificateValidationError
        return self._refuse(asked.request, code, utc_ms, str(error), asked.pcid)

    def answer(
        self,
        asked: Asked,
        contracts: Sequence[Contract],
        utc_ms: int,
        entropy: Entropy,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> Answer:
        """Return the response with the next of `contracts`, all those of the vehicle's PCID.

        The vehicle's preferences apply when a session begins: its preferred EMAIDs first, no more than it has room for.
        One that cannot be delivered, as in a response of more than `most_bytes`, the limit of the transport, does not
        keep the others back; without another one the response is a rejection.
        """
        request = asked.request
        if not contracts:
            code = ResponseCode.WARNING_NoContractMatchingPCIDFound
            return self._refuse(request, code, utc_ms, "the pool has no contract for this PCID", asked.pcid)
        usable, why = self._usable(asked, contracts, _at(utc_ms), entropy)
        waiting = self._waiting(asked, usable, utc_ms)
        if not waiting:
            unknown = why.startswith(("unknown_root", "wrong_root"))
            code = ResponseCode.WARNING_eMSPUnknown if unknown else ResponseCode.WARNING_NoCertificateAvailable
            return self._refuse(request, code, utc_ms, why or "the vehicle has no room", asked.pcid)
        for place, emaid in enumerate(waiting, 1):
            others, data = waiting[place:], usable[emaid]
            response = installation.make_response(_header(request, utc_ms), self._service, data, remaining=len(others))
            encoded = exi.encode(response)
            if len(encoded) <= most_bytes:
                self._deliveries.pop(_session(asked), None)
                if others:
                    while len(self._deliveries) >= MOST_SESSIONS:
                        del self._deliveries[next(iter(self._deliveries))]
                    self._deliveries[_session(asked)] = _Delivery(others, utc_ms + PATIENCE_MS)
                code = response.response_code
                return Answer(code=code, exi=encoded, remaining=len(others), pcid=asked.pcid, emaid=emaid)
            why = f"{emaid}: {len(encoded)} bytes, at most {most_bytes} fit"
        return self._refuse(request, ResponseCode.WARNING_NoCertificateAvailable, utc_ms, why, asked.pcid)

    def _usable(
        self, asked: Asked, contracts: Sequence[Contract], at: datetime, entropy: Entropy
    ) -> tuple[dict[str, SignedInstallationData], str]:
        """Return by EMAID the newest contracts that this vehicle can use, sealed for it, and the problem of another
        one: rather of the newest on its curve."""
        recipient = cast(PublicKey, asked.chain.leaf.public_key())  # the profile allows no other kind
        edwards = isinstance(recipient, ed448.Ed448PublicKey)
        found: dict[str, SignedInstallationData] = {}
        why = other = ""
        for contract in sorted(contracts, key=lambda each: load_certificate(each.chain[0]).not_valid_after_utc):
            leaf, *subs = contract.chain
            certificate, kind = load_certificate(leaf), key_kind(contract.key.public_key())
            if (kind is KeyKind.ED448) is not edwards or generation_of(kind) is not Generation.ISO15118_20:
                other = f"wrong_curve: the vehicle's key is on another curve than that of {common_name(certificate)}"
                continue
            try:
                verified = verify_chain(
                    leaf, subs, self._mo_roots, role=Role.CONTRACT, at=at, interop=self._interop, crosses=self._crosses
                )
                found[verified.emaid] = installation.installation_data(
                    contract, recipient, asked.pcid, entropy, rules=self._rules
                )
            except CertificateError as error:
                why = f"{error.reason}: {error}"
            except EnvelopeError as error:
                why = f"{error.reason}: {common_name(certificate)}: {error}"
        return found, why or other

    def _waiting(self, asked: Asked, usable: Mapping[str, object], utc_ms: int) -> tuple[str, ...]:
        """Return the remaining EMAIDs of the session, the next one first."""
        room = asked.request.maximum_contract_certificate_chains
        delivery = self._deliveries.get(_session(asked))
        if delivery is not None and utc_ms <= delivery.until_ms:
            waiting = tuple(emaid for emaid in delivery.waiting if emaid in usable)
            if waiting:
                return waiting[:room]
        wished = asked.request.prioritized_emaids.emaid if asked.request.prioritized_emaids else ()
        order = [contract_of(emaid) for emaid in wished] + sorted(map(contract_of, usable))
        ranked = sorted(usable, key=lambda emaid: order.index(contract_of(emaid)))
        return tuple(ranked[:room])

    def _refuse(
        self, request: CertificateInstallationReq, code: ResponseCode, utc_ms: int, reason: str, pcid: str = ""
    ) -> Answer:
        response: CertificateInstallationRes = installation.refusal(_header(request, utc_ms), code)
        return Answer(code=code, exi=exi.encode(response), pcid=pcid, reason=reason)


def _header(request: CertificateInstallationReq, utc_ms: int) -> MessageHeader:
    """Return a header of the vehicle's own session: charger and vehicle accept no other."""
    return MessageHeader(session_id=request.header.session_id, time_stamp=utc_ms // 1000)


def _session(asked: Asked) -> tuple[bytes, str]:
    return asked.request.header.session_id, asked.pcid


def _at(utc_ms: int) -> datetime:
    return datetime.fromtimestamp(utc_ms / 1000, UTC)
