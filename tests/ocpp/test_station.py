"""Decisions of a station without network: waiting, authorising, describing needs and readings."""

import base64
import itertools
import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ocpp.official import VERSIONS, validator
from v2g.errors import OcppError
from v2g.ocpp import answers, routes, transactions
from v2g.ocpp.answers import EvseView, View
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.messages.data_transfer import DataTransferRequest
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData, GetVariablesRequest
from v2g.ocpp.messages.transactions import Reason, TriggerReason
from v2g.ocpp.routes import Version
from v2g.ocpp.station import BackOff, EvNeeds, authorize_request, needs_request
from v2g.ocpp.transactions import MeterSample, SignedReading, TransactionRecord
from v2g.ocpp.versions import write_payload

NOW = 1_780_000_000_000


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
@given(
    service=st.sampled_from(["DC", "DC_BPT"]),
    mode=st.sampled_from(["scheduled", "dynamic"]),
    watts=st.integers(0, 10**6),
    optional=st.none() | st.integers(0, 100),
    departure=st.none() | st.integers(NOW, NOW + 10**9),
)
def test_needs_of_any_vehicle_are_valid_messages(
    version: Version, service: str, mode: str, watts: int, optional: int | None, departure: int | None
) -> None:
    needs = EvNeeds(
        service=service,  # type: ignore[arg-type]
        control_mode=mode,  # type: ignore[arg-type]
        max_charge_w=watts, max_discharge_w=watts, max_current_ma=watts, max_voltage_mv=watts, departure_ms=departure,
        soc=optional, target_soc=optional, target_energy_wh=optional, max_energy_wh=optional, min_energy_wh=optional,
    )  # fmt: skip
    payload = write_payload(needs_request(1, needs, NOW, version), version)
    validator("NotifyEVChargingNeedsRequest", version).validate(json.loads(payload))


samples = st.none() | st.builds(
    MeterSample,
    utc_ms=st.integers(NOW, NOW + 10**9),
    import_mwh=st.integers(0, 2**53),
    export_mwh=st.integers(0, 2**53),
    power_w=st.none() | st.integers(-(10**6), 10**6),
    soc=st.none() | st.integers(0, 100),
    signed=st.just(()) | st.just((SignedReading(register="import", data="OCMF|{}|{}", public_key=b"key"),)),
)


@pytest.mark.parametrize("version", VERSIONS)
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
        MeterSample(utc_ms=NOW, import_mwh=n, export_mwh=0, signed=(SignedReading(register="import", data=str(n)),))
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


def view(**changes: object) -> View:
    """What a station knows."""
    fields: dict[str, object] = {
        "version": "2.1", "registration": "Accepted", "utc_ms": NOW, "evses": (EvseView(1, "Available"),),
        "max_power_w": 100,
    }  # fmt: skip
    return View(**(fields | changes))  # type: ignore[arg-type]


def test_every_handled_action_is_declared_and_answered() -> None:
    assert answers.HANDLED <= routes.DECLARED
    for action in answers.HANDLED:
        assert answers.because("NotFound").reason_code == "NotFound"
        assert routes.response_type(action).__name__ == f"{action}Response"


def test_a_grid_signal_may_be_an_object_or_its_text() -> None:
    signal = {
        "version": 3, "issued_at_ms": 0, "source": "dso", "currency": "EUR", "site_import_limit_w": 5,
        "export_limit_w": 4, "valid_until_ms": 9,
        "slots": [{"start_ms": 0, "duration_s": 60, "import_price": 1, "export_compensation": 2}],
    }  # fmt: skip
    for data in (signal, json.dumps(signal)):
        request = DataTransferRequest(vendor_id=answers.VENDOR, message_id="GridSignal", data=data)
        reply = answers.answer(request, view())
        (effect,) = reply.effects
        assert isinstance(effect, answers.GridSignalReceived)
        assert json.loads(effect.data) == signal
    for wrong in (None, 5, [], "text", {**signal, "slots": []}, {**signal, "more": 1}):
        request = DataTransferRequest(vendor_id=answers.VENDOR, message_id="GridSignal", data=wrong)
        reply = answers.answer(request, view())
        assert (reply.response.status, reply.effects) == ("Rejected", ())  # type: ignore[attr-defined]


def test_too_many_variables_at_once_are_an_occurrence_violation() -> None:
    item = GetVariableData(component=Component(name="A"), variable=Variable(name="B"))
    with pytest.raises(OcppError) as caught:
        answers.answer(GetVariablesRequest(get_variable_data=(item,) * 51), view())
    assert caught.value.answer == "OccurrenceConstraintViolation"


def test_a_rejected_station_answers_nothing_else() -> None:
    item = GetVariableData(component=Component(name="A"), variable=Variable(name="B"))
    with pytest.raises(OcppError) as caught:
        answers.answer(GetVariablesRequest(get_variable_data=(item,)), view(registration="Rejected"))
    assert caught.value.answer == "SecurityError"


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
