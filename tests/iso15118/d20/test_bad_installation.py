"""Bad certificates in CertificateInstallation: the vehicle's at the service, the service's and the contract's at the
vehicle. Each is refused for its own reason.
"""

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.iso15118.d20.contracts import PCID, drawn, own_contract, service
from tests.pki.bad_certificates import Case, cases_for
from tests.pki.forge import NOW, Forge, Made
from v2g import exi
from v2g.errors import CertificateError, ExiEncodeError
from v2g.iso15118.d20.installation import (
    InstallationRequest,
    installation_data,
    make_request,
    make_response,
    open_contract,
    verify_service,
)
from v2g.iso15118.d20.messages.certificates import CertificateChain, ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.provisioning import ProvisioningService
from v2g.iso15118.engine.contracts import Answer
from v2g.pki.certificates import key_kind
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import KeyKind, Role

UTC_MS = int(NOW.timestamp() * 1000)
HEADER = MessageHeader(session_id=bytes(range(1, 9)), time_stamp=UTC_MS // 1000)


def subs(made: Made) -> SubCertificates | None:
    return SubCertificates(certificate=made.chain[1:]) if made.chain[1:] else None


def can_sign(made: Made) -> bool:
    return key_kind(made.key.public_key()) in {KeyKind.SECP521R1, KeyKind.ED448}


@pytest.mark.long
@cases_for(Role.OEM_PROVISIONING)
def test_the_service_has_no_contracts_for_a_bad_vehicle(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    at = ProvisioningService(service(pki), oem_roots=made.anchors, mo_roots=pki.anchors("mo"))
    key = SoftwareKey(made.key) if can_sign(made) else pki.key("provisioning")
    try:
        asked = exi.encode(
            make_request(HEADER, made.chain, key, InstallationRequest(roots=pki.anchors("v2g"), maximum=1))
        )
    except ExiEncodeError:
        assert len(made.chain) > 4 or max(map(len, made.chain)) > 1600  # no message can carry it
        return
    answer = at.read(asked, UTC_MS)
    assert isinstance(answer, Answer)
    if not can_sign(made):
        assert answer.code.name == "FAILED_SignatureError"
        return
    assert answer.reason.startswith(f"{case.reason}: ")
    codes = {"expired": "WARNING_CertificateExpired", "not_yet_valid": "WARNING_CertificateNotYetValid"}
    assert answer.code.name == codes.get(case.reason, "WARNING_CertificateValidationError")


@pytest.mark.long
@cases_for(Role.CPS)
def test_a_vehicle_does_not_believe_a_bad_service(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    data = installation_data(own_contract(pki), pki.key("provisioning").public_key, PCID, drawn())
    response = make_response(HEADER, service(pki), data, remaining=0)
    shown = CertificateChain(certificate=made.chain[0], sub_certificates=subs(made))
    with pytest.raises(CertificateError) as error:
        verify_service(replace(response, cps_certificate_chain=shown), made.anchors, at=NOW)
    assert error.value.reason == case.reason


@cases_for(Role.CONTRACT)
def test_a_vehicle_does_not_take_a_bad_contract(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role))
    if not made.anchors:
        return  # without roots of its own a vehicle checks the contract's own profile only
    good = installation_data(own_contract(pki), pki.key("provisioning").public_key, PCID, drawn())
    shown = ContractCertificateChain(
        certificate=made.chain[0], sub_certificates=SubCertificates(certificate=made.chain[1:])
    )
    data = replace(good, contract_certificate_chain=shown)
    with pytest.raises(CertificateError) as error:
        open_contract(data, pki.key("provisioning"), PCID, roots=made.anchors, at=NOW)
    assert error.value.reason == case.reason
