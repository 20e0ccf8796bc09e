"""Plug & Charge and external identification: who is trusted, what the others get, and how long it may take."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.d20.authorization import MOST_REFUSALS
from tests.pki.chains import issuer_of
from tests.secc.session.bench import Bench
from tests.secc.session.conftest import MakeBench
from tests.secc.session.shell import counter
from v2g.iso15118.d20.messages.certificates import SubCertificates
from v2g.iso15118.d20.messages.common_messages import Authorization, EIM_AReqAuthorizationMode
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.xmldsig import SignatureValue
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.profile import KeyKind
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

replace = msgspec.structs.replace
EIM = SeccConfig(authorization=(Authorization.EIM,))


@pytest.fixture
def asking(bench: Bench) -> Bench:
    """Return a bench whose next request is the AuthorizationReq."""
    return bench.reach(State.AUTHORIZATION)


@pytest.mark.requirement("R1")
def test_a_contract_that_holds_is_authorised_by_the_back_end(asking: Bench) -> None:
    response = asking.go("AuthorizationReq")
    assert (response.response_code.name, response.evse_processing.name) == ("OK", "Finished")
    command = asking.commands(ports.AuthorizeContract)[0]
    assert command.emaid == "DEV2GC00000001"
    assert command.chain == asking.pki.chain("contract")
    started = asking.commands(ports.TransactionStarted)[0]
    assert started.emaid == command.emaid
    assert asking.session.state is State.SERVICE_DISCOVERY


def test_the_back_end_judges_a_contract_of_an_unknown_root(
    make_bench: MakeBench, faulty: dict[TreeFault, PkiTree]
) -> None:
    """C07.FR.06, if it allows that; its chain is as valid as it says."""
    tree = faulty[TreeFault.FOREIGN_ROOT]
    bench = make_bench(pki=tree, central=True).reach(State.AUTHORIZATION)
    assert bench.go("AuthorizationReq").response_code.name == "OK"
    (asked,) = bench.commands(ports.AuthorizeContract)
    assert (asked.chain, asked.known_root) == (tree.chain("contract"), False)


class WithoutContractRoots(PkiTree):
    """A tree whose MO root the charger does not have."""

    def anchors(self, *roots: str) -> tuple[bytes, ...]:
        return super().anchors(*(each for each in roots if each != "mo"))


def test_a_contract_may_lead_over_a_cross_certificate_that_the_charger_holds(
    make_bench: MakeBench, pki: PkiTree
) -> None:
    tree = WithoutContractRoots(pki.directory)
    (cross,) = load_chain(pki.path("cross/mo-by-v2g.pem"))
    bench = make_bench(pki=tree, crosses=(cross,)).reach(State.AUTHORIZATION)
    assert bench.go("AuthorizationReq").response_code.name == "OK"
    assert bench.commands(ports.AuthorizeContract)[0].chain == (*pki.chain("contract"), cross)  # for the back end
    without = make_bench(pki=tree).reach(State.AUTHORIZATION)
    assert without.go("AuthorizationReq").response_code.name == "WARNING_eMSPUnknown"


def test_the_other_grammar_of_signed_info_is_believed_too(asking: Bench) -> None:
    mode = asking.pnc_mode()
    header = asking.sign(mode, grammar=COMMON_MESSAGES)
    response = asking.send(asking.ask("AuthorizationReq", header=header, pnc_a_req_authorization_mode=mode))
    assert response.response_code.name == "OK"


def _tampered(bench: Bench) -> dict[str, object]:
    mode = bench.pnc_mode()
    return {"header": bench.sign(mode), "pnc_a_req_authorization_mode": replace(mode, id="id2")}


def _flipped(bench: Bench) -> dict[str, object]:
    mode = bench.pnc_mode()
    header = bench.sign(mode)
    value = bytearray(header.signature.signature_value.value)  # type: ignore[union-attr]
    value[5] ^= 1
    signature = replace(header.signature, signature_value=SignatureValue(value=bytes(value)))
    return {"header": replace(header, signature=signature), "pnc_a_req_authorization_mode": mode}


def _unsigned(bench: Bench) -> dict[str, object]:
    return {"header": bench.header()}


def _by_another(bench: Bench) -> dict[str, object]:
    mode = bench.pnc_mode()
    return {"header": bench.sign(mode, key="vehicle"), "pnc_a_req_authorization_mode": mode}


@pytest.mark.parametrize("how", [_tampered, _flipped, _unsigned, _by_another])
def test_a_signature_that_does_not_hold_ends_the_session(asking: Bench, how: object) -> None:
    response = asking.send(asking.ask("AuthorizationReq", **how(asking)))  # type: ignore[operator]
    assert response.response_code.name == "FAILED_SignatureError"  # V2G20-461
    assert asking.reason == "FAILED_SignatureError"
    assert not asking.commands(ports.AuthorizeContract)


def test_a_challenge_of_somebody_else_is_refused_and_the_right_one_may_follow(asking: Bench) -> None:
    mode = replace(asking.pnc_mode(), gen_challenge=bytes(16))
    response = asking.send(asking.ask("AuthorizationReq", header=asking.sign(mode), pnc_a_req_authorization_mode=mode))
    assert response.response_code.name == "WARNING_ChallengeInvalid"
    assert response.evse_processing is Processing.Finished
    assert asking.go("AuthorizationReq").response_code.name == "OK"  # V2G20-2226


def test_what_is_no_certificate_is_a_validation_error(asking: Bench) -> None:
    mode = asking.pnc_mode()
    chain = replace(mode.contract_certificate_chain, certificate=b"not a certificate")
    mode = replace(mode, contract_certificate_chain=chain)
    response = asking.send(asking.ask("AuthorizationReq", header=asking.sign(mode), pnc_a_req_authorization_mode=mode))
    assert response.response_code.name == "WARNING_CertificateValidationError"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[TreeFault, PkiTree]:
    """Return trees whose contract is wrong on purpose."""
    base: Path = tmp_path_factory.mktemp("faulty")
    return {
        fault: make_pki(base / fault.value, now=datetime.now(UTC), options=PkiOptions(contract=fault))
        for fault in (TreeFault.EXPIRED, TreeFault.NOT_YET_VALID, TreeFault.FOREIGN_ROOT)
    }


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (TreeFault.EXPIRED, "WARNING_CertificateExpired"),
        (TreeFault.NOT_YET_VALID, "WARNING_CertificateNotYetValid"),
        (TreeFault.FOREIGN_ROOT, "WARNING_eMSPUnknown"),
    ],
)
def test_each_fault_of_a_chain_has_its_own_word(
    make_bench: MakeBench, faulty: dict[TreeFault, PkiTree], fault: TreeFault, code: str
) -> None:
    bench = make_bench(pki=faulty[fault]).reach(State.AUTHORIZATION)
    response = bench.go("AuthorizationReq")
    assert response.response_code.name == code
    assert not bench.commands(ports.AuthorizeContract)
    assert bench.session.state is State.AUTHORIZATION


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_contract_on_a_revocation_list_is_refused_before_the_back_end_is_asked(
    make_bench: MakeBench, pki: PkiTree, place: int
) -> None:
    serial = load_certificate(pki.chain("contract")[place]).serial_number
    issuer = issuer_of(pki, ("mo/sub2", "mo/sub1", "mo/root")[place])
    at = datetime.fromtimestamp(make_bench().utc_ms / 1000, UTC)

    def bench(revoked: int) -> Bench:
        crl = make_crl(issuer, [Revoked(revoked, at)], number=1, at=at, validity=timedelta(days=30))
        return make_bench(crls=(load_crl(crl),)).reach(State.AUTHORIZATION)

    refused, accepted = bench(serial), bench(serial + 1)
    assert refused.go("AuthorizationReq").response_code.name == "WARNING_CertificateRevoked"
    assert refused.events("refused")[-1]["reason"] == "revoked"
    assert not refused.commands(ports.AuthorizeContract)
    assert accepted.go("AuthorizationReq").response_code.name == "OK"


def test_a_vehicle_certificate_is_no_contract(asking: Bench) -> None:
    mode = asking.pnc_mode(leaf="vehicle")
    header = asking.sign(mode, key="vehicle")
    response = asking.send(asking.ask("AuthorizationReq", header=header, pnc_a_req_authorization_mode=mode))
    assert response.response_code.name.startswith("WARNING_")


def test_a_chain_without_its_link_to_the_root_is_not_believed(asking: Bench) -> None:
    mode = asking.pnc_mode()
    alone = replace(
        mode.contract_certificate_chain,
        sub_certificates=SubCertificates(certificate=mode.contract_certificate_chain.sub_certificates.certificate[1:]),
    )
    mode = replace(mode, contract_certificate_chain=alone)
    response = asking.send(asking.ask("AuthorizationReq", header=asking.sign(mode), pnc_a_req_authorization_mode=mode))
    assert response.response_code.name.startswith("WARNING_")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (AuthorizationStatus.CERTIFICATE_EXPIRED, "WARNING_CertificateExpired"),
        (AuthorizationStatus.CERTIFICATE_REVOKED, "WARNING_CertificateRevoked"),
        (AuthorizationStatus.CERTIFICATE_INVALID, "WARNING_CertificateValidationError"),
        (AuthorizationStatus.UNKNOWN, "WARNING_eMSPUnknown"),
        (AuthorizationStatus.REFUSED, "WARNING_GeneralPnCAuthorizationError"),
        (AuthorizationStatus.UNREACHABLE, "WARNING_GeneralPnCAuthorizationError"),
    ],
)
def test_each_refusal_of_the_back_end_has_its_own_word(asking: Bench, status: AuthorizationStatus, code: str) -> None:
    asking.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(c.attempt, status)
    response = asking.go("AuthorizationReq")
    assert (response.response_code.name, response.evse_processing.name) == (code, "Finished")
    assert not asking.commands(ports.TransactionStarted)


def test_the_vehicle_gets_ongoing_while_the_back_end_decides_and_then_its_answer(asking: Bench) -> None:
    del asking.auto[ports.AuthorizeContract]
    request = asking.ask("AuthorizationReq")
    assert asking.send(request) is None
    asking.pass_time(0.5)
    assert asking.responses[-1].evse_processing is Processing.Ongoing
    again = replace(request, header=replace(request.header, time_stamp=request.header.time_stamp + 1))
    assert asking.send(again) is None  # V2G20-1582: only the time stamp changed
    asking.fact(ports.AuthorizationDecided(99, AuthorizationStatus.REFUSED))  # of another attempt
    asking.fact(ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED))
    assert asking.responses[-1].evse_processing is Processing.Finished
    assert len(asking.commands(ports.AuthorizeContract)) == 1


def test_an_answer_between_two_polls_is_reported_at_once_with_the_next(asking: Bench) -> None:
    del asking.auto[ports.AuthorizeContract]
    request = asking.ask("AuthorizationReq")
    asking.post(request)
    asking.pass_time(0.5)
    asking.fact(ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED))
    asking.fact(ports.AuthorizationDecided(1, AuthorizationStatus.REFUSED))  # decided is decided
    assert asking.send(request).response_code.name == "OK"
    assert asking.session.state is State.SERVICE_DISCOVERY


def test_a_repetition_that_says_something_else_is_out_of_order(asking: Bench) -> None:
    del asking.auto[ports.AuthorizeContract]
    asking.post(asking.ask("AuthorizationReq"))
    asking.pass_time(0.5)
    mode = replace(asking.pnc_mode(), id="other")
    response = asking.send(asking.ask("AuthorizationReq", header=asking.sign(mode), pnc_a_req_authorization_mode=mode))
    assert response.response_code.name == "FAILED_SequenceError"


def test_a_request_before_the_response_to_the_last_one_is_out_of_order(asking: Bench) -> None:
    del asking.auto[ports.AuthorizeContract]
    asking.post(asking.ask("AuthorizationReq"))
    response = asking.send(asking.ask("AuthorizationReq"))
    assert response.response_code.name == "FAILED_SequenceError"


def test_a_silent_back_end_is_given_up_before_the_vehicle_gives_up(asking: Bench) -> None:
    del asking.auto[ports.AuthorizeContract]
    request, polls = asking.ask("AuthorizationReq"), 0
    begin = asking.now
    while not asking.responses or asking.responses[-1].response_code.name in ("OK", "OK_NewSessionEstablished"):
        asking.post(request)
        asking.pass_time(0.5)
        polls += 1
        assert polls < 200
    assert asking.responses[-1].response_code.name == "WARNING_GeneralPnCAuthorizationError"
    assert 54 < asking.now - begin < 57


def test_a_contract_that_expires_soon_is_authorised_with_a_word_about_it(make_bench: MakeBench, pki: PkiTree) -> None:
    two_years_less_a_week = (730 - 7) * 86_400_000
    bench = make_bench()
    bench.utc_ms += two_years_less_a_week  # the sub-CAs live longer
    response = bench.reach(State.AUTHORIZATION).go("AuthorizationReq")
    assert response.response_code.name == "OK_CertificateExpiresSoon"  # V2G20-2218
    assert bench.session.state is State.CERTIFICATE_EXPIRES_SOON


def test_p256_and_sha256_are_for_interoperability_only(make_bench: MakeBench, tmp_path: Path) -> None:
    old = make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(key_kind=KeyKind.SECP256R1))
    strict = make_bench(pki=old).reach(State.AUTHORIZATION)
    assert strict.go("AuthorizationReq").response_code.name == "FAILED_SignatureError"
    lenient = make_bench(pki=old, interop=True).reach(State.AUTHORIZATION)
    assert lenient.go("AuthorizationReq").response_code.name == "OK"


def test_what_was_not_offered_is_refused_with_a_warning(asking: Bench, make_bench: MakeBench) -> None:
    eim = asking.ask(
        "AuthorizationReq",
        header=asking.header(),
        selected_authorization_service=Authorization.EIM,
        eim_a_req_authorization_mode=EIM_AReqAuthorizationMode(),
        pnc_a_req_authorization_mode=None,
    )
    assert asking.send(eim).response_code.name == "WARNING_AuthorizationSelectionInvalid"  # V2G20-2209
    mixed = replace(eim, selected_authorization_service=Authorization.PnC)
    assert asking.send(mixed).response_code.name == "WARNING_AuthorizationSelectionInvalid"


def test_a_card_authorises_a_session_without_a_contract(make_bench: MakeBench) -> None:
    bench = make_bench(EIM).reach(State.AUTHORIZATION)
    del bench.auto[ports.AuthorizeExternally]
    bench.post(bench.ask("AuthorizationReq"))
    bench.pass_time(0.5)
    assert bench.responses[-1].evse_processing is Processing.Ongoing_WaitingForCustomerInteraction
    bench.post(bench.ask("AuthorizationReq"))
    bench.fact(ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.commands(ports.TransactionStarted)[0].emaid == ""
    offered = bench.go("ServiceDiscoveryReq")
    assert offered.vas_list is None  # nobody there who could sign


@pytest.mark.parametrize("status", [each for each in AuthorizationStatus if each is not AuthorizationStatus.ACCEPTED])
def test_every_refused_card_is_answered_at_once(make_bench: MakeBench, status: AuthorizationStatus) -> None:
    bench = make_bench(EIM).reach(State.AUTHORIZATION)
    bench.auto[ports.AuthorizeExternally] = lambda c: ports.AuthorizationDecided(c.attempt, status)
    response = bench.go("AuthorizationReq")
    assert response.response_code.name == "WARNING_EIMAuthorizationFailure"  # V2G20-2219, -2230
    assert response.evse_processing is Processing.Finished


def test_without_holding_a_poll_is_answered_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(poll_hold_s=0.0)).reach(State.AUTHORIZATION)
    del bench.auto[ports.AuthorizeContract]
    assert bench.send(bench.ask("AuthorizationReq")).evse_processing is Processing.Ongoing


# -- a challenge counts once, and only inside TLS ----------------------------------------------------------------------


def test_the_same_contract_does_not_get_a_second_judgement_for_one_challenge(asking: Bench) -> None:
    refused = AuthorizationStatus.UNREACHABLE
    asking.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(c.attempt, refused)
    request = asking.ask("AuthorizationReq")
    assert asking.send(request).response_code.name == "WARNING_GeneralPnCAuthorizationError"
    asking.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(c.attempt, AuthorizationStatus.ACCEPTED)
    response = asking.send(request)  # whoever has recorded it, says the same again
    assert (response.response_code.name, response.evse_processing.name) == ("WARNING_ChallengeInvalid", "Finished")
    assert len(asking.commands(ports.AuthorizeContract)) == 1  # V2G20-2608
    assert not asking.commands(ports.TransactionStarted)


def test_a_challenge_of_an_earlier_session_is_stale(make_bench: MakeBench, pki: PkiTree) -> None:
    earlier = make_bench().reach(State.AUTHORIZATION)
    later = make_bench(entropy=counter(1 << 20))
    later.reach(State.AUTHORIZATION)
    stale = earlier.pnc_mode()
    assert stale.gen_challenge != later.pnc_mode().gen_challenge
    header = later.sign(stale)
    response = later.send(later.ask("AuthorizationReq", header=header, pnc_a_req_authorization_mode=stale))
    assert response.response_code.name == "WARNING_ChallengeInvalid"
    assert not later.commands(ports.AuthorizeContract)


def test_after_a_refusal_the_vehicle_may_change_its_mind(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(authorization=(Authorization.PnC, Authorization.EIM))).reach(State.AUTHORIZATION)
    refused = AuthorizationStatus.CERTIFICATE_REVOKED
    bench.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(c.attempt, refused)
    assert bench.go("AuthorizationReq").response_code.name == "WARNING_CertificateRevoked"
    assert bench.send(external(bench)).response_code.name == "OK"
    assert [each.emaid for each in bench.commands(ports.TransactionStarted)] == [""]
    assert bench.go("ServiceDiscoveryReq").vas_list is None  # no contract came along from the refused attempt


def external(bench: Bench) -> object:
    return bench.ask(
        "AuthorizationReq",
        header=bench.header(),
        selected_authorization_service=Authorization.EIM,
        eim_a_req_authorization_mode=EIM_AReqAuthorizationMode(),
        pnc_a_req_authorization_mode=None,
    )


def test_a_mind_changed_while_somebody_decides_is_out_of_order(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(authorization=(Authorization.PnC, Authorization.EIM))).reach(State.AUTHORIZATION)
    del bench.auto[ports.AuthorizeContract]
    bench.post(bench.ask("AuthorizationReq"))
    bench.pass_time(0.5)
    assert bench.send(external(bench)).response_code.name == "FAILED_SequenceError"  # V2G20-1582


@pytest.mark.parametrize("eim", [True, False])
def test_an_operator_can_end_it_while_somebody_decides(make_bench: MakeBench, eim: bool) -> None:
    bench = make_bench(EIM if eim else SeccConfig()).reach(State.AUTHORIZATION)
    bench.auto.clear()
    request = bench.ask("AuthorizationReq")
    assert bench.send(request) is None
    bench.fact(ports.StopRequested("remote"))
    word = "WARNING_EIMAuthorizationFailure" if eim else "WARNING_GeneralPnCAuthorizationError"
    assert (bench.responses[-1].response_code.name, bench.responses[-1].evse_processing.name) == (word, "Finished")
    assert bench.send(request).response_code.name == word  # and nobody else is let in
    bench.go("SessionStopReq")
    bench.pass_time(5.1)
    assert bench.reason == "finished"
    assert not bench.commands(ports.TransactionStarted)


def test_a_vehicle_that_goes_on_polling_after_a_decided_refusal_is_let_go(make_bench: MakeBench) -> None:
    bench = make_bench(EIM).reach(State.AUTHORIZATION)
    bench.auto[ports.AuthorizeExternally] = lambda c: ports.AuthorizationDecided(c.attempt, AuthorizationStatus.REFUSED)
    codes = [bench.go("AuthorizationReq").response_code.name for _ in range(MOST_REFUSALS)]
    assert set(codes) == {"WARNING_EIMAuthorizationFailure"}
    assert bench.go("AuthorizationReq").response_code.name == "FAILED"
    assert bench.reason == "FAILED"


def test_a_customer_has_three_minutes_and_the_vehicle_learns_why_nothing_came(make_bench: MakeBench) -> None:
    bench = make_bench(EIM).reach(State.AUTHORIZATION)
    del bench.auto[ports.AuthorizeExternally]
    request, begin = bench.ask("AuthorizationReq"), bench.now
    while bench.responses[-1].response_code.name in ("OK", "OK_NewSessionEstablished"):
        bench.post(request)
        bench.pass_time(0.5)
    assert bench.responses[-1].response_code.name == "WARNING_EIMAuthorizationFailure"
    assert bench.events("refused")[-1]["reason"] == "nobody_came"
    assert 180 <= bench.now - begin < 181


def test_without_tls_there_is_neither_plug_and_charge_nor_a_contract_to_fetch(make_bench: MakeBench) -> None:
    both = SeccConfig(authorization=(Authorization.PnC, Authorization.EIM), certificate_installation=True)
    bench = make_bench(both, tls=False, can_install=True).reach(State.AUTHORIZATION)
    assert bench.setup is not None
    assert bench.setup.authorization_services == (Authorization.EIM,)
    assert bench.setup.pnc_as_res_authorization_mode is None
    assert not bench.setup.certificate_installation_service
    mode = bench.pnc_mode()  # a vehicle that tries it all the same
    request = bench.ask(
        "AuthorizationReq",
        header=bench.sign(mode),
        selected_authorization_service=Authorization.PnC,
        eim_a_req_authorization_mode=None,
        pnc_a_req_authorization_mode=mode,
    )
    assert bench.send(request).response_code.name == "WARNING_AuthorizationSelectionInvalid"
    assert not bench.commands(ports.AuthorizeContract)


def test_without_tls_a_charger_for_contracts_only_offers_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(tls=False).reach(State.AUTHORIZATION_SETUP)
    response = bench.go("AuthorizationSetupReq")
    assert response.response_code.name == "FAILED"
    assert Authorization.PnC not in response.authorization_services
    assert bench.reason == "FAILED"
