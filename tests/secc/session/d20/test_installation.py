"""A charger passes requests for contracts on and the answers back, unchanged; and says in time that there is none."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.ports import ContractAnswered
from tests.iso15118.d20.contracts import NOW, drawn, own_contract, service
from tests.secc.session.bench import Bench
from tests.secc.session.conftest import MakeBench
from v2g import exi
from v2g.iso15118.d20.installation import InstallationRequest, installation_data, make_request, make_response, refusal
from v2g.iso15118.d20.messages.certificates import EMAIDList
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader, Processing, ResponseCode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.pki.profile import KeyKind
from v2g_station.blocks.security.certificates import ContractAnswer, ContractStatus

OFFERING = SeccConfig(certificate_installation=True)
NAME = "CertificateInstallationReq"
replace = msgspec.structs.replace


@pytest.fixture
def asking(make_bench: MakeBench) -> Bench:
    """Return a bench whose next request may be the CertificateInstallationReq."""
    return make_bench(OFFERING, can_install=True).reach(State.AUTHORIZATION)


def answer(bench: Bench, *, remaining: int = 0, session: bytes | None = None, **change: Any) -> bytes:
    """Return what a back end that knows the vehicle would answer."""
    header = MessageHeader(session_id=session or bench.session.session_id, time_stamp=bench.utc_ms // 1000)
    data = installation_data(
        own_contract(bench.pki), bench.pki.key("provisioning").public_key, "WMIV2GENGINE00001X", drawn()
    )
    response = make_response(header, service(bench.pki), data, remaining=remaining)
    return exi.encode(replace(response, **change))


def installed(bench: Bench, response: bytes, *, attempt: int = 1, remaining: int | None = None) -> None:
    bench.fact(ContractAnswered(attempt, ContractAnswer("answered", response, remaining)))


def last(bench: Bench) -> tuple[str, str]:
    response = bench.responses[-1]
    assert isinstance(response, CertificateInstallationRes)
    assert response.header.session_id == bench.session.session_id
    return response.response_code.name, response.evse_processing.name


def last_bytes(bench: Bench) -> bytes:
    """Return the payload of the newest response."""
    sent: bytes = [each for each in bench.actions if isinstance(each, Send)][-1].data
    return sent[8:]


def test_request_and_response_pass_through_without_a_changed_byte(asking: Bench) -> None:
    request = asking.ask(NAME)
    asking.post(request)
    command = asking.commands(ports.RequestContract)[0]
    assert command.request.exi == exi.encode(request)
    assert (command.request.maximum, command.request.emaids) == (3, ())
    response = answer(asking)
    installed(asking, response)
    assert last_bytes(asking) == response
    assert last(asking) == ("OK", "Finished")
    assert asking.session.state is State.AUTHORIZATION
    assert asking.go("AuthorizationReq").response_code.name == "OK"


def test_what_the_schema_leaves_to_the_encoder_is_passed_on_as_it_came(asking: Bench) -> None:
    """Another maker's encoder may write the same message in other bits: still not a byte is ours."""
    asking.post(asking.ask(NAME))
    response = answer(asking) + b"\0"  # padding after the document
    installed(asking, response)
    if last(asking)[0] == "OK":  # our decoder takes it, so it goes on as it is
        assert last_bytes(asking) == response


def test_the_vehicles_wishes_are_sent_beside_the_request(asking: Bench) -> None:
    emaids = ("DEV2GC00000001", "FRXXXC00000002")
    asking.post(asking.ask(NAME, prioritized_emaids=EMAIDList(emaid=emaids), maximum_contract_certificate_chains=7))
    command = asking.commands(ports.RequestContract)[0]
    assert (command.request.maximum, command.request.emaids) == (7, emaids)


def test_the_vehicle_polls_until_the_back_end_has_answered(asking: Bench) -> None:
    """V2G20-1972."""
    request = asking.ask(NAME)
    asking.post(request)
    for seconds in (1, 2, 3):
        asking.pass_time(asking.config.poll_hold_s)
        assert last(asking) == ("OK", "Ongoing")
        assert asking.session.state is State.CERTIFICATE_INSTALLATION
        later = replace(request, header=replace(request.header, time_stamp=request.header.time_stamp + seconds))
        asking.post(later)
    assert len(asking.commands(ports.RequestContract)) == 1
    installed(asking, answer(asking))
    assert last(asking) == ("OK", "Finished")


def test_without_holding_a_poll_is_answered_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(replace(OFFERING, poll_hold_s=0.0), can_install=True).reach(State.AUTHORIZATION)
    assert bench.go(NAME).evse_processing is Processing.Ongoing


def test_after_55_s_the_charger_says_that_there_is_none(asking: Bench) -> None:
    """V2G20-2207, -2225: before the vehicle gives up at 60 s."""
    began = asking.now
    asking.post(asking.ask(NAME))
    while asking.now - began < 54:
        asking.pass_time(0.5)
        assert last(asking) == ("OK", "Ongoing")
        asking.pass_time(0.5)
        asking.post(asking.ask(NAME))
    while last(asking)[1] == "Ongoing":
        asking.pass_time(0.5)
        if last(asking)[1] == "Ongoing":
            asking.post(asking.ask(NAME))
    assert last(asking) == ("WARNING_NoCertificateAvailable", "Finished")
    assert 55 <= asking.now - began < 56
    assert asking.session.state is State.AUTHORIZATION
    installed(asking, answer(asking))  # too late
    assert asking.go("AuthorizationReq").response_code.name == "OK"


def test_several_contracts_come_one_by_one(asking: Bench) -> None:
    """V2G20-1973, -1975: nothing else is in order until none remains."""
    for attempt, remaining in ((1, 2), (2, 1), (3, 0)):
        asking.post(asking.ask(NAME))
        installed(asking, answer(asking, remaining=remaining), attempt=attempt)
        assert last(asking) == ("OK", "Finished")
        expected = State.CERTIFICATE_INSTALLATION if remaining else State.AUTHORIZATION
        assert asking.session.state is expected
    assert [each.attempt for each in asking.commands(ports.RequestContract)] == [1, 2, 3]


def test_an_authorization_while_contracts_remain_is_out_of_order(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    installed(asking, answer(asking, remaining=1))
    assert asking.go("AuthorizationReq").response_code.name == "FAILED_SequenceError"


def test_the_number_that_the_back_end_sends_beside_the_response_holds(asking: Bench) -> None:
    """OCPP 2.1, M01.FR.05. The service's signature does not cover it."""
    asking.post(asking.ask(NAME))
    response = answer(asking, remaining=0)
    installed(asking, response, remaining=2)
    assert asking.responses[-1].remaining_contract_certificate_chains == 2
    reported = exi.decode(response, COMMON_MESSAGES)
    assert replace(reported, remaining_contract_certificate_chains=2) == asking.responses[-1]


def test_a_number_that_no_field_holds_changes_nothing(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    response = answer(asking, remaining=2)
    installed(asking, response, remaining=256)
    assert last_bytes(asking) == response


def test_the_same_number_changes_nothing(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    response = answer(asking, remaining=2)
    installed(asking, response, remaining=2)
    assert last_bytes(asking) == response


@pytest.mark.parametrize("code", [each for each in ResponseCode if each.name.startswith("WARNING")])
def test_a_refusal_by_the_back_end_is_passed_on(asking: Bench, code: ResponseCode) -> None:
    asking.post(asking.ask(NAME))
    header = MessageHeader(session_id=asking.session.session_id, time_stamp=1)
    response = exi.encode(refusal(header, code))
    installed(asking, response)
    assert last_bytes(asking) == response
    assert asking.session.state is State.AUTHORIZATION
    asking.post(asking.ask(NAME))  # V2G20-2224
    assert len(asking.commands(ports.RequestContract)) == 2


def test_a_failure_by_the_back_end_ends_the_session(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    header = MessageHeader(session_id=asking.session.session_id, time_stamp=1)
    installed(asking, exi.encode(refusal(header, ResponseCode.FAILED_SignatureError)))
    assert last(asking) == ("FAILED_SignatureError", "Finished")
    assert asking.reason == "FAILED_SignatureError"


@pytest.mark.parametrize("status", ["failed", "unreachable"])
def test_a_back_end_that_fails_leaves_no_contract(asking: Bench, status: ContractStatus) -> None:
    asking.post(asking.ask(NAME))
    asking.fact(ContractAnswered(1, ContractAnswer(status)))
    assert last(asking) == ("WARNING_NoCertificateAvailable", "Finished")
    assert asking.events("refused")[-1]["reason"] == status


def test_a_failed_back_end_may_say_why_in_the_vehicles_words_and_nothing_else(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    asking.fact(ContractAnswered(1, ContractAnswer("failed", answer(asking))))
    assert last(asking) == ("WARNING_NoCertificateAvailable", "Finished")
    asking.post(asking.ask(NAME))
    header = MessageHeader(session_id=asking.session.session_id, time_stamp=1)
    response = exi.encode(refusal(header, ResponseCode.WARNING_NoContractMatchingPCIDFound))
    asking.fact(ContractAnswered(2, ContractAnswer("failed", response)))
    assert last_bytes(asking) == response


ANSWERS: dict[str, Callable[[Bench], bytes]] = {
    "nothing": lambda bench: b"",
    "rubbish": lambda bench: bytes(range(200)),
    "cut short": lambda bench: answer(bench)[:200],
    "a request": lambda bench: exi.encode(bench.ask(NAME)),
    "another session": lambda bench: answer(bench, session=b"somebody"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_is_no_response_for_this_session_is_kept_from_the_vehicle(asking: Bench, what: str) -> None:
    asking.post(asking.ask(NAME))
    installed(asking, ANSWERS[what](asking))
    assert last(asking) == ("WARNING_NoCertificateAvailable", "Finished")
    assert asking.session.state is State.AUTHORIZATION


def test_an_answer_to_an_earlier_request_is_not_taken_for_this_one(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    asking.fact(ContractAnswered(1, ContractAnswer("failed")))
    asking.post(asking.ask(NAME))
    count = len(asking.responses)
    installed(asking, answer(asking), attempt=1)
    assert len(asking.responses) == count
    installed(asking, answer(asking), attempt=2)
    assert last(asking) == ("OK", "Finished")


def test_a_back_ends_ongoing_makes_the_vehicle_ask_again(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    header = MessageHeader(session_id=asking.session.session_id, time_stamp=1)
    installed(asking, exi.encode(refusal(header, ResponseCode.OK, processing=Processing.Ongoing)))
    assert last(asking) == ("OK", "Ongoing")
    asking.post(asking.ask(NAME))
    assert len(asking.commands(ports.RequestContract)) == 2


class TestOffer:
    """CertificateInstallationService is true only where there is somebody to ask."""

    @pytest.mark.parametrize(("config", "online"), [(OFFERING, False), (SeccConfig(), True), (SeccConfig(), False)])
    def test_what_is_not_offered_is_out_of_order(self, make_bench: MakeBench, config: SeccConfig, online: bool) -> None:
        bench = make_bench(config, can_install=online).reach(State.AUTHORIZATION)
        assert bench.setup is not None
        assert bench.setup.certificate_installation_service is False
        assert bench.go(NAME).response_code.name == "FAILED_SequenceError"

    def test_it_is_offered_when_the_back_end_has_come(self, make_bench: MakeBench) -> None:
        bench = make_bench(OFFERING)
        bench.fact(ports.InstallationAvailable(available=True))
        bench.reach(State.AUTHORIZATION)
        assert bench.setup is not None
        assert bench.setup.certificate_installation_service is True

    def test_a_back_end_that_went_meanwhile_has_nothing(self, asking: Bench) -> None:
        asking.fact(ports.InstallationAvailable(available=False))
        assert asking.go(NAME).response_code.name == "WARNING_NoCertificateAvailable"
        assert not asking.commands(ports.RequestContract)


class TestRequest:
    """What is wrong with a request by itself does not reach the back end."""

    def refused(self, bench: Bench, request: CertificateInstallationReq) -> str:
        response = bench.send(request)
        assert not bench.commands(ports.RequestContract)
        return str(response.response_code.name)

    def test_a_missing_signature_ends_the_session(self, asking: Bench) -> None:
        """V2G20-461."""
        assert self.refused(asking, asking.ask(NAME, header=asking.header())) == "FAILED_SignatureError"
        assert asking.reason == "FAILED_SignatureError"

    def test_a_signature_by_another_key_ends_the_session(self, asking: Bench) -> None:
        request = asking.ask(NAME)
        header = asking.sign(request.oem_provisioning_certificate_chain, key="vehicle")
        assert self.refused(asking, replace(request, header=header)) == "FAILED_SignatureError"

    def test_where_the_signature_is_left_to_the_back_end_it_is_passed_on(self, make_bench: MakeBench) -> None:
        config = replace(OFFERING, check_installation_request=False)
        bench = make_bench(config, can_install=True).reach(State.AUTHORIZATION)
        bench.post(bench.ask(NAME, header=bench.header()))
        assert bench.commands(ports.RequestContract)

    def test_bytes_in_place_of_a_certificate(self, asking: Bench) -> None:
        request = asking.ask(NAME)
        chain = replace(request.oem_provisioning_certificate_chain, certificate=b"leaf")
        changed = replace(request, oem_provisioning_certificate_chain=chain)
        assert self.refused(asking, changed) == "WARNING_CertificateValidationError"
        assert asking.session.state is State.AUTHORIZATION

    @pytest.mark.parametrize(
        ("days", "code"),
        [(-400, "WARNING_CertificateNotYetValid"), (31 * 366, "WARNING_CertificateExpired")],  # V2G20-2203, -2204
    )
    def test_a_chain_out_of_its_time(self, pki: PkiTree, days: int, code: str) -> None:
        utc_ms = int((NOW + timedelta(days=days)).timestamp() * 1000)
        bench = Bench(pki, utc_ms, OFFERING, can_install=True).reach(State.AUTHORIZATION)
        assert self.refused(bench, bench.ask(NAME)) == code

    def test_a_certificate_that_is_for_something_else(self, asking: Bench) -> None:
        pki = asking.pki
        wish = InstallationRequest(roots=pki.anchors("v2g"), maximum=1)
        request = make_request(asking.header(), pki.chain("vehicle"), pki.key("vehicle"), wish)
        assert self.refused(asking, request) == "WARNING_CertificateValidationError"

    def test_a_maker_that_is_not_known_here_is_for_the_back_end_to_judge(
        self, make_bench: MakeBench, tmp_path: Path
    ) -> None:
        foreign = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=KeyKind.ED448))
        bench = make_bench(OFFERING, can_install=True).reach(State.AUTHORIZATION)
        bench.pki = foreign
        bench.post(bench.ask(NAME))
        assert bench.commands(ports.RequestContract)

    def test_a_request_that_changes_while_it_is_answered_is_out_of_order(self, asking: Bench) -> None:
        asking.post(asking.ask(NAME))
        asking.pass_time(0.5)
        response = asking.send(asking.ask(NAME, maximum_contract_certificate_chains=9))
        assert response.response_code.name == "FAILED_SequenceError"


class TestRenewal:
    """After a contract that expires soon its successor may be fetched (V2G20-2218, -2221)."""

    def test_it_is_fetched_and_charging_goes_on_with_the_old_one(self, make_bench: MakeBench) -> None:
        bench = make_bench(OFFERING, can_install=True)
        bench.utc_ms += (2 * 365 - 7) * 86_400_000  # a week before the contract ends; the sub-CAs live longer
        bench.reach(State.AUTHORIZATION)
        assert bench.go("AuthorizationReq").response_code.name == "OK_CertificateExpiresSoon"
        bench.post(bench.ask(NAME))
        installed(bench, answer(bench, remaining=1))
        assert bench.session.state is State.CERTIFICATE_RENEWAL
        bench.post(bench.ask(NAME))
        installed(bench, answer(bench), attempt=2)
        assert bench.session.state is State.CERTIFICATE_EXPIRES_SOON
        bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq")
        assert len(bench.commands(ports.TransactionStarted)) == 1
        assert not bench.reason


@pytest.mark.parametrize("interop", [True, False])
def test_a_request_in_a_frame_of_the_handshake_is_taken_from_interop_peers(
    make_bench: MakeBench, interop: bool
) -> None:
    bench = make_bench(OFFERING, can_install=True, interop=interop).reach(State.AUTHORIZATION)
    request = bench.ask(NAME)
    bench.post(request, PayloadType.SAP)
    if not interop:
        assert bench.reason == "undecodable"
        return
    assert bench.commands(ports.RequestContract)[0].request.exi == exi.encode(request)
    installed(bench, answer(bench))
    assert last(bench) == ("OK", "Finished")
    assert bench.payload_types[-1] == PayloadType.COMMON


def test_a_session_may_be_stopped_while_the_back_end_works(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    asking.pass_time(0.5)
    assert asking.go("SessionStopReq").response_code.name == "OK"


def test_a_refused_vehicle_may_be_authorised_by_what_it_has(asking: Bench) -> None:
    asking.post(asking.ask(NAME))
    asking.fact(ContractAnswered(1, ContractAnswer("failed")))
    assert asking.go("AuthorizationReq").response_code.name == "OK"
    assert asking.session.state is State.SERVICE_DISCOVERY


def test_a_bad_contract_in_the_tree_is_no_matter_of_the_chargers(make_bench: MakeBench, tmp_path: Path) -> None:
    """A service under an unknown root is for the vehicle to refuse: the charger passes it on."""
    options = PkiOptions(cps=TreeFault.FOREIGN_ROOT, key_kind=KeyKind.ED448)
    tree = make_pki(tmp_path, now=NOW - timedelta(minutes=1), options=options)
    bench = make_bench(OFFERING, can_install=True, pki=tree).reach(State.AUTHORIZATION)
    bench.post(bench.ask(NAME))
    response = answer(bench)
    installed(bench, response)
    assert last_bytes(bench) == response
