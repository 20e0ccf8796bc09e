"""Chains and contracts of ISO 15118-2 by attackers, vehicle and charger joined: each is refused, and nothing is stored.

A charger or provisioning service attacks the vehicle, and a vehicle the charger. What counts is whose keys the attacker
has: nobody's (it changes, cuts and repeats), those of a PKI of its own, or those of the provisioning service.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.contracts import Contract
from pki_tools.tree import PkiTree
from secc.session import ports as se
from tests.io.tls.support import other_2, pki_2
from tests.iso15118.d2.contracts import contract_2
from tests.iso15118.d20.contracts import NOW
from tests.sessions.joined import Tamper, counter
from tests.sessions.joined_messages import ContractJoined
from v2g import exi
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import seal
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import chain_of
from v2g.iso15118.engine.contracts import Contract as Issued
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.pki.keys import PublicKey, SigningKey, SoftwareKey

pytestmark = pytest.mark.requirement("R1", "R15")

__all__ = ["other_2", "pki_2"]

HEADER: Final = 8
"""Octets of V2GTP's header."""

INSTALLED: Final = "CertificateInstallationRes"

NONE: Final = b"\x30\x03\x02\x01\x01"
"""DER that is no certificate."""

Change = Callable[[Any], Any]
"""Returns another body in place of the honest one."""


def changed(name: str, change: Change, *, key: SigningKey | None = None, session_id: bytes = b"") -> Tamper:
    """Return what changes messages of this name on the wire, and signs them if there is a key."""

    def tamper(data: bytes) -> bytes:
        message, _ = decode_message(data[HEADER:], ISO2, handshake=False)
        if type(body_of(message)).__name__ != name:
            return data
        return frame(PayloadType.SAP, exi.encode(forged(message, change, key=key, session_id=session_id)))

    return tamper


def forged(
    message: V2G_Message, change: Change, *, key: SigningKey | None = None, session_id: bytes = b""
) -> V2G_Message:
    """Return a message with another body, signed by another key or with the signature of the honest one."""
    body, header = change(body_of(message)), message.header
    if key is not None:
        header = replace(header, signature=signatures.sign(body, key))
    if session_id:
        header = replace(header, session_id=session_id)
    return replace(message, header=header, body=replace(message.body, body_element=body))


def unsigned(message: V2G_Message) -> V2G_Message:
    """Return a message without its signature."""
    return replace(message, header=replace(message.header, signature=None))


def stored(joined: ContractJoined) -> list[ev.StoreContract]:
    return [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]


def frames(actions: list[Any]) -> list[bytes]:
    return [each.data for each in actions if isinstance(each, Send)]


def bodies(actions: list[Any]) -> list[Any]:
    return [body_of(decode_message(each[HEADER:], ISO2, handshake=False)[0]) for each in frames(actions)]


def ending_soon(tree: PkiTree) -> Contract:
    """Return a contract that the vehicle has updated."""
    own = contract_2(tree, days=1 / 12)
    return Contract(own.chain, SoftwareKey(own.key))


# -- a charger or a service attacks the vehicle -----------------------------------------------------------------------


class Attacked(ContractJoined):
    """A vehicle without a contract, or with one that ends soon, whose response `forge` has changed."""

    def __init__(self, tree: PkiTree, forge: Callable[["Attacked", V2G_Message], V2G_Message], **options: Any) -> None:
        self.forge = forge
        own = ending_soon(tree) if options.pop("update", False) else None
        self.recipient = tree.key("provisioning").public_key if own is None else own.key.public_key
        super().__init__("2-dc", tree, keeps=own is not None, contract=own, **options)

    def contract(self, command: se.RequestContract) -> bytes:
        message, _ = decode_message(super().contract(command), ISO2, handshake=False)
        return exi.encode(self.forge(self, message))

    def by_service(self, message: V2G_Message, change: Change) -> V2G_Message:
        """Return a message that the provisioning service has signed."""
        return forged(message, change, key=self.tree.key("cps"))

    def sealed(
        self,
        issued: Issued,
        key: ec.EllipticCurvePrivateKey | None = None,
        recipient: PublicKey | None = None,
    ) -> dict[str, Any]:
        """Return the fields of a contract, sealed for the vehicle, or with another `key` than its own."""
        envelope = seal(key or issued.key, recipient or self.recipient, entropy=counter(9))
        return {
            "contract_signature_cert_chain": chain_of(issued.chain, "id1"),
            "contract_signature_encrypted_private_key": types.ContractSignatureEncryptedPrivateKey(
                value=envelope.encrypted, id="id2"
            ),
            "dh_public_key": types.DiffieHellmanPublickey(value=envelope.public_key, id="id3"),
        }


def own_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _with_chain(chain: tuple[bytes, ...]) -> Change:
    return lambda body: replace(body, contract_signature_cert_chain=chain_of(chain, "id1"))


def _with_point(octets: bytes) -> Change:
    return lambda body: replace(body, dh_public_key=types.DiffieHellmanPublickey(value=octets, id="id3"))


def _with_cipher(octets: bytes) -> Change:
    return lambda body: replace(
        body,
        contract_signature_encrypted_private_key=types.ContractSignatureEncryptedPrivateKey(value=octets, id="id2"),
    )


def _with_emaid(emaid: str) -> Change:
    return lambda body: replace(body, emaid=types.EMAID(value=emaid, id="id4"))


def _contract(joined: Attacked, message: V2G_Message, issued: Issued) -> V2G_Message:
    return joined.by_service(message, lambda body: replace(body, **joined.sealed(issued)))


def _cps(joined: Attacked, message: V2G_Message, tree: PkiTree, name: str) -> V2G_Message:
    """Return a message whose provisioning service is another one, with its own key."""
    chain = chain_of(tree.chain(name))
    return forged(message, lambda body: replace(body, sa_provisioning_certificate_chain=chain), key=tree.key(name))


def _fewer(joined: Attacked, message: V2G_Message) -> V2G_Message:
    """Sign three of the four elements, and change the fourth."""
    signature = message.header.signature
    assert signature is not None
    info = signature.signed_info
    cut = replace(signature, signed_info=replace(info, reference=info.reference[:3]))
    changed_one = forged(message, _with_emaid("DEV2GC00000002"))
    return replace(changed_one, header=replace(message.header, signature=cut))


Forge = Callable[[Attacked, V2G_Message, PkiTree], V2G_Message]

BY_NOBODY: Final[dict[str, Forge]] = {
    "no signature": lambda _j, message, _o: unsigned(message),
    "another chain": lambda _j, message, other: forged(message, _with_chain(other.chain("contract"))),
    "another point": lambda j, message, _o: forged(message, _with_point(_point(own_key()))),
    "another sealed key": lambda _j, message, _o: forged(message, _with_cipher(bytes(48))),
    "another eMAID": lambda _j, message, _o: forged(message, _with_emaid("DEV2GC00000002")),
    "three of four signed": lambda j, message, _o: _fewer(j, message),
    "signed by the vehicle's own key": lambda j, message, _o: forged(
        message, lambda body: body, key=j.tree.key("provisioning")
    ),
}
"""Attackers without a key of the PKI."""


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


@pytest.mark.parametrize("update", [False, True], ids=["installation", "update"])
@pytest.mark.parametrize("attack", BY_NOBODY)
def test_what_the_service_has_not_signed_is_not_stored(
    pki_2: PkiTree, other_2: PkiTree, attack: str, update: bool
) -> None:
    """Its signature covers all four elements."""
    joined = Attacked(pki_2, lambda j, message: BY_NOBODY[attack](j, message, other_2), update=update)
    joined.run()
    assert refused(joined) == "bad_signature"


def refused(joined: Attacked) -> str:
    """Return why the vehicle has rejected a contract; it has stored none and both ends are safe."""
    joined.assert_safe()
    assert not stored(joined)
    (rejected,) = joined.vehicle_saw("installation", "rejected")
    if joined.keeps:  # the contract that it has still pays
        assert joined.evcc_reason == "finished"
    else:
        assert joined.evcc_reason == "no_contract"
        assert joined.imported_mwh() == 0
    return str(rejected["reason"])


BY_OTHERS: Final[dict[str, tuple[Forge, set[str]]]] = {
    "a service of another PKI": (lambda j, message, other: _cps(j, message, other, "cps"), {"unknown_root"}),
    "the charger as service": (
        lambda j, message, _o: _cps(j, message, j.tree, "secc"),
        {"wrong_domain", "key_usage", "bad_profile"},
    ),
    "a contract as service": (
        lambda j, message, _o: _cps(j, message, j.tree, "contract"),
        {"wrong_domain", "unknown_root", "wrong_root"},
    ),
    "no certificate as service": (
        lambda _j, message, _o: forged(
            message,
            lambda body: replace(body, sa_provisioning_certificate_chain=types.CertificateChain(certificate=NONE)),
        ),
        {"malformed"},
    ),
}
"""Attackers with keys that are not the service's."""


@pytest.mark.parametrize("attack", BY_OTHERS)
def test_only_the_provisioning_service_gives_contracts(pki_2: PkiTree, other_2: PkiTree, attack: str) -> None:
    """The chain of the service leads to a V2G root and names its domain [V2G2-891]."""
    forge, reasons = BY_OTHERS[attack]
    joined = Attacked(pki_2, lambda j, message: forge(j, message, other_2))
    joined.run()
    assert refused(joined) in reasons


BY_SERVICE: Final[dict[str, tuple[Forge, set[str]]]] = {
    "a contract of another PKI": (
        lambda j, message, other: _contract(
            j, message, Issued(other.chain("contract"), other.key("contract").expose())
        ),
        {"unknown_root"},
    ),
    "an expired contract": (
        lambda j, message, _o: _contract(j, message, contract_2(j.tree, days=-0.5)),
        {"expired"},
    ),
    "the certificate of the charger": (
        lambda j, message, _o: _contract(j, message, Issued(j.tree.chain("secc"), j.tree.key("secc").expose())),
        {"wrong_domain"},
    ),
    "no certificate": (lambda j, message, _o: j.by_service(message, _with_chain((NONE,))), {"malformed"}),
    "no sub-CAs": (
        lambda j, message, _o: j.by_service(message, _with_chain(j.tree.chain("contract")[:1])),
        {"unknown_root"},
    ),
    "sub-CAs of the largest size that are none": (
        lambda j, message, _o: j.by_service(message, _with_chain((j.tree.chain("contract")[0], *[bytes(800)] * 4))),
        {"malformed"},
    ),
    "the key of nobody": (
        lambda j, message, _o: j.by_service(
            message, lambda body: replace(body, **j.sealed(contract_2(j.tree), own_key()))
        ),
        {"wrong_key"},
    ),
    "a point that is not on the curve": (
        lambda j, message, _o: j.by_service(message, _with_point(b"\x04" + b"\x01" * 64)),
        {"bad_point"},
    ),
    "a compressed point": (
        lambda j, message, _o: j.by_service(message, _with_point(b"\x02" + _point(own_key())[1:33])),
        {"bad_point"},
    ),
    "the point at infinity": (lambda j, message, _o: j.by_service(message, _with_point(b"\x00")), {"bad_point"}),
    "a point of nobody's key": (
        lambda j, message, _o: j.by_service(message, _with_point(_point(own_key()))),
        {"out_of_range", "wrong_key"},
    ),
    "a short sealed key": (lambda j, message, _o: j.by_service(message, _with_cipher(bytes(47))), {"wrong_length"}),
    "an eMAID that is not the contract's": (
        lambda j, message, _o: j.by_service(message, _with_emaid("DEV2GC99999999")),
        {"wrong_subject"},
    ),
}
"""A service that is hostile, or was taken over."""


@pytest.mark.parametrize("attack", BY_SERVICE)
def test_a_contract_that_cannot_pay_is_not_stored_whoever_signed_it(
    pki_2: PkiTree, other_2: PkiTree, attack: str
) -> None:
    forge, reasons = BY_SERVICE[attack]
    joined = Attacked(pki_2, lambda j, message: forge(j, message, other_2))
    joined.run()
    assert refused(joined) in reasons


def test_an_update_to_another_contract_is_not_stored(pki_2: PkiTree) -> None:
    """It would pay with the contract of somebody else."""
    other = contract_2(pki_2, "DEV2GC00000002")

    def forge(joined: Attacked, message: V2G_Message) -> V2G_Message:
        emaid = types.EMAID(value="DEV2GC00000002", id="id4")
        return joined.by_service(message, lambda body: replace(body, emaid=emaid, **joined.sealed(other)))

    joined = Attacked(pki_2, forge, update=True)
    joined.run()
    assert refused(joined) == "wrong_subject"


def test_without_roots_of_contracts_one_without_an_emaid_is_not_stored(pki_2: PkiTree) -> None:
    """The service is trusted then; what it signs has to be a contract nevertheless."""
    named = Issued(pki_2.chain("secc"), pki_2.key("secc").expose())
    joined = Attacked(pki_2, lambda j, message: _contract(j, message, named), mo_roots=())
    joined.run()
    assert refused(joined) == "wrong_subject"


def test_a_response_of_an_earlier_session_is_refused(pki_2: PkiTree) -> None:
    earlier = Attacked(pki_2, lambda _, message: message)
    earlier.run()
    (old,) = earlier.installed
    assert stored(earlier)
    for replays, reason in ((True, "wrong_session_id"), (False, "FAILED_NoCertificateAvailable")):
        joined = Attacked(pki_2, lambda _, message: message, entropy=counter(1 << 42))
        if replays:  # the charger itself attacks
            joined.wire_to_evcc = lambda data: frame(PayloadType.SAP, old) if _name(data) == INSTALLED else data
        else:  # the charger is honest, what it gets is old
            joined.contract = lambda _command: old  # type: ignore[method-assign]
        joined.run()
        joined.assert_safe()
        assert joined.evcc_reason == reason
        assert not stored(joined)


def _name(data: bytes) -> str:
    return type(body_of(decode_message(data[HEADER:], ISO2, handshake=False)[0])).__name__


def test_a_response_for_another_vehicle_cannot_be_opened(pki_2: PkiTree) -> None:
    """The service has signed it, and the attacker gives it to this vehicle as its own."""

    def forge(joined: Attacked, message: V2G_Message) -> V2G_Message:
        fields = joined.sealed(contract_2(joined.tree), recipient=own_key().public_key())
        return joined.by_service(message, lambda body: replace(body, **fields))

    joined = Attacked(pki_2, forge)
    joined.run()
    assert refused(joined) in ("out_of_range", "wrong_key")


@pytest.mark.parametrize("octets", [70_000, 200_000])
def test_a_response_of_any_size_ends_the_session(pki_2: PkiTree, octets: int) -> None:
    joined = Attacked(pki_2, lambda _, message: message)
    joined.wire_to_evcc = lambda data: (
        frame(PayloadType.SAP, b"\x80" + bytes(octets)) if _name(data) == INSTALLED else data
    )
    joined.run()
    joined.assert_safe()
    assert not stored(joined)
    assert joined.imported_mwh() == 0


# -- a vehicle attacks the charger ------------------------------------------------------------------------------------

PAYMENT, INSTALLING, UPDATING = "PaymentDetailsReq", "CertificateInstallationReq", "CertificateUpdateReq"


class Attacking(ContractJoined):
    """A vehicle whose request of this name is changed, and signed if there is a key."""

    def __init__(
        self, tree: PkiTree, name: str, change: Change, *, key: SigningKey | None = None, **options: Any
    ) -> None:
        own = ending_soon(tree) if name == UPDATING else None
        super().__init__("2-dc", tree, keeps=name != INSTALLING, contract=own, **options)
        self.wire_to_secc = changed(name, change, key=key)

    def refusal(self) -> str:
        """Return the code of the last response; nothing was authorised or delivered."""
        self.assert_safe()
        assert self.imported_mwh() == 0
        commands = (se.AuthorizeContract, se.TransactionStarted)
        assert not [each for each in self.secc_actions if isinstance(each, commands)]
        assert not stored(self)
        return str(bodies(self.secc_actions)[-1].response_code.name)


def _presents(*chain: bytes) -> Change:
    return lambda body: replace(body, contract_signature_cert_chain=chain_of(chain))


def _names(emaid: str) -> Change:
    return lambda body: replace(body, emaid=emaid)


Chains = Callable[[PkiTree, PkiTree], Change]

CHAINS: Final[dict[str, tuple[Chains, str]]] = {
    "another PKI": (lambda _, other: _presents(*other.chain("contract")), "FAILED_CertChainError"),
    "no sub-CAs": (lambda own, _: _presents(own.chain("contract")[0]), "FAILED_CertChainError"),
    "sub-CAs in another order": (
        lambda own, _: _presents(own.chain("contract")[0], *reversed(own.chain("contract")[1:])),
        "FAILED_CertChainError",
    ),
    "sub-CAs of another PKI": (
        lambda own, other: _presents(own.chain("contract")[0], *other.chain("contract")[1:]),
        "FAILED_CertChainError",
    ),
    "sub-CAs of the largest size that are none": (
        lambda own, _: _presents(own.chain("contract")[0], *[bytes(800)] * 4),
        "FAILED_CertChainError",
    ),
    "no certificate": (lambda _o, _: _presents(NONE), "FAILED_CertChainError"),
    "the chain of a charger": (lambda own, _: _presents(*own.chain("secc")), "FAILED_NoCertificateAvailable"),
    "an expired contract [V2G2-824]": (
        lambda own, _: _presents(*contract_2(own, days=-0.5).chain),
        "FAILED_CertificateExpired",
    ),
    "a contract from tomorrow on [V2G2-824]": (
        lambda own, _: _presents(*contract_2(own, not_before=NOW + timedelta(days=1)).chain),
        "FAILED_CertificateExpired",
    ),
    "the eMAID of another": (lambda _o, _: _names("DEV2GC99999999"), "FAILED_NoCertificateAvailable"),
}
"""Chains of attackers, and the code that refuses each: see `v2g.iso15118.d2.response_codes`."""


@pytest.mark.parametrize("attack", CHAINS)
def test_a_chain_that_is_no_contract_is_refused_before_anybody_is_asked(
    pki_2: PkiTree, other_2: PkiTree, attack: str
) -> None:
    """PaymentDetailsReq is not signed: whoever has seen a chain can send it [V2G2-697]."""
    change, code = CHAINS[attack]
    joined = Attacking(pki_2, PAYMENT, change(pki_2, other_2))
    joined.run()
    assert joined.refusal() == code
    assert joined.evcc_reason == code


def test_a_chain_without_its_key_pays_nothing(pki_2: PkiTree) -> None:
    """It is anybody's to copy; the signature over the challenge is not [V2G2-475]."""
    own = contract_2(pki_2)
    joined = Attacking(pki_2, PAYMENT, _presents(*own.chain))
    joined.run()
    assert joined.refusal() == "FAILED_SignatureError"


@pytest.mark.parametrize("other_session", [False, True])
def test_the_authorization_of_an_earlier_session_pays_nothing(pki_2: PkiTree, other_session: bool) -> None:
    """By its challenge [V2G2-475], and by its SessionID [V2G2-460]."""
    earlier = ContractJoined("2-dc", pki_2)
    sent: list[bytes] = []
    earlier.wire_to_secc = lambda data: sent.append(data) or data  # type: ignore[func-returns-value]
    earlier.run()
    old = next(each for each in sent if _name(each) == "AuthorizationReq")
    message, _ = decode_message(old[HEADER:], ISO2, handshake=False)
    joined = Attacking(pki_2, "AuthorizationReq", lambda body: body, entropy=counter(1 << 42))

    def replay(data: bytes) -> bytes:
        if _name(data) != "AuthorizationReq":
            return data
        now, _ = decode_message(data[HEADER:], ISO2, handshake=False)
        session_id = message.header.session_id if other_session else now.header.session_id
        header = replace(message.header, session_id=session_id)
        return frame(PayloadType.SAP, exi.encode(replace(message, header=header)))

    joined.wire_to_secc = replay
    joined.run()
    assert joined.refusal() == ("FAILED_UnknownSession" if other_session else "FAILED_ChallengeInvalid")


@pytest.mark.parametrize(
    ("attack", "key"),
    [
        ("no sub-CAs", "contract"),
        ("sub-CAs in another order", "contract"),
        ("sub-CAs of another PKI", "contract"),
        ("sub-CAs of the largest size that are none", "contract"),
        ("the chain of a charger", "secc"),
        ("no certificate", "contract"),
        ("the eMAID of another", "contract"),
    ],
)
def test_an_update_of_what_is_no_contract_is_refused(pki_2: PkiTree, other_2: PkiTree, attack: str, key: str) -> None:
    """By the charger, or by the service where the charger may not know the root [V2G2-557]."""
    change, code = CHAINS[attack]
    joined = Attacking(pki_2, UPDATING, change(pki_2, other_2), key=pki_2.key(key))
    joined.run()
    assert joined.refusal() == code


@pytest.mark.parametrize("days", [-0.5, 1.0])
def test_an_expired_contract_is_not_updated(pki_2: PkiTree, days: float) -> None:
    """[V2G2-824]: one that has not ended is."""
    own = contract_2(pki_2, days=days)
    joined = Attacking(pki_2, UPDATING, _presents(*own.chain), key=SoftwareKey(own.key))
    joined.run()
    codes = [str(each.response_code.name) for each in bodies(joined.secc_actions)]
    assert ("FAILED_CertificateExpired" in codes) is (days < 0)
    assert not stored(joined)  # it is sealed for the key of a contract that the vehicle does not have


@pytest.mark.parametrize("certificate", [None, "contract", "cps", "secc"])
def test_an_installation_for_what_is_no_vehicle_is_refused(pki_2: PkiTree, certificate: str | None) -> None:
    """By the charger, or by the service where the charger may not know the root [V2G2-554]."""
    leaf = NONE if certificate is None else pki_2.chain(certificate)[0]
    key = pki_2.key(certificate or "provisioning")
    joined = Attacking(pki_2, INSTALLING, lambda body: replace(body, oem_provisioning_cert=leaf), key=key)
    joined.run()
    assert joined.refusal() == "FAILED_CertChainError"


@pytest.mark.parametrize("name", [INSTALLING, UPDATING])
@pytest.mark.parametrize("signer", ["nobody", "another", "the vehicle's own, over something else"])
def test_a_request_for_a_contract_that_its_owner_has_not_signed_is_refused(
    pki_2: PkiTree, name: str, signer: str
) -> None:
    joined = Attacking(pki_2, name, lambda body: body, key=SoftwareKey(own_key()) if signer == "another" else None)
    if signer == "nobody":
        joined.wire_to_secc = lambda data: _unsigned(data) if _name(data) == name else data
    elif signer != "another":
        joined.wire_to_secc = changed(name, lambda body: replace(body, id="id9"))
    joined.run()
    assert joined.refusal() == "FAILED_SignatureError"
    assert not [each for each in joined.secc_actions if isinstance(each, se.RequestContract)]


def _unsigned(data: bytes) -> bytes:
    message, _ = decode_message(data[HEADER:], ISO2, handshake=False)
    return frame(PayloadType.SAP, exi.encode(unsigned(message)))


def test_a_repeated_request_gets_a_contract_that_only_its_vehicle_can_open(pki_2: PkiTree, other_2: PkiTree) -> None:
    """The signature covers no session: an attacker that has seen a request can send it again, and gains nothing."""
    earlier = ContractJoined("2-dc", pki_2, keeps=False)
    earlier.run()
    request = next(each for each in bodies(earlier.evcc_actions) if type(each).__name__ == INSTALLING)
    signature = next(
        decode_message(each[HEADER:], ISO2, handshake=False)[0].header.signature
        for each in frames(earlier.evcc_actions)
        if _name(each) == INSTALLING
    )

    def replay(data: bytes) -> bytes:
        if _name(data) != INSTALLING:
            return data
        now, _ = decode_message(data[HEADER:], ISO2, handshake=False)
        repeated = replace(forged(now, lambda _: request), header=replace(now.header, signature=signature))
        return frame(PayloadType.SAP, exi.encode(repeated))

    joined = ContractJoined("2-dc", pki_2, keeps=False, entropy=counter(1 << 42), provisioning=other_2)
    joined.wire_to_secc = replay
    joined.run()
    joined.assert_safe()
    assert not stored(joined)
    assert joined.imported_mwh() == 0
