"""The judge of whole runs: an honest run follows every rule, and each fault breaks the one that names it."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import KEY, PAYLOAD, READING, record, sign
from tests.meter_keys import printed_public_key
from v2g.errors import ConfigError
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.connection import Frame, without_secrets
from v2g_testkit.ocpp.run_judge import MESSAGE_IDS, RULES, Device, JudgedTester, RunJudge

Message = tuple[str, list[Any]]
"""`sent` or `received` by the tester, and the frame."""


def event(number: int, kind: str, seq_no: int, wh: float, transaction: str = "tx-1", **more: Any) -> list[Message]:
    """Return a TransactionEvent and its answer; `number` sets the message id and the time."""
    payload = {
        "eventType": kind,
        "triggerReason": "MeterValuePeriodic",
        "timestamp": f"2026-11-02T10:00:{number:02}Z",
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": transaction},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": f"2026-11-02T10:00:{number:02}Z", "sampledValue": [{"value": wh}]}],
    } | more
    return [("received", [2, f"t{number}", "TransactionEvent", payload]), ("sent", [3, f"t{number}", {}])]


def report(request: int, number: int, *names: str, tbc: bool = False, at: str = "x") -> list[Message]:
    """Return a part of a report and its answer."""
    entries = [
        {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": name}, "variableAttribute": [{"value": "1"}]}
        for name in names
    ]
    payload = {"requestId": request, "seqNo": number, "tbc": tbc, "generatedAt": at, "reportData": entries}
    identifier = f"r{request}-{number}"
    return [("received", [2, identifier, "NotifyReport", payload]), ("sent", [3, identifier, {}])]


def events(number: int, *, tbc: bool = False) -> list[Message]:
    """Return a part of what has happened, and its answer."""
    payload = {"generatedAt": "x", "seqNo": number, "tbc": tbc, "eventData": []}
    identifier = f"e{number}-{tbc}"
    return [("received", [2, identifier, "NotifyEvent", payload]), ("sent", [3, identifier, {}])]


def value(identifier: str, name: str) -> list[Message]:
    """Return a variable that the station is asked for, and has."""
    wanted = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": name}}
    result = wanted | {"attributeStatus": "Accepted", "attributeValue": "1"}
    return [
        ("sent", [2, identifier, "GetVariables", {"getVariableData": [wanted]}]),
        ("received", [3, identifier, {"getVariableResult": [result]}]),
    ]


def inventory(request: int) -> list[Message]:
    """Return the request for a full inventory, and that it is accepted."""
    asked = {"requestId": request, "reportBase": "FullInventory"}
    return [
        ("sent", [2, f"i{request}", "GetBaseReport", asked]),
        ("received", [3, f"i{request}", {"status": "Accepted"}]),
    ]


FORGER = ec.derive_private_key(0x1234, ec.SECP256R1())


def signed(wh: float, page: int, told_wh: float | None = None, **fields: Any) -> dict[str, Any]:
    """Return the meter value of an event, signed: what the meter signed, and what the message says."""
    data = record({**READING, "TX": "C", "RV": wh, "RU": "Wh"}, PG=f"T{page}")
    value = {
        "signedMeterData": base64.b64encode(data).decode(), "encodingMethod": "OCMF", "signingMethod": "",
        "publicKey": printed_public_key(KEY.public_key()),
    } | fields  # fmt: skip
    sample = {"value": wh if told_wh is None else told_wh, "signedMeterValue": value}
    return {"meterValue": [{"timestamp": "2026-11-02T10:00:11Z", "sampledValue": [sample]}]}


def signed_run(*values: dict[str, Any]) -> Callable[[list[list[Message]]], list[list[Message]]]:
    """Replace the signed transaction, which is the last one, by one with these values."""
    kinds = ["Started", *["Updated"] * (len(values) - 2), "Ended"]
    events = [event(11 + at, kinds[at], at, 0.0, "tx-3", **each) for at, each in enumerate(values)]
    return lambda steps: [*steps[:10], *events]


STATION: list[list[Message]] = [
    inventory(1), report(1, 0, "A", tbc=True), report(1, 1, "B"), value("v1", "B"),
    event(1, "Started", 0, 100.0), event(2, "Updated", 1, 150.0), event(3, "Updated", 2, 200.0),
    event(4, "Ended", 3, 250.0),
    event(5, "Started", 0, 250.0, "tx-2"), event(6, "Ended", 1, 300.0, "tx-2"),
    *signed_run(signed(300.0, 1), signed(300.4, 3, 300, publicKey=""), signed(350.0, 4))([[]] * 10)[10:],
]  # fmt: skip
"""An honest run of a station, in steps."""


def profile(identifier: int, level: int, purpose: str = "TxDefaultProfile", evse: int = 1) -> list[Message]:
    """Return a charging profile that the station accepts."""
    wanted = {"id": identifier, "stackLevel": level, "chargingProfilePurpose": purpose}
    payload = {"evseId": evse, "chargingProfile": wanted}
    name = f"p{identifier}-{level}-{evse}"
    return [("received", [2, name, "SetChargingProfile", payload]), ("sent", [3, name, {"status": "Accepted"}])]


def asked_by(identifier: str, action: str, status: str = "Accepted", **payload: Any) -> list[Message]:
    """Return a request of a back end, and its answer."""
    return [("received", [2, identifier, action, payload]), ("sent", [3, identifier, {"status": status}])]


CSMS: list[list[Message]] = [
    [("sent", [2, "b", "BootNotification", {}]), ("received", [3, "b", {"status": "Accepted"}])],
    profile(7, 0), profile(8, 1), profile(9, 0, evse=2),
    asked_by("g1", "GetBaseReport", requestId=1), asked_by("g2", "GetLog", requestId=1),
    asked_by("g3", "GetReport", "EmptyResultSet", requestId=2), asked_by("g4", "GetReport", requestId=2),
    asked_by("s1", "RequestStartTransaction", remoteStartId=1),
]  # fmt: skip


def told(name: str, value: Any) -> list[Message]:
    """Return a variable that the station is asked for, and its value."""
    wanted = {"component": {"name": "X"}, "variable": {"name": name}}
    result = wanted | {"attributeStatus": "Accepted", "attributeValue": value}
    return [
        ("sent", [2, f"w{name}{value}", "GetVariables", {"getVariableData": [wanted]}]),
        ("received", [3, f"w{name}{value}", {"getVariableResult": [result]}]),
    ]


def frames(steps: list[list[Message]], connection: int = 1) -> list[Frame]:
    """Return steps as frames of one connection."""
    return [Frame(0.0, way, json.dumps(frame), connection=connection) for step in steps for way, frame in step]  # type: ignore[arg-type]


def judged(
    device: Device,
    *cases: list[Frame],
    asked: tuple[str, ...] = ("SetChargingProfile", "RequestStartTransaction"),
    is_16: bool = False,
) -> dict[str, Result]:
    """Return the results of all rules over a run of cases."""
    judge = RunJudge(device, {}, is_16=is_16)
    for number, each in enumerate(cases, 1):
        judge.take(f"TC_{number}", each, asked)
    return {rule.id: judge.result(rule) for rule in judge.rules}


def test_who_gives_transactions_their_ids_is_judged_for_it() -> None:
    """The station; in OCPP 1.6 the back end."""
    for device, is_16 in (("station", False), ("csms", True)):
        assert "RUN-TRANSACTION-IDS" in {rule.id for rule in RunJudge(device, {}, is_16=is_16).rules}
        assert "RUN-TRANSACTION-IDS" not in {rule.id for rule in RunJudge(device, {}, is_16=not is_16).rules}


def broken(results: dict[str, Result]) -> set[str]:
    return {name for name, result in results.items() if result.verdict is Verdict.FAIL}


@pytest.mark.parametrize(("device", "steps"), [("station", STATION), ("csms", CSMS)])
def test_an_honest_run_follows_every_rule(device: Device, steps: list[list[Message]]) -> None:
    results = judged(device, frames(steps))
    spared = ("RUN-ANSWERS", "RUN-TRANSACTION-IDS") if device == "csms" else ()
    assert {each.verdict for name, each in results.items() if name not in spared} == {Verdict.PASS}


def without(*places: int) -> Callable[[list[list[Message]]], list[list[Message]]]:
    return lambda steps: [each for place, each in enumerate(steps) if place not in places]


def plus(*more: list[Message], at: int = 99) -> Callable[[list[list[Message]]], list[list[Message]]]:
    return lambda steps: [*steps[:at], *more, *steps[at:]]


def instead(place: int, step: list[Message]) -> Callable[[list[list[Message]]], list[list[Message]]]:
    return lambda steps: [*steps[:place], step, *steps[place + 1 :]]


def pipelined(steps: list[list[Message]]) -> list[list[Message]]:
    """The second event arrives before the first one is answered."""
    (first, first_answer), (second, second_answer) = steps[5], steps[6]
    return [*steps[:5], [first, second, first_answer, second_answer], *steps[7:]]


def clock(time: str) -> list[Message]:
    """Return a heartbeat that is answered with a time of 2026-11-02."""
    answer = {"currentTime": f"2026-11-02T{time}Z"}
    return [("received", [2, "c1", "Heartbeat", {}]), ("sent", [3, "c1", answer])]


def metered(
    *readings: tuple[float, float | None] | tuple[float, float | None, float], minutes: int = 1
) -> Callable[[list[list[Message]]], list[list[Message]]]:
    """Add a transaction whose register (Wh), power (W) and current (A) are read at so many minutes."""
    events = []
    for place, (wh, *flows) in enumerate(readings):
        samples = [{"value": wh}]
        for measurand, flow in zip(("Power.Active.Import", "Current.Import"), flows, strict=False):
            samples += [{"value": flow, "measurand": measurand}] if flow is not None else []
        at = f"2026-11-02T10:{place * minutes:02}:30Z"
        kind = "Started" if not place else "Ended" if place == len(readings) - 1 else "Updated"
        values = [{"timestamp": at, "sampledValue": samples}]
        events.append(event(40 + place, kind, place, 0.0, "tx-9", meterValue=values, timestamp=at))
    return plus(*events)


KILOWATT_HOURS: dict[str, Any] = {"meterValue": [
    {"timestamp": "2026-11-02T10:00:03Z", "sampledValue": [{"value": 0.14, "unitOfMeasure": {"unit": "kWh"}}]}
]}  # fmt: skip

STATION_FAULTS: dict[str, tuple[Callable[[list[list[Message]]], list[list[Message]]], str]] = {
    "a message id comes again": (
        plus([("received", [2, "t1", "Heartbeat", {}]), ("sent", [3, "t1", {}])]), "RUN-MESSAGE-IDS",
    ),
    "two requests at once": (pipelined, "RUN-ONE-CALL"),
    "an answer to nothing": (plus([("received", [3, "nobody", {}])]), "RUN-ANSWERS"),
    "two answers": (plus([("received", [3, "v1", {}])]), "RUN-ANSWERS"),
    "an event is lost": (without(6), "RUN-SEQUENCE"),
    "two events with one number": (instead(6, event(3, "Updated", 1, 200.0)), "RUN-SEQUENCE"),
    "a transaction's id comes again": (plus(event(7, "Started", 4, 300.0, "tx-1")), "RUN-TRANSACTION-IDS"),
    "a transaction goes on after its end": (plus(event(7, "Updated", 4, 250.0), at=8), "RUN-TRANSACTION-EVENTS"),
    "a transaction without a beginning": (without(8), "RUN-TRANSACTION-EVENTS"),
    "another EVSE": (
        instead(6, event(3, "Updated", 2, 200.0, evse={"id": 2, "connectorId": 1})), "RUN-TRANSACTION-EVSE",
    ),
    "another connector": (
        instead(6, event(3, "Updated", 2, 200.0, evse={"id": 1, "connectorId": 2})), "RUN-TRANSACTION-EVSE",
    ),
    "two transactions at one EVSE": (
        lambda steps: [*steps[:7], steps[8], steps[7], steps[9]], "RUN-TRANSACTION-EVSE",
    ),
    "a register falls": (instead(6, event(3, "Updated", 2, 140.0)), "RUN-METERS"),
    "a register in kWh falls": (instead(6, event(3, "Updated", 2, 0.0, **KILOWATT_HOURS)), "RUN-METERS"),
    "a register in kWh is labelled Wh": (metered((1000.0, 60_000.0), (1001.0, 60_000.0)), "RUN-METER-UNITS"),
    "a register in Wh is labelled kWh": (metered((1e6, 11_000.0), (1.18e6, 11_000.0)), "RUN-METER-UNITS"),
    "a register rises by more than any EVSE delivers": (metered((0.0, None), (909_948.0, None)), "RUN-METER-UNITS"),
    "a power in W is labelled A": (metered((1000.0, 7360.0, 7360.0), (1120.0, 7360.0, 7360.0)), "RUN-METER-UNITS"),
    "a small power in kW is labelled W": (metered((1000.0, 22.0, 32.0), (1366.0, 22.0, 32.0)), "RUN-METER-UNITS"),
    "a power in kW is labelled W": (metered((1000.0, 7.36, 32.0), (1000.0, 103.0, 32.0)), "RUN-METER-UNITS"),
    "a register of energy is in A": (
        instead(7, event(4, "Ended", 3, 250.0, meterValue=[{"timestamp": "2026-11-02T10:00:04Z", "sampledValue": [
            {"value": 250.0, "unitOfMeasure": {"unit": "A"}}]}])), "RUN-METER-UNITS",
    ),
    "a signed reading was changed": (
        signed_run(signed(300.0, 1), signed(310.0, 2, signedMeterData=base64.b64encode(
            record().replace(b"1.5", b"1.6")).decode())), "RUN-SIGNED-READINGS",
    ),
    "a signed reading is another one than the value": (
        signed_run(signed(300.0, 1), signed(350.0, 2, 360.0)), "RUN-SIGNED-READINGS",
    ),
    "a signed reading is cut": (
        signed_run(signed(300.0, 1), signed(350.0, 2, signedMeterData="T0NNRnx7")), "RUN-SIGNED-READINGS",
    ),
    "a signed reading comes again": (
        signed_run(signed(300.0, 7), signed(300.0, 6)), "RUN-SIGNED-READINGS",
    ),
    "two keys sign one transaction": (
        signed_run(signed(300.0, 1), signed(350.0, 2, signedMeterData=base64.b64encode(sign(
            json.dumps({**PAYLOAD, "PG": "T2", "RD": [{**READING, "TX": "C", "RV": 350, "RU": "Wh"}]}).encode(),
            key=FORGER)).decode(), publicKey=printed_public_key(FORGER.public_key()))), "RUN-SIGNED-READINGS",
    ),
    "a public key is none": (signed_run(signed(300.0, 1, publicKey="zz"), signed(310.0, 2)), "RUN-SIGNED-READINGS"),
    "a clock goes back": (instead(7, event(4, "Ended", 3, 250.0, timestamp="2026-11-02T09:59:00Z")), "RUN-CLOCK"),
    "a station speaks before it boots": (
        lambda steps: [BEAT, [("received", [2, "b1", "BootNotification", {"reason": "PowerUp"}])], *steps], "RUN-BOOT",
    ),
    "a rejected station goes on": (lambda steps: [REJECTED, BEAT, *steps], "RUN-BOOT"),
    "a clock is hours ahead": (
        lambda steps: [clock("08:00:00"), told("TimeSource", "Heartbeat"), *steps], "RUN-CLOCK",
    ),
    "a clock is hours behind": (
        lambda steps: [clock("12:00:00"), told("TimeSource", "RTC,Heartbeat"), *steps], "RUN-CLOCK",
    ),
    "a maximum is read as the value": (
        plus([value("q1", "B")[0], ("received", [3, "q1", {"getVariableResult": [
            {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "B"}, "attributeType": "MaxSet",
             "attributeStatus": "Accepted", "attributeValue": "1"}]}])]), "RUN-ANSWERS",
    ),
    "a report is of a time hours ago": (
        lambda steps: [
            clock("10:00:00"), told("TimeSource", "Heartbeat"), *steps,
            inventory(5), report(5, 0, "A", "B", "TimeSource", at="2026-11-02T08:00:00Z"),
        ], "RUN-CLOCK",
    ),
    "a reading is of years ago": (
        instead(4, event(1, "Started", 0, 100.0, meterValue=[
            {"timestamp": "2020-11-02T10:00:00Z", "sampledValue": [{"value": 100.0}]}])), "RUN-CLOCK",
    ),
    "a report lacks its first part": (without(1), "RUN-REPORT-PARTS"),
    "a report is not finished": (without(2), "RUN-REPORT-PARTS"),
    "events are numbered from one": (plus(events(1)), "RUN-REPORT-PARTS"),
    "events are not finished": (plus(events(0, tbc=True) + events(0)), "RUN-REPORT-PARTS"),
    "a report nobody asked for": (plus(report(9, 0, "A")), "RUN-REPORTS"),
    "the last event has no reading": (instead(7, event(4, "Ended", 3, 250.0, meterValue=[])), "RUN-END-METER"),
    "its password is read": (plus(told("BasicAuthPassword", "geheim")), "RUN-SECRETS"),
    "its password is in a report": (
        instead(2, [
            ("received", [2, "r1-1", "NotifyReport", {"requestId": 1, "seqNo": 1, "generatedAt": "x", "reportData": [
                {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "B"},
                 "variableAttribute": [{"value": "1"}]},
                {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"},
                 "variableAttribute": [{"value": "geheim"}]}]}]),
            ("sent", [3, "r1-1", {}])]), "RUN-SECRETS",
    ),
    "an inventory lacks a variable": (instead(2, report(1, 1)), "RUN-INVENTORY"),
}  # fmt: skip


@pytest.mark.parametrize("fault", STATION_FAULTS)
def test_each_fault_of_a_station_breaks_its_rule(fault: str) -> None:
    change, rule = STATION_FAULTS[fault]
    results = judged("station", frames(change(STATION)))
    assert rule in broken(results)
    assert broken(results) - {rule} <= {"RUN-INVENTORY", "RUN-REPORT-PARTS", "RUN-SEQUENCE"}, "what follows from it"


CSMS_FAULTS: dict[str, tuple[Callable[[list[list[Message]]], list[list[Message]]], str]] = {
    "a message id comes again": (
        plus([("received", [2, "p7-0-1", "GetVariables", {}]), ("sent", [3, "p7-0-1", {}])]), "RUN-MESSAGE-IDS",
    ),
    "an answer to nothing": (plus([("received", [3, "nobody", {}])]), "RUN-ANSWERS"),
    "two answers": (plus([("received", [3, "b", {}])]), "RUN-ANSWERS"),
    "the same place for another profile": (plus(profile(10, 0)), "RUN-PROFILES"),
    "a request's id comes again": (plus(asked_by("g5", "GetReport", requestId=1)), "RUN-REQUEST-IDS"),
    "a remote start's id comes again": (
        plus(asked_by("s2", "RequestStartTransaction", remoteStartId=1)), "RUN-REQUEST-IDS",
    ),
    "a transaction's number comes again": (
        plus(*(
            [("sent", [2, f"st{number}", "StartTransaction", {"idTag": tag}]),
             ("received", [3, f"st{number}", {"transactionId": 1, "idTagInfo": {"status": "Accepted"}}])]
            for number, tag in enumerate(("A", "A", "B")))), "RUN-TRANSACTION-IDS",
    ),
    "a reset by itself": (plus([("received", [2, "x", "Reset", {}]), ("sent", [3, "x", {}])]), "RUN-UNASKED"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CSMS_FAULTS)
def test_each_fault_of_a_back_end_breaks_its_rule(fault: str) -> None:
    change, rule = CSMS_FAULTS[fault]
    assert broken(judged("csms", frames(change(CSMS)), is_16=rule == "RUN-TRANSACTION-IDS")) == {rule}


def test_a_profile_for_the_needs_of_a_vehicle_needs_no_operator() -> None:
    follows: list[Message] = [
        ("received", [2, "p", "SetChargingProfile", {}]),
        ("sent", [3, "p", {"status": "Rejected"}]),
    ]
    needs: list[Message] = [
        ("sent", [2, "n", "NotifyEVChargingNeeds", {"evseId": 1}]), ("received", [3, "n", {"status": "Accepted"}])
    ]  # fmt: skip
    assert broken(judged("csms", frames([needs, follows]), asked=())) == set()
    assert broken(judged("csms", frames([needs]), frames([follows]), asked=())) == {"RUN-UNASKED"}, "of another case"


BOOT: list[Message] = [
    ("received", [2, "b1", "BootNotification", {}]),
    ("sent", [3, "b1", {"status": "Accepted", "interval": 60, "currentTime": "x"}]),
]
REJECTED: list[Message] = [BOOT[0], ("sent", [3, "b1", {"status": "Rejected", "interval": 60}])]
PENDING: list[Message] = [BOOT[0], ("sent", [3, "b1", {"status": "Pending", "interval": 60}])]
NO_CABLE: list[list[Message]] = [
    told("EVConnectionTimeOut", "30"),
    [
        ("received", [2, "n", "StatusNotification", {"evseId": 1, "connectorStatus": "Available"}]),
        ("sent", [3, "n", {}]),
    ],
    event(1, "Started", 0, 0.0, triggerReason="Authorized", transactionInfo={"transactionId": "t"}),
]
PLUGGED = event(2, "Updated", 1, 0.0, triggerReason="CablePluggedIn", transactionInfo={"transactionId": "t"})
BEAT: list[Message] = [("received", [2, "h", "Heartbeat", {}]), ("sent", [3, "h", {}])]
RESET: list[Message] = [("sent", [2, "r", "Reset", {"type": "OnIdle"}])]
TRIGGER: list[Message] = [("sent", [2, "t", "TriggerMessage", {}]), ("received", [3, "t", {"status": "Accepted"}])]


def at(*steps: tuple[float, list[Message]]) -> list[Frame]:
    """Return the frames of steps, all of one at a time."""
    return [msgspec.structs.replace(each, at_s=time) for time, step in steps for each in frames([step])]


AGAIN: list[Message] = [("received", [2, "b2", "BootNotification", {}])]
LATE: dict[str, tuple[Device, list[Frame], str]] = {
    "no heartbeat": ("station", at((0, BOOT), (77, BEAT)), "sends nothing for 77 s"),
    "no heartbeat in an interval that was set": (
        "station", at((0, BOOT), (1, told("HeartbeatInterval", "10")), (23, BEAT)), "sends nothing for 22 s",
    ),
    "boots too early": ("station", at((0, REJECTED), (58, AGAIN)), "boots again after 58 s"),
    "no answer": ("station", at((0, RESET), (61, BEAT)), "does not answer Reset within 61 s"),
    "no answer of a back end": ("csms", at((0, [("sent", [2, "h", "Heartbeat", {}])]), (61, BEAT)), "Heartbeat within"),
    "waits for a cable": (
        "station", at(*((0.0, each) for each in NO_CABLE), (44, BEAT)), "transaction t waits for a cable for 44 s",
    ),
}  # fmt: skip
IN_TIME: list[list[Frame]] = [
    at((0, BOOT), (75, BEAT)),
    at((0, REJECTED), (59.5, AGAIN)),
    at((0, REJECTED), (5, TRIGGER), (6, AGAIN)),
    at((0, BOOT), (1, told("WebSocketPingInterval", "30")), (999, BEAT)),
    at((0, BEAT), (1, TRIGGER), (2, AGAIN)),
    at((0, BEAT), (61, AGAIN)),
    at((0, PENDING), (1, told("A", "1")), (2, BEAT)),
    at((0, RESET), (59, BEAT)),
    at(*((0.0, each) for each in NO_CABLE), (42, BEAT)),
    at(*((0.0, each) for each in NO_CABLE), (20, PLUGGED), (99, BEAT)),
    [*at((0, BOOT)), Frame(1, "note", "connection ended: x", connection=1), *at((99, BEAT))],
]


def of_16(
    meter: int,
    number: int = 7,
    connector: int = 2,
    *,
    value: str = "1.2",
    states: str = "",
    timed: bool = True,
    again: str = "",
) -> list[Frame]:
    """Return two transactions of OCPP 1.6 with the tester as back end; the first ends with a meter and a number, in
    frames with these message ids once more, and its connector has a state each second."""
    start = {"connectorId": 1, "idTag": "A", "meterStart": 1000, "timestamp": "2026-11-02T10:00:00Z"}
    values = {"timestamp": "2026-11-02T10:00:05Z", "sampledValue": [{"value": value, "unit": "kWh"}]}
    stop = {"transactionId": number, "meterStop": meter, "timestamp": "2026-11-02T10:00:09Z"}
    steps: list[list[Message]] = [
        [("received", [2, "a", "StartTransaction", start]), ("sent", [3, "a", {"transactionId": 7}])],
        [("received", [2, "b", "MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": [values]}])],
        *([("received", [2, f"s{at}", "StatusNotification", {
            "connectorId": 1, "errorCode": "NoError", "status": each,
            **({"timestamp": f"2026-11-02T10:00:0{at}Z"} if timed else {})}]),
           ("sent", [3, f"s{at}", {}])] for at, each in enumerate(states.split(), 1)),
        [("received", [2, "c", "StartTransaction", start | {"connectorId": connector}]),
         ("sent", [3, "c", {"transactionId": 8}])],
        *([("received", [2, each, "StopTransaction", stop]), ("sent", [3, each, {}])] for each in f"d{again}"),
    ]  # fmt: skip
    return frames(steps)


@pytest.mark.parametrize(
    ("run", "rules"),
    [
        (of_16(1200), set()),
        (of_16(1199), {"RUN-END-METER", "RUN-METERS"}),
        (of_16(1300, number=9), {"RUN-TRANSACTION-EVENTS"}),
        (of_16(1300, connector=1), {"RUN-TRANSACTION-EVSE"}),
        (of_16(1200, value="1,2"), {"RUN-METERS"}),
        (of_16(1200, again="e"), {"RUN-TRANSACTION-EVENTS"}),
        (of_16(1200, states="Preparing Charging SuspendedEV Faulted Charging"), set()),
        (of_16(1200, states="Preparing Available Charging"), set()),
        (of_16(1200, states="Charging Preparing"), {"RUN-TRANSACTION-EVENTS"}),
        (of_16(1200, states="Charging Preparing", timed=False), set()),
        (of_16(1200, states="Charging SuspendedEV SuspendedEV SuspendedEV Available"), set()),
    ],
)
def test_transactions_of_1_6_are_judged(run: list[Frame], rules: set[str]) -> None:
    assert broken(judged("station", run)) == rules


@pytest.mark.parametrize(
    "readings",
    [
        metered((1000.0, 11_000.0, 16.0), (1183.0, 11_000.0, 16.0)),
        metered((12_000.0, 11_000.0), (12_000.0, 11_000.0)),  # it shows each kWh
        metered((1000.0, 11_000.0), (1000.0, 100.0)),  # it has just stopped
        metered((1000.0, 0.0), (1180.0, 0.0)),
        metered((1000.0, 150_000.0, 400.0), (3500.0, 150_000.0, 400.0)),
        metered((1000.0, 0.0, 0.2), (1000.0, 20.0, 0.9)),
    ],
)
def test_readings_that_fit_together_are_in_their_units(readings: Callable[..., list[list[Message]]]) -> None:
    assert broken(judged("station", frames(readings(STATION)))) == set()


@pytest.mark.parametrize("connector", [2, 0])
def test_readings_of_1_6_name_the_connector_of_their_transaction(connector: int) -> None:
    run = [
        msgspec.structs.replace(
            each, text=each.text.replace('"connectorId": 1, "tr', f'"connectorId": {connector}, "tr')
        )
        for each in of_16(1200, connector=3)
    ]
    assert broken(judged("station", run)) == ({"RUN-TRANSACTION-EVSE"} if connector else set())


@pytest.mark.parametrize("name", LATE)
def test_timeouts_are_judged_by_the_times_of_frames(name: str) -> None:
    device, run, found = LATE[name]
    result = judged(device, run)["RUN-TIMEOUTS"]
    assert result.verdict is Verdict.FAIL
    assert found in result.found


@pytest.mark.parametrize("run", IN_TIME)
def test_what_comes_in_time_is_no_fault(run: list[Frame]) -> None:
    assert broken(judged("station", run)) == set()


def test_a_password_in_a_frame_is_found() -> None:
    secret = "a-secret-password"
    shown = without_secrets(frames([[("received", [2, "1", "DataTransfer", {"data": secret}])]])[0], (secret, "", "er"))
    assert secret not in shown.text
    written = msgspec.structs.replace(shown, text=shown.text.replace("DataTransfer", "SetVariables"))
    assert broken(judged("csms", [shown])) == {"RUN-SECRETS"}
    assert broken(judged("csms", [written])) == set()


def test_every_rule_has_a_fault() -> None:
    shown = {rule for _, rule in (*STATION_FAULTS.values(), *CSMS_FAULTS.values())}
    assert shown == {rule.id for rule in RULES} - {"RUN-FRAMES", "RUN-TIMEOUTS"}


def test_an_invalid_frame_before_the_first_case_is_found() -> None:
    """Each case judges its own frames only: nothing else sees the boot of a station that connects."""
    boot = frames([[("received", [2, "1", "BootNotification", {"reason": "Whatever"}])]])[0]
    wrong = msgspec.structs.replace(boot, fault="BootNotification: reason 'Whatever'")
    assert broken(judged("station", [boot], frames(STATION))) == set()
    result = judged("station", [wrong], frames(STATION))["RUN-FRAMES"]
    assert (result.verdict, "reason 'Whatever'" in result.found) == (Verdict.FAIL, True)


async def test_a_case_in_which_a_rule_is_broken_fails() -> None:
    inner = BetweenCases()
    waived = JudgedTester(inner, RunJudge("station", {"RUN-MESSAGE-IDS": "known"}))
    tester = JudgedTester(inner, RunJudge("station", {}))
    assert (await tester.run(_Case("TC_1"))).verdict is Verdict.PASS
    result = await tester.run(_Case("TC_2"))
    assert result.verdict is Verdict.FAIL
    assert "RUN-MESSAGE-IDS: NotifyReport has the message id 'r1-1' again" in result.found
    await waived.run(_Case("TC_1"))
    assert "RUN-MESSAGE-IDS" not in (await waived.run(_Case("TC_2"))).found


def test_what_a_station_repeats_breaks_nothing() -> None:
    """An event that was not answered comes again, on another connection and with another message id."""
    again = [("received", [2, "new", "TransactionEvent", STATION[5][0][1][3]]), ("sent", [3, "new", {}])]
    results = judged("station", frames(STATION[:6]), frames([again, *STATION[6:]], connection=2))
    assert broken(results) == set()


def test_a_retry_may_have_the_message_id_of_its_original() -> None:
    """OCPP-J 4.1.4 by the errata of 2025-09, and 2.1: if the original was not answered, or too late."""
    (first, answer), other = STATION[5], ("received", [2, "t2", "Heartbeat", {}])
    late = [first, answer, first, answer]
    for run, found in (
        ([*at((0, [first])), *frames([[first, answer]], connection=2)], set()),
        (at((0, [first]), (20, [answer]), (21, [first, answer])), set()),
        (at((0, [first]), (20, [other])), {"RUN-MESSAGE-IDS"}),
        (at((0, late)), {"RUN-MESSAGE-IDS"}),
    ):
        assert broken(judged("station", [*frames(STATION[:5]), *run])) - {"RUN-REPORT-PARTS"} == found


def test_message_ids_of_1_6_may_come_again_on_another_connection() -> None:
    for is_16, verdict in ((True, Verdict.PASS), (False, Verdict.FAIL)):
        judge = RunJudge("station", {}, is_16=is_16)
        judge.take("TC_1", [*frames([BEAT]), *frames([BEAT], connection=2)])
        assert judge.result(MESSAGE_IDS).verdict is verdict


def test_sequence_numbers_may_count_on_over_all_transactions() -> None:
    """Part 2, E 1.3.2.1: two transactions at once have gaps then, which the other one fills."""
    other: dict[str, Any] = {"evse": {"id": 2, "connectorId": 1}}
    both = [event(1, "Started", 7, 1.0, "a"), event(2, "Started", 8, 1.0, "b", **other), event(3, "Ended", 9, 1.0, "a")]
    last = event(4, "Ended", 10, 1.0, "b", **other)
    assert broken(judged("station", frames([*both, last]))) == set()
    assert broken(judged("station", frames([both[0], both[2], both[1], last]))) == set()
    assert broken(judged("station", frames([both[0], both[2]]))) == {"RUN-SEQUENCE"}


def test_the_status_of_a_connector_may_be_old_but_not_of_the_future() -> None:
    for time, found in (("10:00:00", set()), ("13:00:00", {"RUN-CLOCK"})):
        status = {"evseId": 1, "connectorStatus": "Available", "timestamp": f"2026-11-02T{time}Z"}
        run = frames(
            [clock("12:00:00"), told("TimeSource", "Heartbeat"), [("received", [2, "s", "StatusNotification", status])]]
        )
        assert broken(judged("station", run)) == found


def test_a_request_after_one_that_was_never_answered_is_no_fault() -> None:
    """The earlier one has timed out."""
    lost = [("received", [2, "lost", "Heartbeat", {}])]
    assert broken(judged("station", frames([*STATION[:5], lost, *STATION[5:]]))) == set()


def test_profiles_are_forgotten_with_the_case_and_when_cleared() -> None:
    cleared: list[Message] = [
        ("received", [2, "c", "ClearChargingProfile", {"chargingProfileId": 7}]),
        ("sent", [3, "c", {"status": "Accepted"}]),
    ]
    asked = ("SetChargingProfile", "ClearChargingProfile", "RequestStartTransaction")
    assert broken(judged("csms", frames([profile(7, 0)]), frames([profile(10, 0)]), asked=asked)) == set()
    assert broken(judged("csms", frames([profile(7, 0), cleared, profile(10, 0)]), asked=asked)) == set()
    rejected = [profile(10, 0)[0], ("sent", [3, "p10-0-1", {"status": "Rejected"}])]
    assert broken(judged("csms", frames([profile(7, 0), rejected]), asked=asked)) == set()


def test_a_finding_names_its_cases_and_shows_its_frames() -> None:
    judge = RunJudge("station", {})
    again = frames([[("received", [2, "t1", "Heartbeat", {}])]])
    for number, each in enumerate([frames(STATION), again, again], 1):
        judge.take(f"TC_{number}", each)
    rule = next(each for each in judge.rules if each.id == "RUN-MESSAGE-IDS")
    found = judge.result(rule).found
    assert found == "Heartbeat has the message id 't1' again (TC_2; 2 in all; also in TC_3)"
    assert [each.fault for each in judge.frames(rule)] == ["Heartbeat has the message id 't1' again"] * 2


def test_a_declaration_waives_a_rule_by_name() -> None:
    judge = RunJudge("station", {"RUN-METERS": "the meter of the test bench restarts"})
    judge.take("TC_1", frames(STATION_FAULTS["a register falls"][0](STATION)))
    rule = next(each for each in judge.rules if each.id == "RUN-METERS")
    assert judge.result(rule).verdict is Verdict.OPEN
    assert judge.result(rule).found.startswith("waived: the meter of the test bench restarts: transaction tx-1: ")
    with pytest.raises(ConfigError, match="no rule 'RUN-METER'"):
        RunJudge("station", {"RUN-METER": "mistyped"})


def test_a_rule_without_anything_to_judge_is_not_exercised() -> None:
    assert {each.verdict for each in judged("station").values()} == {Verdict.NOT_EXERCISED}


class BetweenCases:
    """Sends frames also between cases."""

    def __init__(self) -> None:
        self.frames = frames(STATION[:2])
        self.asked: set[str] = set()

    async def run(self, case: Any, /) -> Result:
        self.frames = frames(STATION[2:6])
        return Result(case=case.id, verdict=Verdict.PASS, found="as required")


async def test_frames_before_and_between_cases_are_judged_too() -> None:
    judge = RunJudge("station", {})
    inner = BetweenCases()
    tester = JudgedTester(inner, judge)
    case = next(each for each in RULES if each.id == "RUN-CLOCK")
    await tester.run(_Case("TC_1"))
    inner.frames += frames(STATION[7:8])  # an event is lost, and the next one comes after the case
    results = {rule.id: await tester.run(rule) for rule in judge.rules}
    assert broken(results) == {"RUN-SEQUENCE"}
    assert results["RUN-INVENTORY"].verdict is Verdict.PASS
    assert case.group == "Run"


class _Case:
    title = required = open = group = ""
    requirements = published = ()
    quick = False

    def __init__(self, identifier: str) -> None:
        self.id = identifier


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PAYLOAD = st.fixed_dictionaries(
    {},
    optional={
        "transactionInfo": JSON | st.just({"transactionId": "a"}), "eventType": JSON, "seqNo": JSON | st.integers(),
        "timestamp": JSON, "evse": JSON | st.fixed_dictionaries({"id": JSON, "connectorId": JSON}),
        "meterValue": JSON | st.lists(st.fixed_dictionaries({
            "timestamp": JSON | st.just("2026-11-02T10:00:00Z"),
            "sampledValue": JSON | st.lists(st.fixed_dictionaries({
                "value": JSON | st.floats(), "measurand": JSON | st.just("Energy.Active.Import.Register"),
                "phase": JSON, "unitOfMeasure": JSON | st.fixed_dictionaries({"multiplier": JSON, "unit": JSON}),
            }), max_size=2),
        }), max_size=2),
        "requestId": JSON | st.integers(0, 3), "tbc": JSON, "reportData": JSON | st.lists(JSON, max_size=2),
        "chargingProfile": JSON, "chargingProfileId": JSON, "getVariableResult": JSON, "setVariableData": JSON,
        "setVariableResult": JSON, "status": JSON, "interval": JSON, "evseId": JSON, "connectorStatus": JSON,
        "remoteStartId": JSON, "connectorId": JSON | st.just(1), "transactionId": JSON | st.just(7), "meterStop": JSON,
        "meterStart": JSON, "configurationKey": JSON, "triggerReason": JSON,
    },
)  # fmt: skip
ACTIONS = st.sampled_from([
    "TransactionEvent", "NotifyReport", "SetChargingProfile", "ClearChargingProfile", "GetChargingProfiles",
    "GetBaseReport", "GetVariables", "SetVariables", "MeterValues", "StartTransaction", "StopTransaction",
    "GetConfiguration", "BootNotification", "StatusNotification", "NotifyEvent",
])  # fmt: skip
IDS = st.sampled_from(["1", "2", "-1"])
ANY_FRAME = st.one_of(
    st.tuples(st.sampled_from([2, 6]), IDS, ACTIONS, PAYLOAD),
    st.tuples(st.sampled_from([3, 4]), IDS, PAYLOAD | JSON),
    JSON,
)


@given(st.lists(st.tuples(st.sampled_from(["sent", "received", "note"]), ANY_FRAME), max_size=12))
def test_no_frame_of_a_device_ends_the_judge(run: list[tuple[Any, Any]]) -> None:
    for device in ("station", "csms"):
        judge = RunJudge(device, {})
        judge.take("TC_1", [Frame(0.0, way, json.dumps(each)) for way, each in run])
        judge.take("TC_2", [Frame(0.0, "received", "[" * 100_000), Frame(0.0, "received", "\ud800")])
        assert all(judge.result(rule).found for rule in judge.rules)


def times(steps: list[list[Message]], *seconds: float) -> list[Frame]:
    """Return the frames of steps, one at each time."""
    return [msgspec.structs.replace(each, at_s=at) for each, at in zip(frames(steps), seconds, strict=True)]


def valid(identifier: int, begin: str, end: str) -> list[Message]:
    """Return a profile that is valid from a time to another."""
    (asked, answer) = profile(identifier, 0)
    asked[1][3]["chargingProfile"] |= {"validFrom": begin, "validTo": end}
    return [asked, answer]


HONEST: dict[str, tuple[Device, list[Frame]]] = {
    "signed readings without a key or of a format of the maker's own": (
        "station",
        frames(signed_run(
            signed(300.0, 1, publicKey=""),
            signed(310.0, 2, 999.0, publicKey="", encodingMethod="X-1", signedMeterData="AAAA"),
        )(STATION)),
    ),
    "the same signed reading in two events": (
        "station", frames(signed_run(signed(300.0, 1), signed(300.0, 1))(STATION)),
    ),
    "a transaction from before the run": ("station", frames([event(9, "Ended", 4, 90.0, "tx-0"), *STATION[4:]])),
    "a register that is rounded in other units": (
        "station", frames(instead(6, event(3, "Updated", 2, 149.4))(STATION)),
    ),
    "a clock that the back end has set": (
        "station",
        frames(instead(7, event(4, "Ended", 3, 250.0, timestamp="2026-11-02T09:59:59Z"))(STATION)),
    ),
    "a request that was given up": ("station", times(pipelined(STATION)[5:6], 0.0, 30.0, 31.0, 32.0)),
    "a report that a lost connection ended": (
        "station", [*frames([inventory(1), report(1, 0, "A", tbc=True)]), *frames(STATION[4:8], connection=2)],
    ),
    "profiles one after another": (
        "csms",
        frames([
            valid(7, "2026-11-02T08:00:00Z", "2026-11-02T10:00:00Z"),
            valid(8, "2026-11-02T10:00:00.000Z", "2026-11-02T12:00:00Z"),
        ]),
    ),
    "the same ids for two stations": (
        "csms",
        [msgspec.structs.replace(each, station=name) for name in ("A", "B") for each in frames(CSMS[1:2])],
    ),
    "an answer to a request that is wrong": (
        "station",
        frames([[("sent", [2, "x", "Reset"]), ("received", [4, "x", "FormationViolation", "", {}])]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_what_is_right_breaks_no_rule(name: str) -> None:
    device, run = HONEST[name]
    assert broken(judged(device, run)) == set()
