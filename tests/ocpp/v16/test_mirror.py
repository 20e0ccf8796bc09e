"""The mirror of the bridge, by messages that the official schemas allow (R199)."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ocpp.official import instances, validator
from tests.ocpp.v16.drawing import Run, drawn
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import AuthorizeRequest, IdToken
from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.diagnostics import LogStatusNotificationRequest
from v2g.ocpp.messages.display import NotifyDisplayMessagesRequest
from v2g.ocpp.messages.firmware import FirmwareStatusNotificationRequest
from v2g.ocpp.messages.metering import MeterValue, SampledValue, SignedMeterValue, UnitOfMeasure
from v2g.ocpp.messages.transactions import Transaction, TransactionEventRequest
from v2g.ocpp.routes import action_of
from v2g.ocpp.times import format_time
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16 import mirrored
from v2g.ocpp.v16.configuration import KEYS, MOST, named, value_in_16
from v2g.ocpp.v16.mirror import (
    FROM_BACK_END,
    FROM_OUR_STATION,
    BegunAs,
    Mirror,
    NetworkInUse,
    NumberedHere,
    StateOf,
)
from v2g.ocpp.v16.readings import last_register, meter_values, transaction_data, values_in_16
from v2g.ocpp.versions import read_payload, write_payload
from v2g_station.blocks.connection.network import first_profile

pytestmark = pytest.mark.requirement("R199")

NOW_MS = 1_800_000_000_000
AT = "2027-01-15T08:00:00Z"
_REGISTERED = mirrored.MirroredPeer


def facts(question: Any) -> Any:
    """Answer a question of the mirror as a station would that charges at both its EVSEs."""
    match question:
        case StateOf():
            return "Charging"
        case BegunAs():
            return None
    profile = first_profile("ws://csms.example/ocpp", security_profile=1, message_timeout=30)
    return NetworkInUse(1, profile, 4)


def mirror() -> Mirror:
    """Return a mirror of two EVSEs that knows a transaction of the first."""
    known = {"known": NumberedHere(connector_id=1, began=AT, meter_start=5, id_tag="TAG", number=7, last_wh=9)}
    return Mirror(2, dict.fromkeys(MOST, 50), known, lambda _name, _found: None)


@together("kind", sorted(FROM_OUR_STATION, key=lambda each: each.__name__), ids=lambda each: each.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_station_says_is_valid_in_1_6_and_its_answer_in_2_0_1(kind: Any, data: st.DataObject) -> None:
    request = read_payload(msgspec.json.encode(data.draw(instances(kind, "2.0.1"))), kind, "2.0.1")
    try:
        run = Run(mirror().upward(request, NOW_MS), drawn(data, "1.6"), facts)
    except OcppError:
        return  # refused before it is sent, or by the back end
    for step in run.asked:
        try:
            sent = write_payload(step, "1.6")
        except OcppError:
            continue  # a number that 1.6 cannot carry
        validator(action_of(step), "1.6").validate(msgspec.json.decode(sent))
    write_payload(run.result, "2.0.1")


@together("kind", sorted(FROM_BACK_END, key=lambda each: each.__name__), ids=lambda each: each.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_back_end_asks_is_valid_in_2_0_1_and_its_answer_in_1_6(kind: Any, data: st.DataObject) -> None:
    request = read_payload(msgspec.json.encode(data.draw(instances(kind, "1.6"))), kind, "1.6")
    try:
        run = Run(mirror().downward(request, NOW_MS), drawn(data, "2.0.1"), facts)
    except OcppError:
        return
    try:
        said = write_payload(run.result, "1.6")
    except OcppError:
        return  # a number that 1.6 cannot carry: no station of ours has it
    if action_of(request) != "GetCompositeSchedule":  # the validator counts tenths in binary
        validator(f"{action_of(request)}Response", "1.6").validate(msgspec.json.decode(said))


def test_what_1_6_has_not_is_refused_with_the_reason() -> None:
    with pytest.raises(OcppError, match=r"OCPP 1\.6.* has no NotifyDisplayMessages") as refused:
        mirror().upward(NotifyDisplayMessagesRequest(request_id=1), NOW_MS)
    assert refused.value.answer == "NotSupported"


def test_requests_without_a_number_get_one_below_0_that_never_comes_again() -> None:
    here = mirror()
    assert (here.now_ms, here.request_id()) == (0, -1)
    here.upward(HeartbeatRequest(), NOW_MS)
    assert here.now == format_time(NOW_MS)
    assert [here.request_id(), here.request_id()] == [-1_800_000_000, -1_800_000_001]
    here.downward(v16.ClearCacheReq(), 0)
    assert (here.now, here.request_id()) == (format_time(0), -1_800_000_002)
    later = mirror()
    later.upward(HeartbeatRequest(), (2**31 + 5) * 1000)
    assert later.request_id() == -5


def test_what_is_remembered_of_a_station_is_bounded() -> None:
    forgotten: list[str] = []

    def keep(name: str, found: NumberedHere | None) -> None:
        if found is None:
            forgotten.append(name)

    here = Mirror(1, {}, {}, keep)
    for number in range(1002):
        here.keep(f"{number}", NumberedHere(connector_id=number % 2, began=AT, number=number))
        here.id_tag(IdToken(id_token=f"TAG-{number}", type="Central"))
    assert (forgotten, len(here.transactions)) == (["0", "1"], 1000)
    assert (len(here.types), here.token("tag-1001").type, here.token("TAG-1").type) == (1000, "Central", "ISO14443")
    assert (here.at(1) or ("",))[0] == "1001"
    assert here.named(700) == "700"
    assert here.named(1) is None


@together(
    ("id_tag", "kind"),
    [
        ("04A1B2C3", "ISO14443"), ("E004010203040506", "ISO15693"), ("DE8AAC12345678", "eMAID"),
        ("DE-8AA-C12345678-X", "eMAID"), ("DE-8AA-C1234567", "ISO14443"), ("E0040102030405067", "ISO14443"),
    ],
)  # fmt: skip
def test_an_idtag_that_was_never_read_is_of_the_type_that_it_looks_like(id_tag: str, kind: str) -> None:
    assert mirror().token(id_tag) == IdToken(id_token=id_tag, type=kind)


def test_a_report_that_nothing_has_asked_for_is_the_plain_one() -> None:
    (told,) = Run(mirror().upward(LogStatusNotificationRequest(status="Idle"), NOW_MS), lambda _: None, facts).asked
    assert told == v16.DiagnosticsStatusNotificationReq(status="Idle")
    (told,) = Run(
        mirror().upward(FirmwareStatusNotificationRequest(status="Idle"), NOW_MS), lambda _: None, facts
    ).asked
    assert told == v16.FirmwareStatusNotificationReq(status="Idle")
    ended = TransactionEventRequest(
        event_type="Ended", timestamp=AT, trigger_reason="ResetCommand", seq_no=9, evse=EVSE(id=1),
        transaction_info=Transaction(transaction_id="known", stopped_reason="ImmediateReset"),
    )  # fmt: skip
    stop = Run(mirror().upward(ended, NOW_MS), lambda _: v16.StopTransactionConf(), facts).asked[0]
    assert isinstance(stop, v16.StopTransactionReq)
    assert stop.reason == "HardReset"


def test_a_start_that_is_sent_again_is_asked_for_again_and_has_its_number() -> None:
    again = TransactionEventRequest(
        event_type="Started", timestamp=AT, trigger_reason="Authorized", seq_no=0, evse=EVSE(id=1, connector_id=1),
        transaction_info=Transaction(transaction_id="known"), id_token=IdToken(id_token="TAG", type="ISO14443"),
    )  # fmt: skip
    blocked = v16.AuthorizeConf(id_tag_info=v16.IdTagInfo(status="Blocked"))
    run = Run(mirror().upward(again, NOW_MS), lambda _: blocked, facts)
    assert run.asked == [v16.AuthorizeReq(id_tag="TAG")]
    assert run.result.id_token_info.status == "Blocked"


def test_a_long_identifier_is_no_idtag_and_is_not_asked_for() -> None:
    token = IdToken(id_token="x" * 21, type="Central")
    run = Run(mirror().upward(AuthorizeRequest(id_token=token), NOW_MS), lambda _: None, facts)
    assert not run.asked
    assert run.result.id_token_info.status == "Invalid"


def test_a_transaction_waits_for_its_identifier() -> None:
    here = mirror()

    def event(kind: Any, seq_no: int, token: IdToken | None, wh: float) -> list[Any]:
        value = MeterValue(timestamp=AT, sampled_value=(SampledValue(value=wh, context="Transaction.Begin"),))
        request = TransactionEventRequest(
            event_type=kind,
            timestamp=AT,
            trigger_reason="Authorized",
            seq_no=seq_no,
            transaction_info=Transaction(transaction_id="new"),
            evse=EVSE(id=2, connector_id=1),
            id_token=token,
            meter_value=(value,),
        )
        accepted = v16.IdTagInfo(status="Accepted")
        answers = {
            v16.StartTransactionReq: v16.StartTransactionConf(transaction_id=8, id_tag_info=accepted),
            v16.MeterValuesReq: v16.MeterValuesConf(),
            v16.StopTransactionReq: v16.StopTransactionConf(),
        }
        return Run(here.upward(request, NOW_MS), lambda step: answers[type(step)], facts).asked

    assert event("Started", 0, None, 100.4) == []
    start, values = event("Updated", 1, IdToken(id_token="TAG", type="ISO14443"), 120.0)
    assert (start.meter_start, start.connector_id, start.timestamp) == (100, 2, AT)
    assert (values.transaction_id, values.meter_value[0].sampled_value[0].value) == (8, "120")
    assert [each.transaction_id for each in event("Ended", 2, None, 130.0)] == [8]
    assert "new" not in here.transactions


def test_readings_come_back_as_they_were() -> None:
    signed = SignedMeterValue(
        signed_meter_data="T0NNRnx7fXx7fQ==", signing_method="", encoding_method="", public_key=""
    )
    samples = (
        SampledValue(value=1234.567, measurand="Energy.Active.Import.Register", context="Transaction.End",
                     signed_meter_value=signed),
        SampledValue(value=3.0, measurand="Power.Active.Import", phase="L2", location="Outlet",
                     unit_of_measure=UnitOfMeasure(unit="kW")),
        SampledValue(value=50.01, measurand="Frequency", unit_of_measure=UnitOfMeasure(unit="Hz")),
        SampledValue(value=7.0, measurand="Power.Active.Setpoint"),
    )  # fmt: skip
    value = MeterValue(timestamp=AT, sampled_value=samples)
    (written,) = values_in_16((value,))
    assert [each.value for each in written.sampled_value] == ["1234.567", "OCMF|{}|{}", "3", "50.01"]
    assert [each.unit for each in written.sampled_value] == [None, None, "kW", "Hertz"]
    (back,) = meter_values((written,))
    assert [each.value for each in back.sampled_value] == [1234.567, 3.0, 50.01]
    assert back.sampled_value[0].signed_meter_value is not None
    assert [each.unit for each in transaction_data((value,))[0].sampled_value] == [None, None, "kW", None]
    assert last_register((value,), None) == 1235
    kilo = SampledValue(value=2.5, unit_of_measure=UnitOfMeasure(unit="kWh", multiplier=1))
    assert last_register((MeterValue(timestamp=AT, sampled_value=(kilo,)),), None) == 25_000


def test_keys_are_named_as_the_standard_does() -> None:
    assert all(named(each.upper()) == each for each in KEYS)
    assert named("Nonsense") is None
    assert value_in_16("ChargingScheduleAllowedChargingRateUnit", "W,A") == "Power,Current"
    assert len(value_in_16("ConnectorPhaseRotation", ",".join(f"{n}.Unknown" for n in range(100)))) <= 500
