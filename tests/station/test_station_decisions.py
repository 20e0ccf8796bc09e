"""Decisions of a station without network: waiting, authorising, describing needs and readings."""

import base64
import itertools
import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ocpp.official import VERSIONS, validator
from v2g.energy.needs import AskedPrice, AskedPrices, EnergyOffer, EvNeeds, OfferedPower, Service
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.messages.transactions import Reason, TriggerReason
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import write_payload
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.authorization.contracts import authorize_request
from v2g_station.blocks.connection.link import BackOff
from v2g_station.blocks.smart_charging.ev_needs import needs_request
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister, TransactionRecord

NOW = 1_780_000_000_000


@settings(deadline=None)
@given(st.integers(0, 100), st.binary(min_size=4, max_size=4))
def test_the_wait_doubles_and_is_bounded(failures: int, entropy: bytes) -> None:
    policy = BackOff(minimum=3, random_range=10, repeats=4)
    wait = policy.wait(failures, lambda _: entropy)
    assert 3 * 2 ** min(failures, 4) <= wait < 3 * 2 ** min(failures, 4) + 10


def test_a_chain_too_long_for_the_version_is_left_out() -> None:
    hashed = [
        OCSPRequestData(
            hash_algorithm="SHA256", issuer_name_hash="a", issuer_key_hash="b", serial_number=str(n), responder_url="c"
        )
        for n in range(5)
    ]
    old, new = (authorize_request("EMAID", "x" * 6000, hashed, version) for version in VERSIONS)
    assert old.certificate is None
    assert new.certificate == "x" * 6000
    assert len(old.iso15118_certificate_hash_data) == 4, "the schema allows four"
    for request, version in ((old, VERSIONS[0]), (new, VERSIONS[1])):
        write_payload(request, version)


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None)
@given(
    service=st.sampled_from(get_args(Service)),
    mode=st.sampled_from(["scheduled", "dynamic"]),
    watts=st.integers(0, 10**6),
    optional=st.none() | st.integers(0, 100),
    departure=st.none() | st.integers(NOW, NOW + 10**9),
    older=st.booleans(),
)
def test_needs_of_any_vehicle_are_valid_messages(
    version: Version, service: str, mode: str, watts: int, optional: int | None, departure: int | None, older: bool
) -> None:
    needs = EvNeeds(
        service=service,  # type: ignore[arg-type]
        control_mode=mode,  # type: ignore[arg-type]
        max_charge_w=watts, max_discharge_w=watts, max_current_ma=watts, max_voltage_mv=watts, departure_ms=departure,
        soc=optional, target_soc=optional, target_energy_wh=optional, max_energy_wh=optional, min_energy_wh=optional,
        older=older,
    )  # fmt: skip
    payload = json.loads(write_payload(needs_request(1, needs, NOW, version), version))
    validator("NotifyEVChargingNeedsRequest", version).validate(payload)
    reported = payload["chargingNeeds"]
    new = version == "2.1" and not older
    assert ("v2xChargingParameters" in reported, "controlMode" in reported) == (new, new)
    assert new or len({"acChargingParameters", "dcChargingParameters"} & reported.keys()) == 1, "K15.FR.06"


samples = st.none() | st.builds(
    MeterSample,
    utc_ms=st.integers(NOW, NOW + 10**9),
    import_mwh=st.integers(0, 2**53),
    export_mwh=st.integers(0, 2**53),
    power_w=st.none() | st.integers(-(10**6), 10**6),
    soc=st.none() | st.integers(0, 100),
    signed=st.just(()) | st.just((SignedRegister(register="import", data="OCMF|{}|{}", public_key=b"key"),)),
)


@pytest.mark.parametrize("version", VERSIONS)
@settings(deadline=None)
@given(
    data=st.lists(
        st.tuples(samples, st.sampled_from(["Charging", "SuspendedEV", None]), st.integers(0, 10**6)), max_size=6
    ),
    last=samples,
    offline=st.booleans(),
)
def test_any_course_of_a_transaction_is_valid_messages(
    version: Version, data: list[tuple[MeterSample | None, str | None, int]], last: MeterSample | None, offline: bool
) -> None:
    record = TransactionRecord(
        transaction_id="tx", reference="s", evse_id=1, connector_id=1, started_ms=NOW, id_token="E",
        id_token_type="eMAID",
    )  # fmt: skip
    record, first = transactions.start(record, NOW, trigger="Authorized", sample=last, offline=offline)
    requests, now, charged = [first], NOW, 0
    for sample, state, pause in data:
        charged += pause if record.charging_state == "Charging" else 0
        now += pause
        record, request = transactions.update(
            record, now, trigger="ChargingStateChanged", charging_state=state, sample=sample, offline=offline,
            operation_mode="ExternalSetpoint",
        )  # type: ignore[arg-type]  # fmt: skip
        requests.append(request)
    record, request = transactions.end(
        record, now, trigger="EVDeparted", reason="EVDisconnected", sample=last, offline=offline
    )
    requests.append(request)
    assert [r.seq_no for r in requests] == list(range(len(requests)))
    assert requests[-1].transaction_info.time_spent_charging == charged // 1000
    known = [s for s in (last, *(s for s, _, _ in data), last) if s is not None]
    if known:
        final = requests[-1].meter_value[-1].sampled_value
        assert [round(v.value * 1000) for v in final[:2]] == [known[-1].import_mwh, known[-1].export_mwh] or (
            known[-1].import_mwh > 2**50 or known[-1].export_mwh > 2**50
        )
    for message in requests:
        payload = write_payload(transactions.for_201(message) if version == "2.0.1" else message, version)
        validator("TransactionEventRequest", version).validate(json.loads(payload))


def test_registers_are_exact_up_to_a_million_megawatt_hours() -> None:
    for mwh in itertools.chain(range(3000), range(10**15, 10**15 + 2000)):
        sample = MeterSample(utc_ms=NOW, import_mwh=mwh, export_mwh=0)
        value = transactions.meter_value(sample, "Other").sampled_value[0].value
        text = msgspec.json.encode(value).decode()
        assert round(float(text) * 1000) == mwh
        assert len(text.partition(".")[2]) <= 3


def test_a_meter_that_signs_begin_and_end_apart_sends_both_at_the_end() -> None:
    record = TransactionRecord(
        transaction_id="tx", reference="s", evse_id=1, connector_id=1, started_ms=NOW, id_token="E",
        id_token_type="eMAID",
    )  # fmt: skip
    one, two = (
        MeterSample(utc_ms=NOW, import_mwh=n, export_mwh=0, signed=(SignedRegister(register="import", data=str(n)),))
        for n in (1, 2)
    )
    _, request = transactions.end(
        record, NOW, trigger="EVDeparted", reason="Local", begin=one, sample=two, offline=False
    )
    found = [
        (v.sampled_value[0].context, base64.b64decode(v.sampled_value[0].signed_meter_value.signed_meter_data))
        for v in request.meter_value
        if v.sampled_value[0].signed_meter_value
    ]
    assert found == [("Transaction.Begin", b"1"), ("Transaction.End", b"2")]


def test_every_reason_of_21_has_a_word_in_201() -> None:
    record = TransactionRecord(
        transaction_id="tx", reference="s", evse_id=1, connector_id=1, started_ms=NOW, id_token="E",
        id_token_type="eMAID",
    )  # fmt: skip
    for trigger in get_args(get_args(TriggerReason)[0]):
        for reason in get_args(get_args(Reason)[0]):
            _, request = transactions.end(record, NOW, trigger=trigger, reason=reason, offline=False)
            write_payload(request, "2.1")
            write_payload(transactions.for_201(request), "2.0.1")


@settings(deadline=None)
@given(
    powers=st.lists(st.tuples(st.integers(1, 86_400), st.integers(0, 10**6)), min_size=1, max_size=5),
    prices=st.lists(st.tuples(st.integers(1, 86_400), st.integers(-(10**6), 10**6)), min_size=1, max_size=5),
)
def test_what_a_vehicle_asks_for_its_energy_is_a_valid_message_of_2_1(
    powers: list[tuple[int, int]], prices: list[tuple[int, int]]
) -> None:
    offer = EnergyOffer(
        power_from_s=NOW // 1000,
        powers=tuple(OfferedPower(seconds, power) for seconds, power in powers),
        price_from_s=NOW // 1000,
        currency="EUR",
        algorithm="urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
        prices=tuple(AskedPrices(seconds, (AskedPrice(0, micro), AskedPrice(1, micro))) for seconds, micro in prices),
    )
    needs = EvNeeds(
        service="DC_BPT", control_mode="scheduled", max_charge_w=1, max_current_ma=1, max_voltage_mv=1, offer=offer,
        needs_by_secc=False,
    )  # fmt: skip
    payload = json.loads(write_payload(needs_request(1, needs, NOW, "2.1"), "2.1"))
    validator("NotifyEVChargingNeedsRequest", "2.1").validate(payload)
    reported = payload["chargingNeeds"]["evEnergyOffer"]
    assert [each["power"] for each in reported["evPowerSchedule"]["evPowerScheduleEntries"]] == [-p for _, p in powers]
    assert payload["chargingNeeds"]["mobilityNeedsMode"] == "EVCC"
    old = json.loads(write_payload(needs_request(1, needs, NOW, "2.0.1"), "2.0.1"))
    assert "evEnergyOffer" not in old["chargingNeeds"]
