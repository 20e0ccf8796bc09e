"""Every bad contract certificate in Authorization, and every bad provisioning certificate in CertificateInstallation:
each refused by the code that the standard has for it, named in the event, and passed on to nobody.
"""

import pytest

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from tests.pki.bad_certificates import Case, cases_for
from tests.pki.forge import NOW, Forge, Made
from tests.secc.session.bench import Bench
from v2g.errors import ExiEncodeError
from v2g.iso15118.engine.sequence import State
from v2g.pki.certificates import key_kind
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import KeyKind, Role

_CODES = {
    "expired": "WARNING_CertificateExpired",
    "not_yet_valid": "WARNING_CertificateNotYetValid",
    "unknown_root": "WARNING_eMSPUnknown",
}
_NO_MESSAGE = {
    "four sub-CAs", "six copies of a sub-CA", "leaf of 20 kB", "too big for a message",
}  # fmt: skip
"""What no message of -20 can carry: more than three sub-CAs, or more than 1600 bytes (schema)."""
_ALONE = {"self-signed leaf", "leaf alone", "contract right below a root"}
"""Nor can AuthorizationReq carry a contract without any sub-CA."""
_NO_SIGNATURE = {
    "leaf on P-256", "leaf on P-384", "leaf on secp256k1", "leaf on brainpoolP512r1", "leaf with Ed25519",
    "leaf with RSA of 4096 bit", "leaf with RSA of 2048 bit",
    "leaf with an Ed448 key of low order",
}  # fmt: skip
"""Keys by which no signature of -20 can be made, so that the signature is what is wrong first."""


OFFERING = SeccConfig(certificate_installation=True)


class Showing:
    """A PKI in which one leaf shows what was made, and its roots are what was made, too."""

    def __init__(self, pki: PkiTree, leaf: str, root: str, made: Made) -> None:
        self._pki, self._leaf, self._root, self._made = pki, leaf, root, made

    def anchors(self, *roots: str) -> tuple[bytes, ...]:
        return self._made.anchors if roots == (self._root,) else self._pki.anchors(*roots)

    def chain(self, leaf: str) -> tuple[bytes, ...]:
        return self._made.chain if leaf == self._leaf else self._pki.chain(leaf)

    def key(self, leaf: str) -> SoftwareKey:
        if leaf != self._leaf or _kind(self._made) not in {KeyKind.SECP521R1, KeyKind.ED448}:
            return self._pki.key(leaf)
        return SoftwareKey(self._made.key)


def _kind(made: Made) -> KeyKind | None:
    return key_kind(made.key.public_key())


def bench_for(pki: PkiTree, made: Made, leaf: str, root: str, config: SeccConfig | None = None) -> Bench:
    utc_ms = int(NOW.timestamp() * 1000)
    return Bench(Showing(pki, leaf, root, made), utc_ms, config, can_install=True)  # type: ignore[arg-type]


@pytest.mark.long
@cases_for(Role.CONTRACT)
def test_a_bad_contract_is_not_authorised(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    bench = bench_for(pki, made, "contract", "mo").reach(State.AUTHORIZATION)
    if case.name in _NO_MESSAGE | _ALONE:
        with pytest.raises(ExiEncodeError):
            bench.go("AuthorizationReq")
        return
    response = bench.go("AuthorizationReq")
    assert not bench.commands(ports.AuthorizeContract)
    if case.name in _NO_SIGNATURE:
        assert response.response_code.name == "FAILED_SignatureError"
        return
    assert response.response_code.name == _CODES.get(case.reason, "WARNING_CertificateValidationError")
    assert bench.events("refused")[-1]["reason"] == case.reason
    assert bench.session.state is State.AUTHORIZATION  # another contract may follow


@cases_for(Role.OEM_PROVISIONING)
def test_nobody_gets_contracts_for_a_bad_provisioning_certificate(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    bench = bench_for(pki, made, "provisioning", "oem", OFFERING).reach(State.AUTHORIZATION)
    if case.name in _NO_MESSAGE:
        with pytest.raises(ExiEncodeError):
            bench.go("CertificateInstallationReq")
        return
    bench.post(bench.ask("CertificateInstallationReq"))
    if case.reason in {"unknown_root", "wrong_root"}:  # the back end knows more vehicle makers
        assert bench.commands(ports.RequestContract)
        return
    assert not bench.commands(ports.RequestContract)
    response = bench.responses[-1]
    if case.name in _NO_SIGNATURE:
        assert response.response_code.name == "FAILED_SignatureError"
        return
    assert response.response_code.name == _CODES.get(case.reason, "WARNING_CertificateValidationError")
    assert bench.events("refused")[-1]["reason"] == case.reason
    assert bench.session.state is State.AUTHORIZATION
