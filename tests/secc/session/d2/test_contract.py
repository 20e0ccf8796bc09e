"""Plug & Charge in ISO 15118-2: chain, challenge and signature, and the CSMS's decision."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from tests.io.tls.support import other_2, pki_2
from tests.iso15118.engine.signing import as_der
from tests.pki.chains import issuer_of
from tests.secc.session.bench import make_tariff
from tests.secc.session.d2.bench import CONFIG
from tests.secc.session.d2.conftest import MakeIso2
from tests.secc.session.d2.contract_bench import BOTH, OPENING, ContractBench, code
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.sequence import State
from v2g.observe import Observe
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

pytestmark = pytest.mark.requirement("R1", "R15")

__all__ = ["other_2", "pki_2"]


@pytest.fixture
def bench(pki_2: PkiTree) -> ContractBench:  # the fixture above
    return ContractBench(pki_2)


def test_a_contract_charges(bench: ContractBench) -> None:
    services = bench.go(*OPENING)
    assert services.payment_option_list.payment_option == (
        types.PaymentOption.Contract,
        types.PaymentOption.ExternalPayment,
    )
    bench.send(bench.ask("PaymentServiceSelectionReq", selected_payment_option=types.PaymentOption.Contract))
    details = bench.present()
    assert code(details) == "OK"
    assert len(details.gen_challenge) == 16
    assert details.evse_time_stamp == bench.utc_ms // 1000
    response = bench.authorize(details.gen_challenge)
    assert (code(response), response.evse_processing.value) == ("OK", "Finished")
    (asked,) = bench.commands(ports.AuthorizeContract)
    (started,) = bench.commands(ports.TransactionStarted)
    assert asked.emaid == started.emaid == emaid_of(load_certificate(bench.tree.chain("contract")[0]))
    assert Observe("authorization", "asked", {"method": "PnC", "emaid": asked.emaid}) in bench.actions
    assert not bench.quirks()
    bench.go("ChargeParameterDiscoveryReq")
    assert bench.records()[:2] == ["SessionStarted", "ContractAuthorized"]
    bench.go("CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq")
    assert bench.session.state is State.DC_CHARGE_LOOP


@pytest.mark.parametrize("payment", ["Contract", "ExternalPayment"])
def test_a_contract_gets_no_prices_since_its_operator_has_not_signed_them(bench: ContractBench, payment: str) -> None:
    bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms)))
    if payment == "Contract":
        bench.authorize(bench.select().present().gen_challenge)
    else:
        bench.go(*OPENING, "PaymentServiceSelectionReq", "AuthorizationReq")
    (offered,) = bench.go("ChargeParameterDiscoveryReq").sa_schedules.sa_schedule_tuple
    assert (offered.sales_tariff is None) is (payment == "Contract")
    assert bench.headers[-1].signature is None


def test_the_decision_is_polled(bench: ContractBench) -> None:
    del bench.auto[ports.AuthorizeContract]
    challenge = bench.select().present().gen_challenge
    assert bench.authorize(challenge) is None
    bench.pass_time(0.5)
    assert bench.responses[-1].evse_processing.value == "Ongoing"
    bench.post(bench.ask("AuthorizationReq"))
    bench.fact(ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED))
    assert bench.responses[-1].evse_processing.value == "Finished"
    assert len(bench.commands(ports.AuthorizeContract)) == 1


@pytest.mark.parametrize("status", [each for each in AuthorizationStatus if each.value != "accepted"])
def test_a_refused_contract_does_not_charge(bench: ContractBench, status: AuthorizationStatus) -> None:
    bench.auto[ports.AuthorizeContract] = lambda c: ports.AuthorizationDecided(c.attempt, status)
    challenge = bench.select().present().gen_challenge
    assert code(bench.authorize(challenge)) == "FAILED"
    assert not bench.commands(ports.TransactionStarted)


@pytest.mark.parametrize("challenge", [bytes(16), None])
def test_the_challenge_must_be_the_given_one(bench: ContractBench, challenge: bytes | None) -> None:
    bench.select().present()
    response = bench.send(bench.ask("AuthorizationReq", gen_challenge=challenge, id="id1"))
    assert code(response) == "FAILED_ChallengeInvalid"
    assert not bench.commands(ports.AuthorizeContract)


def test_another_key_is_no_signature(bench: ContractBench) -> None:
    challenge = bench.select().present().gen_challenge
    bench.key = bench.tree.key("provisioning")
    assert code(bench.authorize(challenge)) == "FAILED_SignatureError"
    assert not bench.commands(ports.AuthorizeContract)


def test_a_chain_to_another_root(bench: ContractBench, other_2: PkiTree) -> None:  # the fixture above
    response = bench.select().present(other_2)
    assert code(response) == "FAILED_CertChainError"
    assert len(response.gen_challenge) == 16, "filled also then [V2G2-825]"


def test_the_back_end_judges_a_chain_to_another_root(pki_2: PkiTree, other_2: PkiTree) -> None:  # the fixtures above
    """C07.FR.06, if it allows that; the vehicle signs as ever."""
    bench = ContractBench(pki_2, central=True)
    bench.key = other_2.key("contract")
    assert code(bench.authorize(bench.select().present(other_2).gen_challenge)) == "OK"
    (asked,) = bench.commands(ports.AuthorizeContract)
    assert (asked.chain, asked.known_root) == (other_2.chain("contract"), False)


def test_broken_certificates(bench: ContractBench) -> None:
    chain = types.CertificateChain(certificate=b"\x30\x03\x02\x01\x01")
    assert code(bench.select().present(contract_signature_cert_chain=chain)) == "FAILED_CertChainError"


def test_an_expired_contract(bench: ContractBench) -> None:
    bench.utc_ms += 20 * 365 * 86_400_000
    assert code(bench.select().present()) == "FAILED_CertificateExpired"


@pytest.mark.parametrize(("seconds", "answer"), [(0, "OK_CertificateExpiresSoon"), (-1, "OK")])
def test_a_contract_that_ends_within_two_weeks_charges_and_is_reported(
    bench: ContractBench, seconds: int, answer: str
) -> None:
    end = load_certificate(bench.tree.chain("contract")[0]).not_valid_after_utc
    bench.utc_ms = round((end - timedelta(days=14, seconds=-seconds)).timestamp() * 1000)
    details = bench.select().present()
    assert code(details) == answer
    assert code(bench.authorize(details.gen_challenge)) == "OK"


@pytest.mark.parametrize(("same", "answer"), [(True, "OK"), (False, "FAILED_CertificateNotAllowedAtThisEVSE")])
def test_a_paused_session_goes_on_with_its_own_contract(pki_2: PkiTree, same: bool, answer: str) -> None:
    first = ContractBench(pki_2).charge()
    first.go("stop")
    first.send(first.ask("SessionStopReq", charging_session=types.ChargingSession.Pause))
    first.pass_time(2.0)
    paused = first.commands(ports.SaveSession)[0].paused
    if not same:
        other = replace(paused.contract, chain=(b"another leaf", *paused.contract.chain[1:]))
        paused = replace(paused, contract=other)
    second = ContractBench(pki_2, paused=paused)
    second.go("SupportedAppProtocolReq")
    joined = second.send(second.ask("SessionSetupReq"), session_id=paused.session_id)
    assert code(joined) == "OK_OldSessionJoined"
    second.go("ServiceDiscoveryReq")
    second.send(second.ask("PaymentServiceSelectionReq", selected_payment_option=types.PaymentOption.Contract))
    details = second.present()
    assert code(details) == answer
    if not same:
        return
    second.auto.pop(ports.AuthorizeContract)  # the CSMS is away; the transaction's authorization stands
    assert second.authorize(details.gen_challenge).evse_processing is types.EVSEProcessing.Finished
    assert not second.commands(ports.TransactionStarted)
    second.go("ChargeParameterDiscoveryReq")
    assert second.session.vehicle is not None


@pytest.mark.parametrize("change", [{"tls": False}, {"config": replace(BOTH, authorization=(Authorization.EIM,))}])
def test_a_paused_session_that_cannot_be_paid_any_more_is_not_joined(pki_2: PkiTree, change: dict[str, Any]) -> None:
    """The vehicle comes back without TLS, or the operator has changed the means meanwhile: it begins another session.
    The charger had joined it, and had no option to list in its next response."""
    first = ContractBench(pki_2).charge()
    first.go("stop")
    first.send(first.ask("SessionStopReq", charging_session=types.ChargingSession.Pause))
    first.pass_time(2.0)
    paused = first.commands(ports.SaveSession)[0].paused
    second = ContractBench(pki_2, paused=paused, **change)
    second.go("SupportedAppProtocolReq")
    begun = second.send(second.ask("SessionSetupReq"), session_id=paused.session_id)
    assert code(begun) == "OK_NewSessionEstablished"
    assert second.commands(ports.ForgetSession)
    options = second.go("ServiceDiscoveryReq").payment_option_list.payment_option
    assert options == (types.PaymentOption.ExternalPayment,)


class DerBench(ContractBench):
    """A vehicle that writes the values of its signatures in DER."""

    def wrapped(self, session_id: bytes, body: Any) -> V2G_Message:
        message = super().wrapped(session_id, body)
        signature = message.header.signature
        if signature is None:
            return message
        return replace(message, header=replace(message.header, signature=as_der(signature)))


def test_a_signature_value_in_der_is_taken_and_named(pki_2: PkiTree) -> None:
    bench = DerBench(pki_2)
    assert code(bench.authorize(bench.select().present().gen_challenge)) == "OK"
    assert Observe("session", "quirk_tolerated", {"quirk": "signature_form"}) in bench.actions


@pytest.mark.parametrize(("emaid", "answer"), [("DEV2GC99999999", "FAILED_NoCertificateAvailable"), (None, "OK")])
def test_the_emaid_is_that_of_the_certificate(bench: ContractBench, emaid: str | None, answer: str) -> None:
    own = emaid_of(load_certificate(bench.tree.chain("contract")[0]))
    written = own.lower() if emaid is None else emaid
    assert code(bench.select().present(emaid=written)) == answer
    assert bench.quirks() == (["emaid_form"] if emaid is None else [])


def test_without_tls_there_are_no_contracts(make_iso2: MakeIso2) -> None:
    bench = make_iso2(BOTH)
    services = bench.go(*OPENING)
    assert services.payment_option_list.payment_option == (types.PaymentOption.ExternalPayment,)
    request = bench.ask("PaymentServiceSelectionReq", selected_payment_option=types.PaymentOption.Contract)
    assert code(bench.send(request)) == "FAILED_PaymentSelectionInvalid"


def test_without_tls_a_charger_for_contracts_only_has_nothing_to_offer(make_iso2: MakeIso2) -> None:
    bench = make_iso2(replace(CONFIG, authorization=(Authorization.PnC,)))
    assert code(bench.go("SupportedAppProtocolReq")) == "Failed_NoNegotiation"


@pytest.mark.requirement("R2", "R15")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_contract_on_a_revocation_list_is_refused_before_the_back_end_is_asked(pki_2: PkiTree, place: int) -> None:
    """The contract itself, or one of its sub-CAs."""
    serial = load_certificate(pki_2.chain("contract")[place]).serial_number
    issuer = issuer_of(pki_2, ("mo/sub2", "mo/sub1", "mo/root")[place])
    at = datetime.now(UTC)

    def presented(revoked: int) -> str:
        crl = make_crl(issuer, [Revoked(revoked, at)], number=1, at=at, validity=timedelta(days=30))
        bench = ContractBench(pki_2, crls=(load_crl(crl),)).select()
        found = code(bench.present())
        assert not bench.commands(ports.AuthorizeContract)
        return found

    assert (presented(serial), presented(serial + 1)) == ("FAILED_CertificateRevoked", "OK")
