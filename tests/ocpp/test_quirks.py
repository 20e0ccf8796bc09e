"""Quirks of stations: what each mends, and nothing else; the table of makes."""

import contextlib
import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ocpp.official import minimal, schema
from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.quirks import QUIRKS, STRICT, QuirkName, StationQuirks, known_quirks, make_in_boot, quirks_of
from v2g.ocpp.quirks import read_tolerantly as read
from v2g.ocpp.routes import request_type
from v2g.ocpp.versions import read_payload

ALL: tuple[QuirkName, ...] = get_args(QuirkName)
TIME = "2026-01-01T00:00:00"
SAMPLE = {"value": 1}
READING = {"timestamp": f"{TIME}Z", "sampledValue": [SAMPLE]}
STATION = {"model": "M", "vendorName": "V"}


def meter(*readings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "MeterValues", {"evseId": 1, "meterValue": list(readings)}


def at(time: str) -> tuple[str, dict[str, Any]]:
    return meter({**READING, "timestamp": time})


def boot(**station: Any) -> tuple[str, dict[str, Any]]:
    return "BootNotification", {"reason": "PowerUp", "chargingStation": {**STATION, **station}}


CASES: list[tuple[QuirkName, tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    ("time_without_zone", meter({**READING, "timestamp": TIME}, READING), meter(READING, READING)),
    ("time_without_zone", at(f"{TIME}+02"), at(f"{TIME}+02:00")),
    ("time_without_zone", at(f"{TIME}+0200"), at(f"{TIME}+02:00")),
    ("time_without_zone", at(f" {TIME},250 +02"), at(f"{TIME}.250+02:00")),
    ("time_without_zone", at(f"{TIME[:-3]} UTC"), at(f"{TIME[:-3]}:00Z")),
    ("time_without_zone", meter({**READING, "timestamp": TIME.replace("T", " ")}), meter(READING)),
    ("empty_list", meter({**READING, "sampledValue": []}, READING), meter(READING)),
    ("empty_text", meter({**READING, "sampledValue": [{**SAMPLE, "context": ""}]}), meter(READING)),
    ("null_field", meter({**READING, "sampledValue": [{**SAMPLE, "context": None, "location": None}]}), meter(READING)),
    ("null_field", boot(serialNumber=None), boot()),
    ("unknown_field", meter({**READING, "foo": {"bar": [1]}}), meter(READING)),
    ("unknown_field", ("Heartbeat", {"status": "fine", "more": 1}), ("Heartbeat", {})),
    (
        "enum_case",
        meter({**READING, "sampledValue": [{**SAMPLE, "context": "sample.periodic"}]}),
        meter({**READING, "sampledValue": [{**SAMPLE, "context": "Sample.Periodic"}]}),
    ),
    ("object_for_list", ("MeterValues", {"evseId": 1, "meterValue": READING}), meter(READING)),
    ("text_too_long", boot(serialNumber="3" * 26, model="m" * 22), boot(serialNumber="3" * 25, model="m" * 20)),
]  # fmt: skip


@together(("quirk", "sent", "meant"), CASES)
def test_a_quirk_is_read_as_what_is_meant_and_by_no_other_quirk(
    quirk: QuirkName, sent: tuple[str, dict[str, Any]], meant: tuple[str, dict[str, Any]]
) -> None:
    type_, data = request_type(sent[0]), json.dumps(sent[1]).encode()
    wanted = read_payload(json.dumps(meant[1]).encode(), type_, "2.0.1")
    assert read(data, type_, "2.0.1", (quirk,)) == (wanted, frozenset({quirk}))
    assert read(data, type_, "2.0.1", ALL) == (wanted, frozenset({quirk}))
    with pytest.raises(OcppError) as strict:
        read_payload(data, type_, "2.0.1")
    with pytest.raises(OcppError) as other:
        read(data, type_, "2.0.1", tuple(each for each in ALL if each != quirk))
    assert (str(other.value), other.value.answer) == (str(strict.value), strict.value.answer)


def test_every_quirk_has_a_case_and_words() -> None:
    assert {quirk for quirk, _, _ in CASES} == set(ALL) == set(QUIRKS)


@together(
    ("action", "payload"),
    [
        ("Authorize", {"idToken": {"idToken": "x" * 37, "type": "ISO14443"}}),  # it would be another token
        meter({**READING, "timestamp": "yesterday"}),
        meter({**READING, "timestamp": "2026-02-30T00:00:00"}),
        meter({**READING, "sampledValue": []}),  # nothing would be left
        boot(reason="Nonsense", model=None),
        boot(vendorName=1),
    ],
)
def test_what_no_quirk_explains_stays_refused(action: str, payload: dict[str, Any]) -> None:
    with pytest.raises(OcppError):
        read(json.dumps(payload).encode(), request_type(action), "2.0.1", ALL)


def test_fields_of_21_are_left_out_of_messages_of_201() -> None:
    payload = minimal(schema("TransactionEventRequest", "2.0.1"), schema("TransactionEventRequest", "2.0.1"))
    payload["transactionInfo"]["tariffId"] = "T"
    type_ = request_type("TransactionEvent")
    message, shown = read(json.dumps(payload).encode(), type_, "2.0.1", ("unknown_field",))
    del payload["transactionInfo"]["tariffId"]
    assert message == read_payload(json.dumps(payload).encode(), type_, "2.0.1")
    assert list(shown) == ["unknown_field"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=30) | st.sampled_from([TIME, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["evseId", "meterValue", "timestamp",
        "sampledValue", "value", "context", "x"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON.map(lambda value: msgspec.json.encode(value)) | st.binary(max_size=60))
def test_anything_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(OcppError):
        message, _ = read(data, request_type("MeterValues"), "2.0.1", ALL)
        again = read_payload(msgspec.json.encode(message), request_type("MeterValues"), "2.0.1")
        assert again == message, "what is mended is valid"
    assert len(make_in_boot(data)) == 3


def test_the_table_names_sources_and_what_it_tolerates() -> None:
    for each in known_quirks():
        assert each.source.startswith("github.com/")
        assert each.tolerates or each.delay_after_boot_s or each.answer_delay_s or each.profiles or each.never_ping


@together(
    ("make", "tolerates", "delay_s"),
    [
        (("Growatt", "THOR", ""), ("time_without_zone",), 0),
        (("Schneider Electric", "EVlink Smart Wallbox", "3.4.0.9"), ("text_too_long",), 0),
        (("UnitedChargers", "Grizzl-E Smart Connect", "GWM-07.020-03"), ("text_too_long",), 0),
        (("", "ACChargePoint", ""), ("object_for_list",), 0),
        (("VESTEL", "EVC04", "v3.26.0"), ("empty_list",), 0),
        (("Wall Box Chargers", "CPB1-S-2-4", "6.6.20"), (), 20),
        (("Unknown", "M", "1"), (), 0),
        (("", "", ""), (), 0),
    ],
)
def test_a_make_gets_its_quirks(make: tuple[str, str, str], tolerates: tuple[str, ...], delay_s: float) -> None:
    found = quirks_of(*make)
    assert (found.tolerates, found.delay_after_boot_s) == (tolerates, delay_s)


def test_the_first_entry_of_the_operator_that_fits_replaces_the_table() -> None:
    own = (StationQuirks(vendor="growatt", firmware="2.*"), StationQuirks(model="THOR", tolerates=("enum_case",)))
    assert quirks_of("Growatt", "THOR", "2.1", own).tolerates == ()
    assert quirks_of("Growatt", "THOR", "1.9", own).tolerates == ("enum_case",)
    assert quirks_of("Growatt", "OTHER", "1.9", own).tolerates == ("time_without_zone",)
    assert quirks_of("Other", "OTHER", "2.1", own) == STRICT
