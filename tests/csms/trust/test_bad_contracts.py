"""Every bad contract certificate in an Authorize request is refused, by the status that OCPP has for it (C07)."""

import pytest

from csms.contracts.rules import assess
from csms.tokens.rules import ChainVerdict, Where, answer_contract
from csms.trust.rules import Anchors
from tests.pki.bad_certificates import Case, cases_for
from tests.pki.forge import NOW, Forge, Made
from tests.pki.forge_chains import pem
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

EMAID = "DEV2GC00000042"


def sent(made: Made) -> str:
    return b"".join(map(pem, made.chain)).decode()


@pytest.mark.long
@cases_for(Role.CONTRACT)
def test_a_bad_contract_is_refused_and_the_reason_is_reported(case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    verdict = assess(EMAID, sent(made), (), Anchors(roots=made.anchors), NOW)
    assert verdict.reason.startswith(f"{case.reason}: ")
    assert verdict.chain is (ChainVerdict.EXPIRED if case.reason == "expired" else ChainVerdict.BROKEN)
    wanted = ("Expired", "CertificateExpired") if case.reason == "expired" else ("Invalid", "CertChainError")
    answer = answer_contract(verdict.chain, None, Where("CS", None, 0))
    assert (answer.status, answer.certificate_status) == wanted


def test_a_number_that_another_contract_had_is_refused() -> None:
    forge = Forge(Role.CONTRACT)
    parties = forge.good()
    made, twin = (
        forge.shown(parties),
        parties
        | {
            "leaf": forge.party(
                "leaf", Role.CONTRACT, parties["sub2"], serial=parties["leaf"].certificate.serial_number
            )
        },
    )
    anchors = Anchors(roots=made.anchors)
    first = verify_chain(made.chain[0], made.chain[1:], made.anchors, role=Role.CONTRACT, at=NOW)
    assert assess(EMAID, sent(made), (), anchors, NOW, seen=first.serials).chain is ChainVerdict.VALID
    verdict = assess(EMAID, sent(forge.shown(twin)), (), anchors, NOW, seen=first.serials)
    assert verdict.reason.startswith("serial_reuse: ")
