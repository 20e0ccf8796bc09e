"""Every bad certificate is refused for its own reason, and only for what is wrong with it."""

from typing import get_args

import pytest

from tests.pki.bad_certificates import CASES, CASES_2, ISO_2, Case
from tests.pki.forge import EVERY, NOW, Forge, Made
from tests.together import together
from v2g.errors import CertificateError, CertificateReason
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import verify_chain

NEVER_FORGIVEN = {
    "malformed", "chain_too_long", "unknown_root", "wrong_root", "bad_signature", "expired", "not_yet_valid",
    "serial_reuse", "name_constraints", "unknown_critical_extension", "not_a_ca",
}  # fmt: skip
NOR = {
    "root with no room for sub-CAs", "sub-CA 1 with no room for sub-CA 2", "third sub-CA below sub-CA 2",
    "sub-CA without keyCertSign", "root without keyCertSign", "no digitalSignature",
}  # fmt: skip
"""Reasons and cases that the interoperability profile refuses, too."""


OF_2 = Generation.ISO15118_2


def refusal(made: Made, role: Role, *, interop: bool = False, generation: Generation = Generation.ISO15118_20) -> str:
    with pytest.raises(CertificateError) as error:
        verify_chain(
            made.chain[0], made.chain[1:], made.anchors, role=role, at=NOW, interop=interop, generation=generation
        )
    return error.value.reason


@pytest.mark.parametrize("role", EVERY)
@pytest.mark.parametrize("interop", [False, True])
def test_the_forge_makes_good_chains_too(role: Role, interop: bool) -> None:
    made = Forge(role).made()
    verify_chain(made.chain[0], made.chain[1:], made.anchors, role=role, at=NOW, interop=interop)


@pytest.mark.some(2)
@together("case", CASES, ids=lambda case: case.name, by=lambda case: case.reason)
def test_a_bad_certificate_is_refused_for_its_own_reason_in_every_role(case: Case) -> None:
    for role in case.roles:
        made = case.make(Forge(role))
        assert (role, refusal(made, role)) == (role, case.reason)
        if case.reason in NEVER_FORGIVEN or case.name in NOR:
            assert (role, refusal(made, role, interop=True)) == (role, case.reason)


@together("case", CASES_2, ids=lambda case: case.name, by=lambda case: case.reason)
def test_a_bad_certificate_of_2_is_refused_for_its_own_reason_in_every_role(case: Case) -> None:
    """The charger's, the provisioning certificate, the contract and the provisioning service's."""
    for role in case.roles:
        assert (role, refusal(case.make(Forge(role, OF_2)), role, generation=OF_2)) == (role, case.reason)


@pytest.mark.parametrize("role", ISO_2)
def test_the_forge_makes_good_chains_of_2_and_enough_bad_ones(role: Role) -> None:
    made = Forge(role, OF_2).made()
    verify_chain(made.chain[0], made.chain[1:], made.anchors, role=role, at=NOW, generation=OF_2)
    assert len([case for case in CASES_2 if role in case.roles]) >= 80


def test_there_are_cases_for_every_reason_and_each_has_a_name() -> None:
    assert {case.reason for case in CASES} == set(get_args(CertificateReason))
    assert len({case.name for case in CASES}) == len(CASES) >= 100
