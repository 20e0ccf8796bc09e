"""Contracts of ISO 15118-2: requests and answers pass the charger unchanged; one that comes late is none."""

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.ports import ContractAnswered
from tests.io.tls.support import other_2, pki_2
from tests.secc.session.d2.contract_bench import (
    BOTH,
    INSTALL,
    OFFERING,
    OPENING,
    UPDATE,
    ContractBench,
    answer,
    code,
    request,
)
from v2g import exi
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_station.blocks.security.certificates import ContractAnswer, ContractStatus

__all__ = ["other_2", "pki_2"]

NOTHING = "FAILED_NoCertificateAvailable"
KINDS = pytest.mark.parametrize("name", [INSTALL, UPDATE])


@pytest.fixture
def bench(pki_2: PkiTree) -> ContractBench:  # the fixture above
    return ContractBench(pki_2, OFFERING, can_install=True)


def installed(bench: ContractBench, payload: bytes, status: ContractStatus = "answered", attempt: int = 1) -> None:
    bench.fact(ContractAnswered(attempt, ContractAnswer(status, payload)))


def test_the_service_has_two_parameter_sets(bench: ContractBench) -> None:
    services = bench.go(*OPENING).service_list.service
    assert [(each.service_id, each.service_category.value) for each in services] == [(2, "ContractCertificate")]
    described = bench.send(bench.ask("ServiceDetailReq", service_id=2)).service_parameter_list.parameter_set
    sets = {each.parameter_set_id: [p.string_value for p in each.parameter] for each in described}
    assert sets == {1: ["Installation"], 2: ["Update"]}


@pytest.mark.parametrize(("number", "expected"), [(1, "OK"), (2, "OK"), (3, "FAILED_ServiceSelectionInvalid")])
def test_the_selected_set_is_one_of_them(bench: ContractBench, number: int, expected: str) -> None:
    bench.go(*OPENING)
    chosen = (types.SelectedService(service_id=1), types.SelectedService(service_id=2, parameter_set_id=number))
    response = bench.send(
        bench.ask(
            "PaymentServiceSelectionReq",
            selected_payment_option=types.PaymentOption.Contract,
            selected_service_list=types.SelectedServiceList(selected_service=chosen),
        )
    )
    assert code(response) == expected


@pytest.mark.parametrize("why", ["configuration", "back end", "TLS", "category", "scope"])
def test_where_it_is_not_offered_it_is_out_of_order(pki_2: PkiTree, why: str) -> None:
    config = BOTH if why == "configuration" else OFFERING
    bench = ContractBench(pki_2, config, can_install=why != "back end", tls=why != "TLS")
    bench.go(*OPENING[:2])
    wanted = {"category": {"service_category": types.ServiceCategory.Internet}, "scope": {"service_scope": "elsewhere"}}
    assert bench.send(bench.ask("ServiceDiscoveryReq", **wanted.get(why, {}))).service_list is None
    if why == "TLS":
        return
    bench.send(bench.ask("PaymentServiceSelectionReq", selected_payment_option=types.PaymentOption.Contract))
    assert code(bench.send(request(bench, INSTALL))) == "FAILED_SequenceError"
    assert not bench.commands(ports.RequestContract)


@KINDS
def test_request_and_answer_pass_without_a_changed_byte(bench: ContractBench, name: str) -> None:
    sent = request(bench.select(), name)
    message = exi.encode(bench.wrapped(bench.session.session_id, sent))
    bench.raw(frame(PayloadType.SAP, message))
    (command,) = bench.commands(ports.RequestContract)
    assert command.request.exi == message
    assert (command.request.schema, command.request.update) == ("urn:iso:15118:2:2013:MsgDef", name == UPDATE)
    assert (command.request.maximum, command.request.within_s) == (None, 4.5)
    payload = answer(bench, name)
    bench.pass_time(4.0)
    installed(bench, payload)
    (*_, last) = [each for each in bench.actions if isinstance(each, Send)]
    assert last.data[8:] == payload
    assert bench.session.state is State.CONTRACT_INSTALLED
    assert not bench.events("late_response")
    assert code(bench.present()) == "OK"


@KINDS
def test_an_answer_that_does_not_come_in_time(bench: ContractBench, name: str) -> None:
    bench.post(request(bench.select(), name))
    bench.pass_time(4.4)
    assert not isinstance(bench.responses[-1], common.CertificateInstallationRes | common.CertificateUpdateRes)
    bench.pass_time(0.1)
    assert code(bench.responses[-1]) == NOTHING
    assert [each["reason"] for each in bench.events("request_failed")] == ["no contract: no_answer_in_time"]
    installed(bench, answer(bench, name))
    bench.pass_time(2.0)
    assert bench.reason == NOTHING


@KINDS
def test_another_request_before_the_answer(bench: ContractBench, name: str) -> None:
    bench.post(request(bench.select(), name))
    assert code(bench.send(request(bench, name))) == "FAILED_SequenceError"


@KINDS
def test_an_answer_to_an_earlier_request_is_ignored(bench: ContractBench, name: str) -> None:
    bench.post(request(bench.select(), name))
    installed(bench, answer(bench, name), attempt=7)
    assert bench.session.state is State.PAYMENT_DETAILS


@KINDS
@pytest.mark.parametrize("wrong", ["key", "unsigned", "altered"])
def test_a_wrong_signature(bench: ContractBench, name: str, wrong: str) -> None:
    bench.select()
    match wrong:
        case "key":
            bench.key, bench.provisioning = bench.provisioning, bench.key
        case "unsigned":
            bench.signs = False
        case "altered":
            bench.alters = True
    assert code(bench.send(request(bench, name))) == "FAILED_SignatureError"
    assert not bench.commands(ports.RequestContract)


@KINDS
def test_the_signature_may_be_left_to_the_back_end(pki_2: PkiTree, name: str) -> None:
    bench = ContractBench(pki_2, replace(OFFERING, check_installation_request=False), can_install=True)
    bench.signs = False
    assert bench.select().send(request(bench, name)) is None
    assert bench.commands(ports.RequestContract)


@KINDS
def test_another_session(bench: ContractBench, name: str) -> None:
    assert code(bench.select().send(request(bench, name), session_id=b"somebody")) == "FAILED_UnknownSession"


@KINDS
def test_roots_that_the_charger_does_not_know_are_for_the_back_end(
    bench: ContractBench, other_2: PkiTree, name: str
) -> None:
    bench.key, bench.provisioning = other_2.key("contract"), other_2.key("provisioning")
    assert bench.select().send(request(bench, name, other_2)) is None
    assert bench.commands(ports.RequestContract)


def test_an_expired_contract_is_not_updated(bench: ContractBench) -> None:
    bench.utc_ms += 20 * 365 * 86_400_000
    assert code(bench.select().send(request(bench, UPDATE))) == "FAILED_CertificateExpired"


def test_an_update_names_the_contract_of_its_certificate(bench: ContractBench) -> None:
    response = bench.select().send(request(bench, UPDATE, emaid="DEV2GC99999999"))
    assert code(response) == "FAILED_NoCertificateAvailable"


def test_a_broken_certificate(bench: ContractBench) -> None:
    broken = request(bench.select(), INSTALL, oem_provisioning_cert=b"\x30\x03\x02\x01\x01")
    assert code(bench.send(broken)) == "FAILED_CertChainError"


@KINDS
@pytest.mark.parametrize("wrong", ["session", "kind", "garbage", "empty", "failed", "unreachable"])
def test_an_answer_that_is_none(bench: ContractBench, name: str, wrong: str) -> None:
    bench.post(request(bench.select(), name))
    status = {"failed": "failed", "unreachable": "unreachable"}
    payload = {
        "session": lambda: answer(bench, name, session=b"somebody"),
        "kind": lambda: answer(bench, UPDATE if name == INSTALL else INSTALL),
        "garbage": lambda: b"\x80\x00\x00",
        "failed": lambda: answer(bench, name),
    }.get(wrong, bytes)()
    installed(bench, payload, status.get(wrong, "answered"))
    assert code(bench.responses[-1]) == NOTHING
    bench.pass_time(2.0)
    assert bench.reason == NOTHING


@KINDS
@pytest.mark.parametrize(
    ("answered", "forwarded"),
    [
        ("FAILED_CertificateRevoked", "FAILED_CertificateRevoked"),
        ("FAILED_CertificateExpired", "FAILED_CertificateExpired"),
        ("FAILED_ContractCanceled", None),
        ("FAILED_ChallengeInvalid", NOTHING),
    ],
)
def test_a_refusal_of_the_back_end(bench: ContractBench, name: str, answered: str, forwarded: str | None) -> None:
    """V2G2-558; codes that have no place in the response are not passed on."""
    bench.post(request(bench.select(), name))
    installed(bench, answer(bench, name, answered=answered), "failed")
    expected = forwarded or (answered if name == UPDATE else NOTHING)
    assert code(bench.responses[-1]) == expected
