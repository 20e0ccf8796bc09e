"""Plug and charge of ISO 15118-2: the contract's chain, the signed challenge, receipts and signed tariffs."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from evcc.session.contracts import RETRY_MS, Contract
from evcc.session.paused import PausedSession
from evcc.session.ports import RefuseContract
from evcc.session.settings import AuthorizationConfig
from tests.evcc.session.d2.charger import AC, CHALLENGE, DC, Bench2
from tests.evcc.session.d2.contract import CONTRACT, EXTERNAL, KEY, OWN, SUB_KEY, certificate
from tests.evcc.session.d2.session import CHEAP_LATER, PLAN, offer
from tests.evcc.session.message_bench import SESSION_ID
from v2g.errors import SignatureError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.schedules import planned
from v2g.iso15118.engine.dc_status import Stop
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R1", "R15")


NEWER = Contract((certificate("DEABCC987654321", KEY, days=500), *OWN.chain[1:]), SoftwareKey(KEY))
BY_CONTRACT = replace(DC, authorization=AuthorizationConfig())


def bench_with(config: Any = BY_CONTRACT, **options: Any) -> Bench2:
    bench = Bench2(config, **{"scale": 20, "contracts": (OWN,), **options})
    bench.charger.payment = (CONTRACT, EXTERNAL)
    return bench


def of(bench: Bench2, kind: type) -> list[Any]:
    return [each for each in bench.requests if type(each) is kind]


def signature(bench: Bench2, request: Any) -> Any:
    """Return the signature in the header of a request."""
    return bench.headers[next(n for n, each in enumerate(bench.requests) if each is request)].signature


@pytest.mark.parametrize("config", [BY_CONTRACT, replace(AC, authorization=AuthorizationConfig())])
def test_a_whole_session_by_contract(config: Any) -> None:
    bench = bench_with(config)
    bench.charger.receipts = 2
    bench.run()
    assert bench.closed == "finished"
    assert bench.names()[3:7] == [
        "PaymentServiceSelectionReq",
        "PaymentDetailsReq",
        "AuthorizationReq",
        "ChargeParameterDiscoveryReq",
    ]
    assert of(bench, common.PaymentServiceSelectionReq)[0].selected_payment_option is CONTRACT
    assert len(of(bench, common.MeteringReceiptReq)) == 2


def test_the_chain_is_sent_issuer_of_the_leaf_first() -> None:
    bench = bench_with()
    bench.run_to("AuthorizationReq")
    (request,) = of(bench, common.PaymentDetailsReq)
    assert request.emaid == "DEABCC123456789"
    assert request.contract_signature_cert_chain.certificate == OWN.chain[0]
    assert request.contract_signature_cert_chain.sub_certificates.certificate == OWN.chain[1:]


def test_the_challenge_is_signed_once() -> None:
    bench = bench_with()
    bench.charger.ongoing["AuthorizationReq"] = 3
    bench.run_to("ChargeParameterDiscoveryReq")
    first, *repeated = of(bench, common.AuthorizationReq)
    assert first.gen_challenge == CHALLENGE
    assert signatures.verify(signature(bench, first), first, KEY.public_key()) == frozenset()
    with pytest.raises(SignatureError):
        signatures.verify(signature(bench, first), first, SUB_KEY.public_key())
    assert repeated == [common.AuthorizationReq()] * 3
    assert [signature(bench, each) for each in repeated] == [None] * 3


def test_receipts_are_signed_readings_of_this_session() -> None:
    bench = bench_with()
    bench.charger.receipts = 1
    bench.run()
    (receipt,) = of(bench, common.MeteringReceiptReq)
    assert (receipt.session_id, receipt.sa_schedule_tuple_id) == (SESSION_ID, 1)
    assert receipt.meter_info.meter_reading == 1234
    assert signatures.verify(signature(bench, receipt), receipt, KEY.public_key()) == frozenset()
    assert bench.seen("metering", "confirmed") == [{"charged_wh": 1234, "discharged_wh": None}]


def test_a_charger_that_always_requires_a_receipt_does_not_hurry_the_loop() -> None:
    bench, others = bench_with(), bench_with()
    bench.charger.receipts = 1_000_000
    bench.run()
    others.run()
    receipts = of(bench, common.MeteringReceiptReq)
    assert len(of(others, common.CurrentDemandReq)) >= len(receipts) > 5
    assert bench.closed == "finished"


def test_a_receipt_precedes_a_renegotiation() -> None:
    """It is for the schedule before [V2G2-903]."""
    bench = bench_with()
    bench.charger.receipts = bench.charger.renegotiate = 1
    bench.run()
    names = bench.names()
    begin = names.index("MeteringReceiptReq")
    assert names[begin + 1 : begin + 4] == ["CurrentDemandReq", "PowerDeliveryReq", "ChargeParameterDiscoveryReq"]


@pytest.mark.parametrize("stop", Stop)
@pytest.mark.parametrize("config", [BY_CONTRACT, replace(AC, authorization=AuthorizationConfig())], ids=["dc", "ac"])
def test_a_receipt_precedes_an_orderly_stop_only(config: Any, stop: Stop) -> None:
    bench = bench_with(config)
    bench.charger.receipts, bench.charger.stop = 1, stop
    bench.run()
    signed = len(of(bench, common.MeteringReceiptReq))
    alternating = config is not BY_CONTRACT  # its status has no codes
    assert signed == (alternating or stop in (Stop.REQUESTED, Stop.UTILITY))
    assert len(bench.seen("stop", "stopping")) == 1
    names = bench.names()
    assert "PowerDeliveryReq" in names[-3:]
    if signed:
        loop = "ChargingStatusReq" if alternating else "CurrentDemandReq"
        begin = names.index("MeteringReceiptReq")
        assert names[begin + 1 : begin + 3] == [loop, "PowerDeliveryReq"]


@pytest.mark.parametrize("contracts", [(), (OWN,)])
def test_who_does_not_pay_by_contract_sends_no_receipt(contracts: tuple[Contract, ...]) -> None:
    config = replace(DC, authorization=AuthorizationConfig(allow_eim=True, prefer_eim=True))
    bench = bench_with(config, contracts=contracts)
    bench.charger.receipts = 2
    bench.run()
    assert bench.closed == "finished"
    assert of(bench, common.MeteringReceiptReq) == []


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("prefers", [True, False])
@pytest.mark.parametrize("offered", [(CONTRACT,), (EXTERNAL,), (CONTRACT, EXTERNAL)])
def test_a_contract_is_presented_only_over_tls(tls: bool, allowed: bool, prefers: bool, offered: Any) -> None:
    config = replace(DC, authorization=AuthorizationConfig(allow_eim=allowed, prefer_eim=prefers))
    bench = bench_with(config, tls=tls)
    bench.charger.payment = offered
    bench.run()
    selected = [each.selected_payment_option for each in of(bench, common.PaymentServiceSelectionReq)]
    if EXTERNAL in offered and prefers:
        assert selected == [EXTERNAL]
    elif CONTRACT in offered and tls:
        assert selected == [CONTRACT]
    elif EXTERNAL in offered and allowed:
        assert selected == [EXTERNAL]
    else:
        assert bench.closed == "no_payment_option"
    assert bool(of(bench, common.PaymentDetailsReq)) is (CONTRACT in selected)


def test_a_contract_that_ends_soon_is_used_and_reported() -> None:
    bench = bench_with()
    bench.charger.codes["PaymentDetailsReq"] = types.ResponseCode.OK_CertificateExpiresSoon
    bench.run()
    assert bench.closed == "finished"
    assert bench.seen("authorization", "contract_expires_soon") == [{"emaid": "DEABCC123456789"}]


@pytest.mark.parametrize(
    ("name", "remembered"),
    [("FAILED_CertificateRevoked", True), ("FAILED_ContractCanceled", True), ("FAILED", False)],
)
def test_a_refused_contract_is_remembered_for_an_hour(name: str, remembered: bool) -> None:
    """Its session ends at once. FAILED alone says nothing of the contract."""
    bench = bench_with(contracts=(OWN, NEWER))
    bench.run_to("PaymentDetailsReq")
    bench.altered(response_code=types.ResponseCode[name])
    assert bench.closed == name
    refusals = [each for each in bench.commands if isinstance(each, RefuseContract)]
    assert refusals == ([RefuseContract(NEWER.chain[0], bench.utc_ms + RETRY_MS)] if remembered else [])


@pytest.mark.parametrize(
    ("contracts", "left_ms", "allowed", "presented"),
    [
        ((OWN, NEWER), RETRY_MS, False, OWN), ((OWN, NEWER), -1, False, NEWER),
        ((OWN, NEWER), 2 * RETRY_MS, False, NEWER),
        ((NEWER,), RETRY_MS, True, None), ((NEWER,), RETRY_MS, False, NEWER), ((NEWER,), -1, True, NEWER),
    ],
    ids=["another", "it_is_over", "by_a_clock_that_was_ahead", "by_other_means", "the_charger_decides", "again"],
)  # fmt: skip
def test_after_a_refusal_other_means_come_first(
    contracts: tuple[Contract, ...], left_ms: int, allowed: bool, presented: Contract | None
) -> None:
    config = replace(BY_CONTRACT, authorization=AuthorizationConfig(allow_eim=allowed))
    now_ms = bench_with().utc_ms
    bench = bench_with(config, contracts=contracts, refused={NEWER.chain[0]: now_ms + left_ms})
    bench.run()
    assert bench.closed == "finished"
    leaves = [each.contract_signature_cert_chain.certificate for each in of(bench, common.PaymentDetailsReq)]
    assert leaves == ([presented.chain[0]] if presented is not None else [])


def test_a_contract_of_iso_15118_20_pays_nothing() -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    other = Contract((certificate("DEABCC123456789", key), *OWN.chain[1:]), SoftwareKey(key))
    bench = bench_with(replace(DC, authorization=AuthorizationConfig(allow_eim=True)), contracts=(other,))
    bench.run()
    assert of(bench, common.PaymentServiceSelectionReq)[0].selected_payment_option is EXTERNAL


def test_a_pause_is_resumed_with_the_contract_that_pays() -> None:
    bench = bench_with(contracts=(OWN, NEWER))
    bench.run_to("PaymentDetailsReq")
    assert bench.requests[-1].contract_signature_cert_chain.certificate == NEWER.chain[0]
    resume = PausedSession(SESSION_ID, "DC_extended", contract=True, leaf=OWN.chain[0])
    bench = bench_with(contracts=(OWN, NEWER), resume=resume)
    bench.charger.joins = True
    bench.run_to("PaymentDetailsReq")
    assert bench.requests[-1].contract_signature_cert_chain.certificate == OWN.chain[0]


def test_a_pause_is_resumed_with_the_same_payment() -> None:
    resume = PausedSession(SESSION_ID, "DC_extended", contract=False)
    bench = bench_with(replace(DC, authorization=AuthorizationConfig(allow_eim=True)), resume=resume)
    bench.charger.joins = True
    bench.run_to("ChargeParameterDiscoveryReq")
    assert of(bench, common.PaymentServiceSelectionReq)[0].selected_payment_option is EXTERNAL


# -- signed tariffs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["sub_ca", "configured", "unknown", "none"])
@pytest.mark.parametrize("refuse", [True, False])
def test_tariffs_count_by_their_signature(signer: str, refuse: bool) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    keys = {"sub_ca": SUB_KEY, "configured": other, "unknown": other}
    planning = replace(PLAN.planning, unsigned_prices="refuse" if refuse else "accept")
    config = replace(PLAN, authorization=AuthorizationConfig(), planning=planning)
    signers = (certificate("Prices", other),) if signer == "configured" else ()
    bench = bench_with(config, scale=600, price_signers=signers)
    tuples = offer(1, 11_000, CHEAP_LATER)
    tariff = replace(tuples.sales_tariff, id="tariff1")
    bench.charger.tuples = (replace(tuples, sales_tariff=tariff),)

    def signs(body: Any) -> Any:
        if signer == "none" or not isinstance(body, common.ChargeParameterDiscoveryRes):
            return None
        return signatures.sign(body, SoftwareKey(keys[signer]))

    bench.charger.signs = signs
    bench.run_to("CurrentDemandReq")
    profile = planned(of(bench, common.PowerDeliveryReq)[0].charging_profile)
    assert profile is not None
    counts = signer in ("sub_ca", "configured") or (signer == "none" and not refuse)
    assert (profile.power_at(0) == 0) is counts
    assert bool(bench.seen("schedule", "prices_ignored")) is not counts
    if counts:
        assert bench.seen("schedule", "prices") == [{"schedules": 1, "signed": signer != "none"}]


def test_a_tariff_beside_signed_ones_that_is_not_signed_is_not_believed() -> None:
    """It has no Id, which a signature could refer to: the charger's own, or one put in on the way."""
    planning = replace(PLAN.planning, unsigned_prices="refuse")
    bench = bench_with(replace(PLAN, authorization=AuthorizationConfig(), planning=planning), scale=600)
    first, other = offer(1, 11_000, CHEAP_LATER), offer(2, 11_000, CHEAP_LATER)
    signed = replace(first, sales_tariff=replace(first.sales_tariff, id="tariff1"))

    def signs(body: Any) -> Any:
        if not isinstance(body, common.ChargeParameterDiscoveryRes):
            return None
        schedules = replace(body.sa_schedules, sa_schedule_tuple=(signed,))
        return signatures.sign(replace(body, sa_schedules=schedules), SoftwareKey(SUB_KEY))

    bench.charger.tuples, bench.charger.signs = (signed, other), signs
    bench.run_to("CurrentDemandReq")
    assert bench.seen("schedule", "prices_ignored") == [{"schedules": 2}]


def test_the_signed_element_has_an_id_that_xml_takes() -> None:
    bench = bench_with()
    bench.run_to("AuthorizationReq")
    assert bench.requests[-1].id.isidentifier()
