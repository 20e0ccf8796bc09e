"""The station's own certificates and password: requested, signed, taken into use (A01 to A03)."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g.ocpp.messages import security as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.certificates import GetCertificateIdUse
from v2g.pki.certificates import is_due, key_kind
from v2g.pki.profile import Generation
from v2g.pki.profiles import generation_of
from v2g.units import DAY_MS
from v2g_station.blocks.security.certificate_store import CertificateStore, is_current, parse_chain
from v2g_station.kernel.kernel import Answer, Handler, Kernel, StationCommand, status_info


class MakeRequest(StationCommand, frozen=True, kw_only=True):
    """Generate a key that never leaves the station and a PKCS#10 request for it; `RequestMade` follows.

    Its subject is that of the chain in use, else `common_name`; what else is not empty is in its place.
    """

    use: ocpp.CertificateSigningUse
    common_name: str
    secc_id: str = ""
    organization: str = ""
    country: str = ""
    renews: str = ""
    """The chain that is due, PEM: where the files have another one, `ChainFound` follows instead."""


class ChainFound(Fact, frozen=True, kw_only=True):
    """The chain that has replaced the one in use, in its files, PEM."""

    use: ocpp.CertificateSigningUse
    chain: str


class RequestMade(Fact, frozen=True, kw_only=True):
    """A PKCS#10 request, PEM."""

    use: ocpp.CertificateSigningUse
    csr: str


class UseCertificate(StationCommand, frozen=True, kw_only=True):
    """Take a signed chain (PEM, leaf first) into use with the key generated for it."""

    use: ocpp.CertificateSigningUse
    chain: str


class CertificateTaken(Fact, frozen=True, kw_only=True):
    """`UseCertificate` is complete, as far as possible."""

    use: ocpp.CertificateSigningUse


_RENEWED: Final[tuple[ocpp.CertificateSigningUse, ...]] = ("ChargingStationCertificate", "V2GCertificate")

_REPLACED: Final = "replaced_certificate"
_REQUESTS: Final = "certificate_requests"

TAKE_S: Final = 10.0
"""How long to wait for the files of a new certificate before reconnecting."""


class Signing:
    """Handles certificate signing."""

    def __init__(self, kernel: Kernel, store: CertificateStore, security_event: Callable[[str, str], None]) -> None:
        self._k = kernel
        self._store = store
        self._waiting = cast("dict[ocpp.CertificateSigningUse, str]", dict(kernel.stored_text(_REQUESTS)))
        """Pending requests: use -> request, PEM. A CA may take days, and its key waits, too."""
        self._again = list(self._waiting)
        self._tries: dict[ocpp.CertificateSigningUse, int] = {}
        self._security_event = security_event
        self._replaced = kernel.stored_text(_REPLACED).get("chain", "")
        """The chain for the CSMS that was in use before one that has not connected yet, PEM."""
        self._taken = True
        self.on_chain: Final = Callbacks[[]]()
        """Called with a new V2G chain."""
        self.answers: dict[str, Handler] = {"CertificateSigned": self._signed}

    # -- requests

    def ask(self, use: ocpp.CertificateSigningUse, renews: str = "") -> None:
        """Request a new certificate (A02, A03); `renews`: unless the chain in use is not this one any more."""
        self._tries[use] = 0
        text, towards_csms = self._k.model.text, use == "ChargingStationCertificate"
        common = text("SecurityCtrlr.OrganizationName")
        self._k.do(
            MakeRequest(
                use=use,
                common_name=text("SecurityCtrlr.Identity"),
                secc_id="" if towards_csms else text("ISO15118Ctrlr.SeccId"),
                organization=common if towards_csms else text("ISO15118Ctrlr.OrganizationName") or common,
                country="" if towards_csms else text("ISO15118Ctrlr.CountryName"),
                renews=renews,
            )
        )

    def renew(self) -> None:
        """Request new certificates in the last month of the present ones, towards vehicles, too (A03.FR.02), of short
        ones in their last third: looked at once a day. After a restart repeat what is pending."""
        if self._k.planned("signing.renew"):
            return  # else one that is due as soon as it is signed would be renewed at each connection
        while self._again:
            self._send(self._again.pop())
        leaves = {use: leaf for use in _RENEWED for leaf in self._store.own(use)[:1]}
        if not leaves or not self._k.online:
            return  # the next registration looks again
        now = datetime.fromtimestamp(self._k.utc_ms / 1000, UTC)
        for use, leaf in leaves.items():
            if use not in self._waiting and is_due(leaf, now) and self.permitted(use):
                self.ask(use, self._store.own_text(use))
        self._k.at_utc("signing.renew", self._k.utc_ms + DAY_MS, self.renew)

    def asks_for(self, use: ocpp.CertificateSigningUse) -> bool:
        """Return whether the station has a certificate of this type, and may renew it."""
        leaves = self._store.own("V2GCertificate")[:1]
        return self.permitted(use) and use == (self._type_of(leaves[0].public_key()) if leaves else "V2GCertificate")

    def _type_of(self, key: CertificatePublicKeyTypes) -> ocpp.CertificateSigningUse:
        """Return the type of a certificate towards vehicles, by the edition that has such keys; 2.0.1 has one type."""
        old = self._k.version != "2.1" or generation_of(key_kind(key)) is Generation.ISO15118_2
        return "V2GCertificate" if old else "V2G20Certificate"

    def permitted(self, use: ocpp.CertificateSigningUse) -> bool:
        """Return whether the CSMS lets certificates of a kind be renewed."""
        towards_csms = use == "ChargingStationCertificate"
        return towards_csms or self._k.model.flag("ISO15118Ctrlr.V2GCertificateInstallationEnabled")

    def found(self, fact: ChainFound) -> None:
        """Follow the files; the next look judges the end of what is there."""
        self._keep(fact.use, fact.chain)

    def _keep(self, use: ocpp.CertificateSigningUse, chain: str) -> None:
        self._store.keep_own(use, chain)
        if use != "ChargingStationCertificate":
            self._store.keep_chain(chain)
            self.on_chain.tell()

    def request_made(self, fact: RequestMade) -> None:
        """Request the certificate of a generated key."""
        self._waiting[fact.use] = fact.csr
        self._k.keep_text(_REQUESTS, fact.use, fact.csr)
        self._send(fact.use)

    def _over(self, use: ocpp.CertificateSigningUse) -> None:
        """A request is not pending any more."""
        if self._waiting.pop(use, None) is not None:
            self._k.forget(_REQUESTS, use)
        self._k.cancel(f"signing.{use}")

    def _send(self, use: ocpp.CertificateSigningUse) -> None:
        csr = self._waiting.get(use)
        if csr is None:
            return

        def answered(answer: Answer) -> None:
            accepted = isinstance(answer, ocpp.SignCertificateResponse) and answer.status == "Accepted"
            if isinstance(answer, ocpp.SignCertificateResponse) and not accepted:
                self._over(use)
                self._k.note("certificate_refused", use=use)

        number = _id_of(csr) if self._k.version != "2.0.1" else None
        key = x509.load_pem_x509_csr(csr.encode()).public_key()
        kind = self._type_of(key) if use == "V2GCertificate" else use
        request = ocpp.SignCertificateRequest(csr=csr, certificate_type=kind, request_id=number)
        self._k.call(request, answered, always=True)
        tries = self._tries.get(use, 0)
        if tries < self._k.model.number("SecurityCtrlr.CertSigningRepeatTimes"):  # A02.FR.17 to .19
            wait = self._k.model.number("SecurityCtrlr.CertSigningWaitMinimum") * 2**tries
            self._tries[use] = tries + 1
            self._k.after(f"signing.{use}", wait, lambda: self._send(use))

    # -- responses

    def _signed(self, request: ocpp.CertificateSignedRequest) -> Message:
        """A02: reject a chain that does not fit the key, is not valid or not trusted."""
        use: ocpp.CertificateSigningUse = request.certificate_type or "ChargingStationCertificate"
        if use == "V2G20Certificate":
            use = "V2GCertificate"  # the station has one towards vehicles, of either edition
        csr = self._waiting.get(use)
        if request.request_id is not None and (csr is None or request.request_id != _id_of(csr)):
            why = "unknown requestId"  # A02.FR.26
        else:
            why = self._refuse(request.certificate_chain, use)
        if why:
            self._security_event("InvalidChargingStationCertificate", why)  # A02.FR.07
            return ocpp.CertificateSignedResponse(status="Rejected", status_info=status_info("InvalidCertificate", why))
        self._over(use)
        if use == "ChargingStationCertificate":
            self._keep_replaced(self._replaced or self._store.own_text(use))
            self._taken = False
        self._keep(use, request.certificate_chain)
        self._k.do(UseCertificate(use=use, chain=request.certificate_chain))
        if use == "ChargingStationCertificate":
            self._security_event("ReconfigurationOfSecurityParameters", "new certificate")
            wait_s = max(TAKE_S, self._begins_s(request.certificate_chain))
            self._k.after("signing.reconnect", wait_s, self._reconnect)  # A02.FR.08
        return ocpp.CertificateSignedResponse(status="Accepted")

    def taken(self, fact: CertificateTaken) -> None:
        """Handle a certificate now used by the charger: the next connection uses it too."""
        if fact.use == "ChargingStationCertificate":
            self._taken = True
            if self._k.planned("signing.reconnect"):
                self._k.after("signing.reconnect", self._begins_s(self._store.own_text(fact.use)), self._reconnect)

    def _begins_s(self, pem: str) -> float:
        """Return in how many seconds a chain is valid, 0 if it is: the clock of its CA may be ahead."""
        return max(0.0, parse_chain(pem)[0].not_valid_before_utc.timestamp() - self._k.utc_ms / 1000)

    def connected(self) -> None:
        """The CSMS has accepted the certificate in use: the one before is not needed any more (A02.FR.10)."""
        if self._taken:
            self._keep_replaced("")

    def stranded(self) -> None:
        """No CSMS was reached: go back to the certificate before the present one, if that has never worked
        (A02.FR.28, .29)."""
        use: ocpp.CertificateSigningUse = "ChargingStationCertificate"
        chain = parse_chain(self._replaced)
        if self._taken and chain and chain != self._store.own(use) and is_current(chain[0], self._k.utc_ms):
            self._store.keep_own(use, self._replaced)
            self._k.do(UseCertificate(use=use, chain=self._replaced))
            self._security_event("DiscardedRenewedClientCertificate", "no connection to the CSMS with it")

    def _keep_replaced(self, pem: str) -> None:
        if pem != self._replaced:
            self._replaced = pem
            if pem:
                self._k.keep_text(_REPLACED, "chain", pem)
            else:
                self._k.forget(_REPLACED, "chain")

    def _reconnect(self) -> None:
        if self._k.model.number("SecurityCtrlr.SecurityProfile") == 3:
            self._k.connection.reconnect()

    def _refuse(self, pem: str, use: ocpp.CertificateSigningUse) -> str:
        """Return why a chain is rejected, "" if it is accepted."""
        chain = parse_chain(pem)
        csr = self._waiting.get(use)
        if not chain:
            return "not a PEM chain"
        if len(pem) > self._k.model.number("SecurityCtrlr.MaxCertificateChainSize"):
            return "longer than MaxCertificateChainSize"  # A02.FR.16
        if csr is None or _key(x509.load_pem_x509_csr(csr.encode()).public_key()) != _key(chain[0].public_key()):
            return "not for a key of this station"
        if not is_current(chain[0], self._k.utc_ms):
            return "not valid now"
        root: GetCertificateIdUse = (
            "CSMSRootCertificate" if use == "ChargingStationCertificate" else "V2GRootCertificate"
        )
        known = self._store.of(root)
        # whether a chain comes from the CA of the one in use, which need not be the CSMS's
        if known and not self._store.trusted(chain, root) and not self._store.leads_to(chain, self._store.own(use)[1:]):
            return "not signed by a trusted root"
        return ""


def _id_of(csr: str) -> int:
    """Return the requestId of a request (A02.FR.24), of the 31 bits that an integer of OCPP has without its sign."""
    return int.from_bytes(sha256(csr.encode()).digest()[:4]) >> 1


def _key(key: object) -> bytes:
    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return found
