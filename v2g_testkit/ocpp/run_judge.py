"""What no case sees: rules that hold over a whole run, over all of its cases and connections. Pure.

Each rule is a row of the report, after the cases; it also fails the case in which it is broken. The declaration may
waive it by name, with a reason.
"""

import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

import msgspec

from v2g import typed_json
from v2g.energy.meter_records import judge
from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.keys import MeterKey, read_key
from v2g.energy.meter_records.record import Direction, Record
from v2g.errors import CodecError, ConfigError, OcppError
from v2g.ocpp.rpc import CALL, CALLERROR, CALLRESULT, SEND
from v2g.ocpp.times import format_time, parse_time
from v2g.text import printable
from v2g_testkit.cases.case import Described, Result, Verdict
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.connection import PATIENCE_S, Frame

_DIRECTIONS: Final[dict[str, Direction]] = {
    "Energy.Active.Import.Register": "import",
    "Energy.Active.Export.Register": "export",
}
_KNOWN: Final = ("OCMF", "PCDF")
"""Values of `encodingMethod` by which a record that cannot be read is a fault; others may be a maker's own."""

_MOST_KEYS: Final = 1000


class SignedReadings:
    """Takes sampled values in order; stations may send the key of an EVSE's meter once."""

    def __init__(self) -> None:
        self._keys: dict[int, MeterKey] = {}
        self._last: dict[str, tuple[Record, MeterKey]] = {}

    def fault(self, sample: Payload, evse: int, transaction: str) -> str | None:
        """Return what is wrong with a signed value, "" for nothing, None if it cannot be judged: it is not signed, its
        key has not been sent, or its format or algorithm is not known here.
        """
        signed = sample.get("signedMeterValue")
        if not isinstance(signed, dict):
            return None
        data, method, printed = (
            str(signed.get(each, "")) for each in ("signedMeterData", "encodingMethod", "publicKey")
        )
        if printed:
            try:
                key = read_key(printed)
            except CodecError as error:
                return str(error)
            if evse in self._keys or len(self._keys) < _MOST_KEYS:
                self._keys[evse] = key
        known = self._keys.get(evse)
        found = FoundRecord(place="", data=data.encode("utf-8", "surrogatepass"))
        judged = judge.judge(found, judge.Expected(keys=(known,) if known is not None else ()))
        record = judged.record
        if record is None:
            ours = method.upper() in _KNOWN and judged.verdict != "unsupported"
            return f"{judged.verdict}: {judged.reason}" if ours else None
        if known is None or judged.verdict == "unsupported":
            return None
        if judged.verdict != "verified":
            return f"{judged.verdict}: {judged.reason}"
        last, key_before = self._last.get(transaction, (None, known)) if transaction else (None, known)
        if not key_before.is_same(known):
            return "other_meter: the readings of a transaction are signed by two keys"
        if transaction:
            self._last[transaction] = record, known
        wrong = None if last is None or last.signed == record.signed else judge.out_of_place(last, record)
        if wrong is not None and wrong[0] != "incomplete":  # a station need not send all that its meter signs
            return f"{wrong[0]}: {wrong[1]}"
        return self._value_fault(sample, record)

    @staticmethod
    def _value_fault(sample: Payload, record: Record) -> str:
        measurand = str(sample.get("measurand", "Energy.Active.Import.Register"))
        value, unit = sample.get("value"), sample.get("unitOfMeasure")
        unit = unit if isinstance(unit, dict) else {}
        power = unit.get("multiplier", 0)
        if measurand not in _DIRECTIONS or isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        number = Decimal(repr(value))
        number = number.to_integral_value() if number == number.to_integral_value() else number
        kilo = 3 if str(unit.get("unit", "Wh")) == "kWh" else 0
        if not number.is_finite() or not isinstance(power, int) or abs(power) > 20:
            return ""
        wh, digit = (each.scaleb(power + kilo) for each in (number, Decimal(1).scaleb(int(number.as_tuple().exponent))))
        if judge.carries(record, _DIRECTIONS[measurand], wh, digit):
            return ""
        return f"{measurand} is {wh:f} Wh, which the meter has not signed"


_SPARE_S: Final = 10.0
"""How late a device may be beside a tenth of the timeout, s: the network, and its own work."""

_CABLE: Final = frozenset({"EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE"})
"""Charging states of a transaction whose cable is plugged in."""

_CHARGES: Final = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})
"""States of a connector of OCPP 1.6 with a transaction."""

CONNECTION: Final = "evconnectiontimeout"
HEARTBEAT: Final = "heartbeatinterval"
MESSAGE: Final = "messagetimeout"
PING: Final = "websocketpinginterval"
"""Pings may stand for heartbeats (OCPP-J 5.2)."""


class _Wait(msgspec.Struct, frozen=True):
    """A driver who has not plugged in yet: since when, and until when he may take (s of the trace)."""

    connection: int
    began_s: float
    until_s: float


class Timeouts:
    """What a device waits for. Each method yields what is wrong, the time is that of the frame, in s."""

    def __init__(self) -> None:
        self._settings: dict[str, str] = {}
        self._heard: dict[int, float] = {}
        """When the device has sent its latest frame, by connection."""
        self._silenced: dict[int, tuple[float, float]] = {}
        """When its boot was not accepted, and for how long it must not boot again, by connection."""
        self._accepted: set[int] = set()
        self._cables: dict[tuple[str, int], bool] = {}
        """Whether a cable is plugged in, by station and EVSE."""
        self._waits: dict[str, _Wait] = {}
        """By transaction."""

    def learn(self, variable: str, value: object) -> None:
        """Take a value of a variable that the station has or has accepted; names are those of either version."""
        name = {"connectiontimeout": CONNECTION}.get(variable.lower(), variable.lower())
        if name in (CONNECTION, HEARTBEAT, MESSAGE, PING):
            self._settings[name] = str(value)

    @property
    def patience_s(self) -> float:
        """How long the device waits for an answer at least, s."""
        return min(PATIENCE_S, self._seconds(MESSAGE) or PATIENCE_S)

    def _seconds(self, name: str) -> float:
        """Return a timeout in s, 0 for one that is unknown or off."""
        value = self._settings.get(name, "")
        return float(value) if value.isascii() and value.isdecimal() and len(value) < 8 else 0.0

    def pass_time(self, connection: int, at_s: float, *, received: bool) -> Iterator[str]:
        """A frame has been sent, or received."""
        before, interval = self._heard.get(connection), 0.0 if self._seconds(PING) else self._seconds(HEARTBEAT)
        if before is not None and connection in self._accepted and 0 < _late(interval) < at_s - before:
            yield f"sends nothing for {at_s - before:.0f} s, though its heartbeats are due every {interval:.0f} s"
            self._heard[connection] = at_s  # once
        if received:
            self._heard[connection] = at_s
        for transaction, wait in list(self._waits.items()):
            if wait.connection != connection:
                del self._waits[transaction]  # what it did while it was away may still come
            elif at_s > wait.until_s:
                del self._waits[transaction]
                yield (
                    f"transaction {transaction} waits for a cable for {at_s - wait.began_s:.0f} s, though its "
                    f"EVConnectionTimeOut is {self._settings[CONNECTION]} s"
                )

    def lose(self, connection: int) -> None:
        """The connection has ended."""
        for each in (self._heard, self._silenced):
            each.pop(connection, None)
        self._accepted.discard(connection)

    def boot(self, connection: int, at_s: float) -> Iterator[str]:
        """The station sends BootNotification."""
        began_s, interval = self._silenced.pop(connection, (at_s, 0.0))
        if at_s - began_s < interval - 1:
            yield f"boots again after {at_s - began_s:.0f} s, though it was told to wait for {interval:.0f} s"

    def booted(self, connection: int, at_s: float, answer: Mapping[str, object]) -> None:
        """BootNotification is answered."""
        interval = answer.get("interval")
        if not isinstance(interval, int):
            return
        if answer.get("status") == "Accepted":
            self._accepted.add(connection)
            self.learn(HEARTBEAT, interval)
        else:
            self._silenced[connection] = at_s, float(interval)

    def triggered(self, connection: int) -> None:
        """The station is asked for a message, perhaps its boot."""
        self._silenced.pop(connection, None)

    def cable(self, station: str, evse: int, status: str) -> None:
        """A connector has this status."""
        self._cables[station, evse] = status not in ("Available", "Reserved", "Unavailable", "Faulted")

    def event(self, station: str, transaction: str, event: Mapping[str, object], connection: int, at_s: float) -> None:
        """The station sends TransactionEvent."""
        info, evse = event.get("transactionInfo"), event.get("evse")
        state = info.get("chargingState") if isinstance(info, dict) else None
        place = station, evse["id"] if isinstance(evse, dict) and isinstance(evse.get("id"), int) else 0
        trigger, timeout = event.get("triggerReason"), self._seconds(CONNECTION)
        if event.get("eventType") == "Started" and trigger in ("Authorized", "RemoteStart") and state not in _CABLE:
            if timeout and self._cables.get(place) is False:
                self._waits[transaction] = _Wait(connection, at_s, at_s + _late(timeout))
        elif state in _CABLE or trigger in ("CablePluggedIn", "EVConnectTimeout") or event.get("eventType") == "Ended":
            self._waits.pop(transaction, None)


def _late(timeout_s: float) -> float:
    """Return when a timeout has been missed for certain, s; 0 for none."""
    return timeout_s * 1.1 + _SPARE_S if timeout_s else 0.0


Device = Literal["station", "csms"]

MOST_STORED: Final = 100_000
"""Ids, transactions and so on that are stored of a device, which may flood the tester."""

CLOCK_STEP_MS: Final = 5000
"""By how much a station's clock may be set back between two events: it follows that of the back end."""

AHEAD_MS: Final = 300_000
"""By how much a station's time may be ahead of that of the back end, to which it has set its clock."""

BEHIND_MS: Final = 1_500_000
"""By how much it may be behind: an event may have waited to be sent. Time zones are further apart than that."""

BOOTS_S: Final = 60.0
"""A first BootNotification that a connection has later than this need not be that of a start."""

ANSWER_S: Final = 60.0
"""How long an answer may take, s; OCPP sets no limit, and a device under load is not at fault."""

_PASSWORDS: Final = frozenset({"basicauthpassword", "authorizationkey"})
"""Variables, and keys of OCPP 1.6, that can be written only."""

ROUNDING_WH: Final = 0.9
"""By how much two readings of a register may differ that are rounded in other units."""


class RunRule(Described, frozen=True, kw_only=True):
    """A row of the report; `devices` are the kinds that it is for."""

    title: str = "The whole run"
    devices: tuple[Device, ...] = ("station",)

    @property
    def group(self) -> str:
        return "Run"


def _rule(
    id: str,  # noqa: A002 - as in every case
    required: str,
    requirements: tuple[str, ...] = (),
    devices: tuple[Device, ...] = ("station",),
) -> RunRule:
    return RunRule(id=id, required=required, requirements=requirements, devices=devices)


_BOTH: Final[tuple[Device, ...]] = ("station", "csms")

FRAMES: Final = _rule(
    "RUN-FRAMES", "Every frame is valid by OCPP-J and by the schemas.", ("OCPP-J 4.2",), devices=_BOTH
)
MESSAGE_IDS: Final = _rule(
    "RUN-MESSAGE-IDS",
    "No two requests have the same message id, also on different connections, but for one that is repeated as it was "
    "not answered.",
    ("OCPP-J 4.1.4",), devices=_BOTH,
)  # fmt: skip
ONE_CALL: Final = _rule(
    "RUN-ONE-CALL", "No request is sent while an earlier one waits for its answer.", ("OCPP-J 4.1.1",), devices=_BOTH,
)  # fmt: skip
ANSWERS: Final = _rule(
    "RUN-ANSWERS", "Every answer belongs to a request of this connection, no request is answered twice, and results "
    "are of the variables that were asked for.", ("OCPP-J 4.1.4", "B05.FR.01", "B05.FR.02", "B06.FR.01", "B06.FR.02"),
    devices=_BOTH,
)  # fmt: skip
TRANSACTION_IDS: Final = _rule(
    "RUN-TRANSACTION-IDS",
    "No transaction has the id of an earlier one; in OCPP 1.6 it is the back end that gives them.",
    ("E01.FR.08", "StartTransaction"), devices=_BOTH,
)  # fmt: skip
SEQUENCE: Final = _rule(
    "RUN-SEQUENCE", "The seqNo of a transaction's events rises by one, and each event has its own.", ("E01.FR.07",)
)
LIFE: Final = _rule(
    "RUN-TRANSACTION-EVENTS",
    "A transaction begins with Started, and nothing follows its Ended; in OCPP 1.6 its connector has a state of "
    "charging until its end.",
    ("E01.FR.07", "E06.FR.01"),
)  # fmt: skip
EVSE: Final = _rule(
    "RUN-TRANSACTION-EVSE", "A transaction stays at its EVSE and connector, and an EVSE has one transaction at a time.",
    ("E01.FR.14", "E01.FR.16"),
)  # fmt: skip
METERS: Final = _rule(
    "RUN-METERS", "Registers of energy never fall within a transaction, and readings are numbers.",
    ("MeasurandEnumType",),
)  # fmt: skip
UNITS: Final = _rule(
    "RUN-METER-UNITS",
    "Each measurand has a unit of its own kind, and within a transaction energy, power and current fit together, "
    "within a factor of 30: kWh, Wh, kW, W and A are named as they are.",
    ("UnitOfMeasureType", "MeasurandEnumType"),
)
SIGNED: Final = _rule(
    "RUN-SIGNED-READINGS",
    "Signed readings are signed by the key that the station sends, and are the values beside them; within a "
    "transaction they stay with one meter, and their pages do not go back.",
    ("J01.FR.21", "J02.FR.21"),
)
CLOCK: Final = _rule(
    "RUN-CLOCK",
    "The time of a transaction's events does not go back, and is about that of their readings; it is that of the back "
    "end, also in reports, if that is the station's source.",
    ("TransactionEventRequest", "B01.FR.06", "NotifyReportRequest"),
)
BOOT: Final = _rule(
    "RUN-BOOT", "A station sends nothing before BootNotification, and nothing unasked before that is accepted.",
    ("B01.FR.08", "B02.FR.02", "B03.FR.02"),
)  # fmt: skip
REPORT_PARTS: Final = _rule(
    "RUN-REPORT-PARTS",
    "The parts of a report, and of events, are numbered from 0 without gaps, and the last one says so.",
    ("B07.FR.10", "N07.FR.07", "N08.FR.04"),
)  # fmt: skip
REPORTS: Final = _rule("RUN-REPORTS", "Every report belongs to a request for it.", ("B07.FR.01", "B08.FR.03"))
INVENTORY: Final = _rule(
    "RUN-INVENTORY", "A full inventory has every variable that the station has a value of.", ("B07.FR.08",)
)
END_METER: Final = _rule(
    "RUN-END-METER", "A transaction whose energy is metered ends with a reading of its register.", ("E06.FR.11",)
)
TIMEOUTS: Final = _rule(
    "RUN-TIMEOUTS",
    "Timeouts are kept, by the times of the frames: an answer comes in time; a station sends something in each "
    "heartbeat interval, waits as long as its boot was answered, and gives up a driver who does not plug in.",
    ("OCPP-J 4.1.1", "B02.FR.04", "B03.FR.02", "E03.FR.05", "G02.FR.01"), devices=_BOTH,
)  # fmt: skip
SECRETS: Final = _rule(
    "RUN-SECRETS", "No password can be read: neither from the device model nor from another message.",
    ("BasicAuthPassword",), devices=_BOTH,
)  # fmt: skip
REQUEST_IDS: Final = _rule(
    "RUN-REQUEST-IDS", "No request that was accepted has the requestId or remoteStartId of an earlier one.",
    ("RequestStartTransactionRequest", "GetBaseReportRequest"), devices=("csms",),
)  # fmt: skip
UNASKED: Final = _rule(
    "RUN-UNASKED", "The back end sends no request with an effect on drivers that its operator has not asked for.",
    devices=("csms",),
)  # fmt: skip
PROFILES: Final = _rule(
    "RUN-PROFILES",
    "No two charging profiles of a station have the same purpose, EVSE and stack level at the same time.",
    ("K01.FR.06",), devices=("csms",),
)  # fmt: skip

RULES: Final = (
    FRAMES, MESSAGE_IDS, ONE_CALL, ANSWERS, TRANSACTION_IDS, SEQUENCE, LIFE, EVSE, METERS, UNITS, SIGNED, CLOCK, BOOT,
    REPORT_PARTS, REPORTS, INVENTORY, END_METER, TIMEOUTS, SECRETS, REQUEST_IDS, UNASKED, PROFILES,
)  # fmt: skip

EFFECTS: Final = frozenset({
    "CancelReservation", "ChangeAvailability", "ChangeTransactionTariff", "ClearChargingProfile", "DeleteCertificate",
    "NotifyAllowedEnergyTransfer", "PublishFirmware", "RequestStartTransaction", "RequestStopTransaction",
    "ReserveNow", "Reset", "SetChargingProfile", "SetDERControl", "SetNetworkProfile", "UnlockConnector",
    "UnpublishFirmware", "UpdateFirmware", "UsePriorityCharging",
    "RemoteStartTransaction", "RemoteStopTransaction", "SignedUpdateFirmware",
})  # fmt: skip
"""Requests of a back end that move power, doors or software."""

_WISHES: Final = frozenset({"NotifyEVChargingNeeds", "NotifyEVChargingSchedule"})
"""Requests of a station upon which a back end sends a profile by itself (K15.FR.07, K16, K17, K18, K19)."""

_REPORTS: Final[Mapping[str, frozenset[str]]] = {
    "NotifyReport": frozenset({"GetBaseReport", "GetReport"}),
    "NotifyMonitoringReport": frozenset({"GetMonitoringReport"}),
    "NotifyCustomerInformation": frozenset({"CustomerInformation"}),
    "ReportChargingProfiles": frozenset({"GetChargingProfiles"}),
    "NotifyDisplayMessages": frozenset({"GetDisplayMessages"}),
}
"""Reports, and the requests that they belong to by `requestId`."""

_NUMBERED: Final = frozenset({"NotifyReport", "NotifyMonitoringReport", "NotifyCustomerInformation"})
"""Reports whose parts have a seqNo."""

_REPORTED_BY: Final = {request: report for report, requests in _REPORTS.items() for request in sorted(requests)}
"""Request for a report -> the report, whose `requestId` must be that of one request."""

_REGISTERS: Final = frozenset({
    "Energy.Active.Export.Register", "Energy.Active.Import.Register", "Energy.Apparent.Export",
    "Energy.Apparent.Import", "Energy.Reactive.Export.Register", "Energy.Reactive.Import.Register",
})  # fmt: skip


IMPORT: Final = ("Energy.Active.Import.Register", "", "Outlet")
"""The register of what an EVSE has delivered, as of OCPP 1.6's meterStart and meterStop."""


_POWER, _CURRENT = "Power.Active.Import", "Current.Import"
_FLOWS: Final = frozenset({_POWER, _CURRENT})
_FACTOR: Final = 30
"""What is apart by more is in another unit: by 230 (A for W) or 1000; readings of a moment are apart by less."""
_LEAST_WH: Final = 50.0
"""Less energy by power says nothing: a power of a moment need not have flowed."""
_MOST_W: Final = 5_000_000
"""No EVSE delivers more: the Megawatt Charging System has 3.75 MW."""
_LEAST_A: Final = 6.0
"""With such a current a vehicle charges; beside a smaller one the power may be that of the station itself."""
_VOLTS: Final = (20.0, 10_000.0)
"""A current times these is more, and less, than its power: of one phase of three, or of direct current."""


class _Finding(msgspec.Struct):
    """Violations of one rule: what the first was, how often, what the first of each case was, and the frames."""

    first: str
    times: int = 0
    cases: dict[str, str] = {}
    frames: list[Frame] = []


class _Boot(msgspec.Struct):
    """How far a station has come on a connection."""

    first: tuple[str, float] | None = None
    """Its first request before it has booted there, and when, s."""
    booted: bool = False
    status: str = "Accepted"
    asked: bool = False
    """Whether the back end has sent a request since then."""


class _Transaction(msgspec.Struct):
    """What a station has reported of a transaction."""

    events: dict[int, tuple[str, str]] = {}
    """By seqNo: type and time."""
    evse: tuple[int, int] | None = None
    """EVSE and connector; 0 for a connector that was not named."""
    ended: int | None = None
    """The seqNo of its Ended."""
    registers: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    """Values (Wh) with their time (UTC ms) of each register."""
    flows: dict[int, dict[str, dict[str, float]]] = {}
    """By time (UTC ms), measurand and phase: powers (W) and currents (A) at the outlet."""
    settled: bool = False
    """Whether all of it has been judged."""
    acknowledged: int = 0
    """The connection on which the end of one of OCPP 1.6 was answered in time."""
    charges: bool = False
    """Whether the connector of one of OCPP 1.6 has had a status of charging."""
    left: tuple[str, int] | None = None
    """Of OCPP 1.6: a status of a connector without a transaction, which its own has had since, and when (UTC ms)."""


class RunJudge:
    """Takes the frames of a device case by case; `result` judges what there was so far.

    `waived` are rules by id, each with the reason why the device need not follow it; raises ConfigError for an unknown
    one.
    """

    def __init__(self, device: Device, waived: Mapping[str, str], *, is_16: bool = False) -> None:
        """`is_16`: it speaks OCPP 1.6, where message ids may come again on another connection."""
        self._is_station, self._is_16 = device == "station", is_16
        own = [rule for rule in RULES if device in rule.devices]
        gives_ids = self._is_station is not is_16
        self.rules: Final = tuple(rule for rule in own if gives_ids or rule is not TRANSACTION_IDS)
        known = [rule.id for rule in own]
        if unknown := [each for each in waived if each not in known]:
            raise ConfigError(f"waived: no rule {printable(unknown[0])!r}", hint=", ".join(known))
        self._waived = waived
        self._found: dict[str, _Finding] = {}
        self._applied: set[str] = set()
        self._case = ""
        self._frame: Frame | None = None
        self._allowed: Collection[str] = ()
        self._ids: dict[tuple[str, str], str] = {}
        """Message ids of each station's identity -> the request, "" once it was answered in time."""
        self._waiting: dict[int, dict[str, tuple[str, Payload, str, float]]] = {}
        """Requests of the device by connection and id: action, payload, the action of one that was sent before the
        answer, and when it was sent, s."""
        self._begun = False
        """Whether a transaction has begun in this run."""
        self._profiles: dict[int, tuple[tuple[object, ...], tuple[float, float]]] = {}
        """Charging profiles that the station has accepted in this case: EVSE, purpose and level; from, until (UTC
        ms)."""
        self._asked: dict[int, dict[str, tuple[str, Payload]]] = {}
        self._due: dict[int, dict[str, float]] = {}
        """When requests to the device were sent that wait for its answer, by connection and id, s."""
        self._answered: set[tuple[int, str]] = set()
        self._timeouts = Timeouts()
        self._boots: dict[int, _Boot] = {}
        """By connection."""
        self._clock: tuple[float, int] | None = None
        """A time of the back end that the station was given: when (s), and UTC, ms."""
        self._is_set = False
        """Whether the station sets its clock by that."""
        self._end_readings = True
        """Whether the station is to read its meter at the end of a transaction."""
        self._numbers: set[tuple[str, str, str, int]] = set()
        """Of accepted requests of a back end: station, action, field and number."""
        self._reports_asked: dict[str, set[int]] = {}
        self._parts: dict[tuple[str, int], int] = {}
        self._events: dict[int, int] = {}
        """The seqNo that the next NotifyEvent of a connection must have, where it is not 0."""
        self._unfinished: dict[tuple[str, int], tuple[str, Frame]] = {}
        self._transactions: dict[str, _Transaction] = {}
        self._signed = SignedReadings()
        self._starts: dict[int, tuple[str, object]] = {}
        """Transactions of OCPP 1.6 to which a back end has given its number: station, and the request."""
        self._at_connector: dict[int, _Transaction] = {}
        """The latest transaction of each connector of OCPP 1.6."""
        self._inventories: dict[int, set[tuple[str, ...]]] = {}
        self._inventory: set[tuple[str, ...]] | None = None
        self._values: dict[tuple[str, ...], tuple[str, Frame]] = {}

    def take(self, case: str, frames: Sequence[Frame], asked: Collection[str] = ()) -> None:
        """Take the frames of a case; `asked` are the actions that the operator has the back end send in it."""
        if case != self._case:
            self._profiles.clear()  # the station of each case has none
        self._case, self._allowed = case, asked
        for self._frame in frames:
            if self._frame.way == "received":
                self._judge(FRAMES, not self._frame.fault, self._frame.fault)
            try:
                text = "null" if self._frame.way == "note" else self._frame.text
                frame = json.loads(text, parse_float=typed_json.number)
            except (ValueError, RecursionError):
                continue  # what is not JSON has failed the case
            self._pass_time()
            match self._frame.way, frame:
                case "received", [kind, str() as identifier, str() as action, dict() as payload] if kind in (
                    CALL,
                    SEND,
                ):
                    self._request(kind, identifier, action, payload)
                case "received", [kind, str() as identifier, *rest] if kind in (CALLRESULT, CALLERROR):
                    self._answer(kind, identifier, rest)
                case "sent", [kind, str() as identifier, *rest] if kind == CALL:  # perhaps one that is wrong
                    match rest:
                        case [str() as action, dict() as payload]:
                            asked_for = action, payload
                            self._due.setdefault(self._frame.connection, {})[identifier] = self._frame.at_s
                            self._boots.setdefault(self._frame.connection, _Boot()).asked = True
                            if action in _WISHES:
                                self._allowed = {*self._allowed, "SetChargingProfile"}
                            if "Trigger" in asked_for[0]:
                                self._timeouts.triggered(self._frame.connection)
                        case _:
                            asked_for = "", {}
                    self._asked.setdefault(self._frame.connection, {})[identifier] = asked_for
                case "sent", [kind, str() as identifier, *_] if kind in (CALLRESULT, CALLERROR):
                    self._answer_sent(identifier, frame[2] if kind == CALLRESULT and len(frame) == 3 else None)
        self._settle(ended=True)

    def fault(self, case: str) -> str:
        """Return what a device did wrong in a case by a rule that is not waived, or nothing."""
        wrong = (
            f"{rule.id}: {self._found[rule.id].cases[case]}"
            + (f" ({', '.join(rule.requirements)})" if rule.requirements else "")
            for rule in self.rules
            if rule.id in self._found and case in self._found[rule.id].cases and rule.id not in self._waived
        )
        return "; ".join(wrong)

    def result(self, rule: RunRule) -> Result:
        """Return the result of a rule over all frames so far."""
        self._settle(ended=False)
        if rule is REPORT_PARTS:
            self._find_unfinished()
        elif rule is INVENTORY:
            self._find_missing()
        finding = self._found.get(rule.id)
        if finding is None:
            applied = rule.id in self._applied
            verdict = Verdict.PASS if applied else Verdict.NOT_EXERCISED
            return Result(case=rule.id, verdict=verdict, found="as required" if applied else "nothing to judge")
        others = list(finding.cases)[1:]
        where = f"; also in {', '.join(others[:5])}{' ...' if len(others) > 5 else ''}" if others else ""
        found = f"{finding.first} ({next(iter(finding.cases))}; {finding.times} in all{where})"
        if rule.id in self._waived:
            return Result(case=rule.id, verdict=Verdict.OPEN, found=f"waived: {self._waived[rule.id]}: {found}")
        return Result(case=rule.id, verdict=Verdict.FAIL, found=found)

    def frames(self, rule: RunRule) -> list[Frame]:
        """Return frames that violate a rule."""
        finding = self._found.get(rule.id)
        return [] if finding is None else finding.frames

    def _find(self, rule: RunRule, found: str, case: str = "", frame: Frame | None = None) -> None:
        finding = self._found.setdefault(rule.id, _Finding(printable(found)[:300]))
        finding.times += 1
        finding.cases.setdefault(case or self._case, printable(found)[:300])
        frame = frame or self._frame
        if frame is not None and len(finding.frames) < 100:
            finding.frames.append(msgspec.structs.replace(frame, fault=printable(found)[:300]))

    def _judge(self, rule: RunRule, holds: bool, found: str) -> None:
        self._applied.add(rule.id)
        if not holds:
            self._find(rule, found)

    # -- time

    def _pass_time(self) -> None:
        assert self._frame is not None
        connection, now = self._frame.connection, self._frame.at_s
        due = self._due.get(connection, {})
        self._applied.add(TIMEOUTS.id)
        if self._frame.way == "note":
            if self._frame.text.startswith("connection ended"):
                self._timeouts.lose(connection)
                due.clear()
            return
        if self._is_station:
            for wrong in self._timeouts.pass_time(connection, now, received=self._frame.way == "received"):
                self._find(TIMEOUTS, wrong)
        for identifier in [each for each, at in due.items() if now - at > ANSWER_S]:
            at, action = due.pop(identifier), self._asked[connection][identifier][0]
            self._find(TIMEOUTS, f"does not answer {action} within {now - at:.0f} s")

    # -- OCPP-J

    def _request(self, kind: int, identifier: str, action: str, payload: Payload) -> None:
        assert self._frame is not None
        known, text = self._known(identifier), self._frame.text
        # a retry may have the id of its original (errata of 2025-09; 2.1)
        fresh = self._ids.get(known, text) == text
        self._judge(MESSAGE_IDS, fresh, f"{action} has the message id {identifier!r} again")
        if len(self._ids) < MOST_STORED:
            self._ids.setdefault(known, text)
        if kind == CALL:
            self._applied.add(ONE_CALL.id)
            waiting = self._waiting.setdefault(self._frame.connection, {})
            now = self._frame.at_s
            for other, (name, sent, _, at) in waiting.items():  # a violation if it is answered still
                if now - at < self._timeouts.patience_s:
                    waiting[other] = name, sent, action, at
            waiting[identifier] = action, payload, "", now
        self._judge(
            UNASKED, action not in EFFECTS or action in self._allowed, f"sends {action}, which nobody asked for"
        )
        writes = action in ("SetVariables", "SetNetworkProfile", "ChangeConfiguration")
        self._judge(SECRETS, not self._frame.secret or writes, f"sends a password in {action}")
        for field, number in () if self._is_station else _numbers(payload):
            numbered = self._frame.station, _REPORTED_BY.get(action, action), field, number
            self._judge(REQUEST_IDS, numbered not in self._numbers, f"{action} has the {field} {number} again")
        if self._is_station:
            self._start(action)
        if "generatedAt" in payload:
            behind_ms = math.inf if action == "NotifyEvent" else BEHIND_MS  # events of before wait in a queue
            self._is_now(payload["generatedAt"], action, behind_ms)
        match action:
            case "BootNotification":
                for wrong in self._timeouts.boot(self._frame.connection, self._frame.at_s):
                    self._find(TIMEOUTS, wrong)
            case "StatusNotification":
                place, status = payload.get("evseId"), payload.get("connectorStatus")
                if place is None:
                    self._status_16(payload)
                if isinstance(place, int) and isinstance(status, str):
                    self._timeouts.cable(self._frame.station, place, status)
                self._is_now(payload.get("timestamp"), "the status of a connector", math.inf)
            case "TransactionEvent":
                self._event(payload)
            case "StopTransaction":
                self._stop_16(payload)
            case "MeterValues" if "connectorId" in payload:
                self._values_16(payload)
            case "MeterValues":
                self._read_signed("", payload.get("evseId"), payload.get("meterValue"))
            case "NotifyEvent":
                wanted = self._events.pop(self._frame.connection, 0)
                about = f"NotifyEvent has seqNo {payload.get('seqNo')} instead of {wanted}"
                self._judge(REPORT_PARTS, payload.get("seqNo") == wanted, about)
                if payload.get("tbc") is True:
                    self._events[self._frame.connection] = wanted + 1
            case _ if action in _REPORTS:
                self._report(action, payload)

    def _known(self, identifier: str) -> tuple[str, str]:
        """Return among which requests a message id has to be unique, and the id."""
        assert self._frame is not None
        return str(self._frame.connection) if self._is_16 else self._frame.station, identifier

    def _start(self, action: str) -> None:
        """A station sends a request, perhaps before it may."""
        assert self._frame is not None
        boot = self._boots.setdefault(self._frame.connection, _Boot())
        if action != "BootNotification":
            if boot.first is None:
                boot.first = action, self._frame.at_s
            waits = boot.status == "Rejected" or (boot.status == "Pending" and not boot.asked)
            self._judge(BOOT, not waits, f"sends {action} while its boot is {boot.status}")
            return
        if boot.first is not None and not boot.booted and not boot.asked:
            before, at_s = boot.first
            self._judge(BOOT, self._frame.at_s - at_s > BOOTS_S, f"sends {before} before BootNotification")
        boot.booted = True

    def _is_now(self, time: object, what: str, behind_ms: float = BEHIND_MS) -> None:
        """Judge a time of a station that sets its clock by the back end."""
        assert self._frame is not None
        utc_ms = _utc_ms(str(time))
        if self._clock is None or not self._is_set or not utc_ms:
            return
        ahead = utc_ms - self._clock[1] - (self._frame.at_s - self._clock[0]) * 1000
        way = "ahead of" if ahead > 0 else "behind"
        about = f"sends {what} of {time}, {abs(ahead) / 60_000:.0f} min {way} the back end's clock"
        self._judge(CLOCK, -behind_ms < ahead < AHEAD_MS, about)

    def _answer_sent(self, identifier: str, answer: object) -> None:
        assert self._frame is not None
        waiting = self._waiting.get(self._frame.connection, {})
        action, payload, overtaken_by, at = waiting.pop(identifier, ("", {}, "", 0.0))
        if self._frame.at_s - at < self._timeouts.patience_s and (known := self._known(identifier)) in self._ids:
            self._ids[known] = ""
        if overtaken_by:
            self._find(ONE_CALL, f"sends {overtaken_by} before it has the answer to {action}")
        status = answer.get("status") if isinstance(answer, dict) else None
        if action == "StartTransaction" and isinstance(answer, dict):
            self._start_16(payload, answer)
        ended = self._transactions.get(str(payload.get("transactionId"))) if action == "StopTransaction" else None
        if ended is not None and isinstance(answer, dict) and self._frame.at_s - at < self._timeouts.patience_s:
            ended.acknowledged = self._frame.connection
        if action == "BootNotification" and isinstance(answer, dict):
            self._timeouts.booted(self._frame.connection, self._frame.at_s, answer)
            boot = self._boots.setdefault(self._frame.connection, _Boot())
            boot.status, boot.asked = str(status), False
        if action in ("BootNotification", "Heartbeat") and isinstance(answer, dict):
            utc_ms = _utc_ms(str(answer.get("currentTime")))
            self._clock = (self._frame.at_s, utc_ms) if utc_ms else self._clock
        if isinstance(answer, dict) and str(answer.get("status", "Accepted")).startswith("Accepted"):
            for field, number in _numbers(payload) if len(self._numbers) < MOST_STORED else ():
                self._numbers.add((self._frame.station, _REPORTED_BY.get(action, action), field, number))
        if action == "SetChargingProfile" and status == "Accepted":
            self._profile(payload)
        elif action == "ClearChargingProfile" and status == "Accepted":
            named = payload.get("chargingProfileId")
            for each in [each for each in self._profiles if named is None or each == named]:
                del self._profiles[each]
        elif action == "GetChargingProfiles" and status == "NoProfiles":
            self._profiles.clear()

    def _profile(self, payload: Payload) -> None:
        profile = payload.get("chargingProfile")
        if not isinstance(profile, dict) or not isinstance(profile.get("id"), int):
            return
        purpose, level = profile.get("chargingProfilePurpose"), profile.get("stackLevel")
        place = payload.get("evseId"), purpose, level
        begin, end = _utc_ms(str(profile.get("validFrom", ""))), _utc_ms(str(profile.get("validTo", ""))) or math.inf
        for other, (its, (from_, until)) in self._profiles.items():
            clash = its == place and other != profile["id"] and begin < until and from_ < end
            what = f"profile {profile['id']} beside {other}: both {purpose} of level {level} at EVSE {place[0]}"
            self._judge(PROFILES, not clash or purpose == "TxProfile", what)
        self._applied.add(PROFILES.id)
        self._profiles[profile["id"]] = place, (begin, end)

    def _answer(self, kind: int, identifier: str, rest: list[object]) -> None:
        assert self._frame is not None
        connection = self._frame.connection
        asked = self._asked.get(connection, {}).get(identifier)
        if kind == CALLERROR and identifier == "-1":
            return
        self._due.get(connection, {}).pop(identifier, None)
        self._judge(SECRETS, not self._frame.secret, f"answers {asked[0] if asked else identifier!r} with a password")
        self._judge(ANSWERS, asked is not None, f"answers {identifier!r}, which was not asked on this connection")
        self._judge(ANSWERS, (connection, identifier) not in self._answered, f"answers {identifier!r} twice")
        if len(self._answered) < MOST_STORED:
            self._answered.add((connection, identifier))
        if asked is not None and kind == CALLRESULT and rest and isinstance(rest[0], dict):
            self._taken(*asked, rest[0])

    def _taken(self, action: str, payload: Payload, answer: Payload) -> None:
        """Note what an answer promises, or says."""
        if action == "StartTransaction" and isinstance(answer.get("transactionId"), int):
            self._started_16(payload, answer["transactionId"])
        for each in _objects(answer.get("configurationKey")):
            self._learn(str(each.get("key")).lower(), each.get("value"))
        if action == "ChangeConfiguration" and answer.get("status") == "Accepted":
            self._timeouts.learn(str(payload.get("key")), payload.get("value"))
        request = payload.get("requestId")
        if isinstance(request, int):
            self._reports_asked.setdefault(action, set()).add(request)
            if action == "GetBaseReport" and payload.get("reportBase") == "FullInventory":
                self._inventories[request] = set()
        for kind in ("getVariable", "setVariable"):
            asked, found = (
                sorted((*_variable(each), str(each.get("attributeType", "Actual"))) for each in _objects(one))
                for one in (payload.get(f"{kind}Data"), answer.get(f"{kind}Result"))
            )
            self._judge(ANSWERS, asked == found, f"answers {action} of {asked} with results of {found}")
        for each in _objects(answer.get("getVariableResult")):
            if each.get("attributeStatus") == "Accepted" and len(self._values) < MOST_STORED:
                assert self._frame is not None
                self._values.setdefault(_variable(each), (self._case, self._frame))
                self._learn(_variable(each)[4], each.get("attributeValue"))
        if action == "SetVariables":
            written = zip(
                _objects(payload.get("setVariableData")), _objects(answer.get("setVariableResult")), strict=False
            )
            for wanted, each in written:
                if each.get("attributeStatus") == "Accepted":
                    self._timeouts.learn(_variable(wanted)[4], wanted.get("attributeValue"))
                    self._note_end_readings(_variable(wanted)[4], wanted.get("attributeValue"))

    def _learn(self, variable: str, value: object) -> None:
        """The station tells the value of a variable."""
        self._judge(SECRETS, variable not in _PASSWORDS or not value, f"lets {variable} be read")
        self._timeouts.learn(variable, value)
        if variable == "timesource":
            self._is_set = "heartbeat" in str(value).lower()
        self._note_end_readings(variable, value)

    def _note_end_readings(self, variable: str, value: object) -> None:
        if variable == "txendedmeasurands":
            self._end_readings = "Energy.Active" in str(value)

    # -- OCPP 1.6

    def _started_16(self, payload: Payload, number: int) -> None:
        """A back end gives a transaction its number; the same request may come again, and gets the same one."""
        assert self._frame is not None
        mine = self._frame.station, sorted(payload.items(), key=str)
        known = self._starts.get(number, mine) == mine
        self._judge(TRANSACTION_IDS, known, f"gives the transaction id {number} again")
        if len(self._starts) < MOST_STORED:
            self._starts[number] = mine

    def _start_16(self, payload: Payload, answer: Payload) -> None:
        """A station's transaction is accepted."""
        number, place, meter = answer.get("transactionId"), payload.get("connectorId"), payload.get("meterStart")
        if not isinstance(place, int) or len(self._transactions) >= MOST_STORED:
            return
        self._transactions[str(number)] = self._at_connector[place] = found = _Transaction()
        self._place(str(number), found, {"id": place})
        found.registers[IMPORT] = [(_utc_ms(str(payload.get("timestamp"))), meter)] if isinstance(meter, int) else []

    def _status_16(self, payload: Payload) -> None:
        """A station's connector has a status, perhaps while a transaction charges there."""
        place, status = payload.get("connectorId"), str(payload.get("status"))
        at = _utc_ms(str(payload.get("timestamp")))
        found = self._at_connector.get(place) if isinstance(place, int) else None
        if found is None or found.ended is not None:
            return
        if status in _CHARGES:
            found.charges, found.left = True, None
        elif found.charges and found.left is None and status != "Faulted" and at:  # a time is optional
            found.left = status, at

    def _values_16(self, payload: Payload) -> None:
        """A station's readings, perhaps of a transaction: they name its connector, or the whole station."""
        number, place = str(payload.get("transactionId")), payload.get("connectorId")
        found = self._transactions.get(number)
        if found is None:
            return
        if isinstance(place, int) and place:
            self._place(number, found, {"id": place})
        self._read(found, payload.get("meterValue"))

    def _stop_16(self, payload: Payload) -> None:
        """A station's transaction ends; the request may come again."""
        number, meter = str(payload.get("transactionId")), payload.get("meterStop")
        found = self._transactions.get(number)
        if found is None:
            self._judge(LIFE, not self._transactions, f"transaction {number} ends, which has not begun")
            return
        assert self._frame is not None
        again = found.acknowledged == self._frame.connection
        self._judge(LIFE, not again, f"transaction {number} ends again, though its end was answered")
        self._read(found, payload.get("transactionData"))
        at = _utc_ms(str(payload.get("timestamp")))
        if found.left is not None and found.left[1] < at - CLOCK_STEP_MS:
            seconds = (at - found.left[1]) / 1000
            self._find(LIFE, f"its connector is {found.left[0]} for {seconds:.0f} s of transaction {number}")
        if isinstance(meter, int):
            found.registers.setdefault(IMPORT, []).append((at, meter))
        registers = [value for _, value in found.registers.get(IMPORT, ())]
        rounded = not isinstance(meter, int) or meter >= max(registers) - ROUNDING_WH
        self._judge(
            END_METER, rounded, f"transaction {number} ends with {meter} Wh, after {max(registers, default=0):g} Wh"
        )
        found.ended = found.ended or 0

    # -- reports

    def _report(self, action: str, payload: Payload) -> None:
        assert self._frame is not None
        request, number = payload.get("requestId"), payload.get("seqNo")
        if not isinstance(request, int):
            return
        known = any(request in self._reports_asked.get(each, ()) for each in _REPORTS[action]) or any(
            action_ in _REPORTS[action] and sent.get("requestId") == request
            for action_, sent in self._asked.get(self._frame.connection, {}).values()
        )
        self._judge(REPORTS, known, f"sends {action} with requestId {request}, which was not asked for")
        for each in _objects(payload.get("reportData")):
            for attribute in _objects(each.get("variableAttribute")):
                if attribute.get("type", "Actual") == "Actual" and "value" in attribute:
                    self._learn(_variable(each)[4], attribute["value"])
        key = action, request
        if action in _NUMBERED and isinstance(number, int):
            wanted = self._parts.get(key, 0)
            self._judge(REPORT_PARTS, number == wanted, f"{action} {request} has seqNo {number} instead of {wanted}")
            self._parts[key] = number + 1
        if payload.get("tbc") is True:
            self._unfinished[key] = self._case, self._frame
        else:
            self._unfinished.pop(key, None)
            self._parts.pop(key, None)
        if action == "NotifyReport" and request in self._inventories:
            for each in _objects(payload.get("reportData")):
                if len(self._inventories[request]) < MOST_STORED:
                    self._inventories[request].add(_variable(each))
            if payload.get("tbc") is not True:
                self._inventory = (self._inventory or set()) | self._inventories.pop(request)

    def _find_unfinished(self) -> None:
        for (action, request), (case, frame) in self._unfinished.items():
            if self._frame is not None and frame.connection != self._frame.connection:
                continue  # the connection was lost meanwhile
            self._find(REPORT_PARTS, f"{action} {request} is never finished: its last part has tbc true", case, frame)
        self._unfinished.clear()

    def _find_missing(self) -> None:
        if self._inventory is None:
            return
        self._applied.add(INVENTORY.id)
        for name, (case, frame) in self._values.items():
            if name not in self._inventory:
                self._find(INVENTORY, f"the full inventory lacks {_named(name)}, which has a value", case, frame)
        self._values.clear()

    # -- transactions

    def _event(self, payload: Payload) -> None:
        info, kind, number = payload.get("transactionInfo"), payload.get("eventType"), payload.get("seqNo")
        identifier = info.get("transactionId") if isinstance(info, dict) else None
        if not isinstance(identifier, str) or not isinstance(kind, str) or not isinstance(number, int):
            return  # the schema has found it
        if identifier not in self._transactions and len(self._transactions) >= MOST_STORED:
            return
        about, time = f"transaction {identifier}", str(payload.get("timestamp"))
        found = self._transactions.setdefault(identifier, _Transaction())
        if found.events.get(number) == (kind, time):
            return  # repeated, since it was not answered
        again = kind == "Started" and any(each == "Started" for each, _ in found.events.values())
        self._judge(TRANSACTION_IDS, not again, f"{about} is started a second time")
        if again:
            found = self._transactions[identifier] = _Transaction()
        assert self._frame is not None
        self._timeouts.event(self._frame.station, identifier, payload, self._frame.connection, self._frame.at_s)
        self._judge(SEQUENCE, number not in found.events, f"{about} has two events with seqNo {number}")
        before = number > 0 and not self._begun  # the run
        self._begun |= kind == "Started"
        self._judge(LIFE, bool(found.events) or kind == "Started" or before, f"{about} begins with {kind}")
        late = found.ended is not None and number > found.ended
        self._judge(LIFE, not late, f"{about} has {kind} after Ended")
        earlier = [at for each, (_, at) in found.events.items() if each < number]
        back = max((_utc_ms(at) for at in earlier), default=0) - CLOCK_STEP_MS > _utc_ms(time) > 0
        self._judge(
            CLOCK, not back, f"{about}: seqNo {number} is of {time}, an earlier one of {max(earlier, default='')}"
        )
        if payload.get("offline") is not True:
            self._is_now(time, f"{kind} of {about}")
        found.events[number] = kind, time
        if any(each == "Started" for each, _ in found.events.values()):
            begun = min(_utc_ms(at) for _, at in found.events.values())
            for at, _ in _samples(payload.get("meterValue")):
                within = begun - BEHIND_MS < at < _utc_ms(time) + AHEAD_MS
                self._judge(CLOCK, within, f"{about}: a reading of {format_time(at)} is in {kind} of {time}")
        if kind == "Ended":
            found.ended = number
        self._place(identifier, found, payload.get("evse"))
        metered = bool(found.registers)
        read = self._read(found, payload.get("meterValue"))
        if kind == "Ended" and metered and self._end_readings:
            self._judge(END_METER, read, f"{about} ends without a reading of its register")
        self._read_signed(identifier, found.evse[0] if found.evse is not None else 0, payload.get("meterValue"))

    def _place(self, identifier: str, found: _Transaction, evse: object) -> None:
        if not isinstance(evse, dict) or not isinstance(evse.get("id"), int):
            return
        connector = evse.get("connectorId")
        place = evse["id"], connector if isinstance(connector, int) else 0
        if found.evse is not None:
            same = found.evse[0] == place[0] and (not place[1] or not found.evse[1] or place[1] == found.evse[1])
            what = f"transaction {identifier} is at EVSE {place}, and was at {found.evse}"
            self._judge(EVSE, same, what)
        else:
            for other, each in self._transactions.items():
                busy = each is not found and each.ended is None and each.evse is not None and each.evse[0] == place[0]
                self._judge(EVSE, not busy, f"transaction {identifier} begins at EVSE {place[0]} beside {other}")
                each.ended = 0 if busy and self._is_16 else each.ended  # once: its number may be unknown
        found.evse = place if found.evse is None or place[1] else found.evse

    def _read(self, found: _Transaction, values: object) -> bool:
        """Note powers, currents and the registers of energy among values; return whether there is one of these."""
        read = False
        for (measurand, phase, location), at, value in readings_of(values, _FLOWS):
            if location == "Outlet":
                found.flows.setdefault(at, {}).setdefault(measurand, {})[phase] = value
        for _, each in _samples(values):
            text = each.get("value")
            if isinstance(text, str) and each.get("format", "Raw") == "Raw" and _value(each) is None:
                self._find(METERS, f"{text!r} is not a number")
            if misfit := _of_another_kind(each):
                self._find(UNITS, misfit)
        for key, at, wh in registers_of(values):
            found.registers.setdefault(key, []).append((at, wh))
            read = True
        return read

    def _read_signed(self, transaction: str, evse: object, values: object) -> None:
        place = evse if isinstance(evse, int) else 0
        about = f"transaction {transaction}" if transaction else f"EVSE {place}"
        for _, each in _samples(values):
            fault = self._signed.fault(each, place, transaction)
            if fault is not None:
                self._judge(SIGNED, not fault, f"{about}: {fault}")

    def _settle(self, *, ended: bool) -> None:
        """Judge what a transaction is as a whole: those that have `ended`, or all."""
        for identifier, each in self._transactions.items():
            if each.settled or (ended and each.ended is None):
                continue
            each.settled = True
            numbers = each.events.keys()
            others: set[int] = set()
            if min(numbers, default=0):  # it counts on, over all transactions (part 2 E 1.3.2.1)
                others = {number for other in self._transactions.values() for number in other.events}
            if numbers and (missing := set(range(min(numbers), max(numbers))) - numbers - others):
                self._find(SEQUENCE, f"transaction {identifier} lacks seqNo {min(missing)}")
            for (measurand, phase, location), values in each.registers.items():
                self._applied.add(METERS.id)
                ordered = sorted(values, key=lambda value: value[0])
                for (_, before), (_, after) in itertools.pairwise(ordered):
                    if after < before - ROUNDING_WH:
                        what = " ".join(filter(None, (measurand, phase, location)))
                        self._find(METERS, f"transaction {identifier}: {what} falls from {before:g} to {after:g} Wh")
                        break
            register = sorted(each.registers.get(IMPORT, ()))
            if each.flows or len(register) > 1:
                wrong = next(_of_other_units(register, each.flows), "")
                self._judge(UNITS, not wrong, f"transaction {identifier}: {wrong}")


class CaseTester(Protocol):
    """Runs a case; `frames` and `asked` are those of the latest one."""

    frames: list[Frame]
    asked: set[str]
    """Actions that the operator of a back end has it send."""

    async def run(self, case: Any, /) -> Result:
        """Return the result of a case."""

    async def reboot(self) -> bool:
        """Have the device restarted; return whether that was possible."""


class JudgedTester:
    """Runs cases by a tester, and judges the run by the rules of `judge`, which come after the cases."""

    def __init__(self, tester: CaseTester, judge: RunJudge) -> None:
        self._tester = tester
        self._judge = judge
        self._case, self._taken = "before the first case", 0
        self.frames: list[Frame] = []
        """Of the latest case or rule."""

    async def run(self, case: Described) -> Result:
        """Return the result of a case, or of a rule over the run so far."""
        self._take()  # what came after the latest case
        if isinstance(case, RunRule):
            result = self._judge.result(case)
            self.frames = self._judge.frames(case)
            return result
        self._case, self._taken = case.id, 0
        result = await self._tester.run(case)
        self.frames = self._tester.frames
        self._take()
        wrong = self._judge.fault(case.id)
        if wrong and result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NOT_EXERCISED):
            return msgspec.structs.replace(result, verdict=Verdict.FAIL, found=wrong)
        return result

    async def reboot(self) -> bool:
        """Have the device restarted; return whether that was possible."""
        return await self._tester.reboot()

    def _take(self) -> None:
        self._judge.take(self._case, self._tester.frames[self._taken :], self._tester.asked)
        self._taken = len(self._tester.frames)


def _variable(data: Payload) -> tuple[str, ...]:
    """Return the name of a variable, in small letters.

    It has six parts: component, its EVSE, connector and instance, variable and its instance.
    """
    component, variable = data.get("component"), data.get("variable")
    component = component if isinstance(component, dict) else {}
    variable = variable if isinstance(variable, dict) else {}
    evse = component.get("evse") if isinstance(component.get("evse"), dict) else {}
    assert isinstance(evse, dict)
    parts = (
        component.get("name"), evse.get("id"), evse.get("connectorId"), component.get("instance"),
        variable.get("name"), variable.get("instance"),
    )  # fmt: skip
    return tuple("" if each is None else str(each).lower() for each in parts)


def _objects(values: object) -> Iterator[Payload]:
    """Yield the objects of a list, if it is one."""
    for each in values if isinstance(values, list) else ():
        if isinstance(each, dict):
            yield each


def _numbers(payload: Payload) -> Iterator[tuple[str, int]]:
    """Yield the numbers by which a back end tells its requests apart."""
    for field in ("requestId", "remoteStartId"):
        if isinstance(payload.get(field), int):
            yield field, payload[field]


def _named(name: tuple[str, ...]) -> str:
    component, evse, connector, instance, variable, its = name
    place = "".join(f" {each}" for each in (evse, connector) if each)
    one = f"[{instance}]" if instance else ""
    return f"{component}{one}{place}.{variable}{f'[{its}]' if its else ''}"


def _samples(values: object) -> Iterator[tuple[int, Payload]]:
    """Yield sampled values with their time (UTC ms), of a well-formed list."""
    for value in values if isinstance(values, list) else ():
        at = _utc_ms(str(value.get("timestamp"))) if isinstance(value, dict) else 0
        samples = value.get("sampledValue") if at else None
        for each in samples if isinstance(samples, list) else ():
            if isinstance(each, dict):
                yield at, each


def registers_of(values: object) -> Iterator[tuple[tuple[str, str, str], int, float]]:
    """Yield the registers of energy among meter values: measurand, phase, location; time (UTC ms); Wh or the like."""
    yield from readings_of(values, _REGISTERS)


def readings_of(values: object, measurands: Collection[str]) -> Iterator[tuple[tuple[str, str, str], int, float]]:
    """Yield the readings of these measurands among meter values, as `registers_of` does."""
    for at, each in _samples(values):
        measurand = str(each.get("measurand", IMPORT[0]))
        if measurand in measurands and (value := _value(each)) is not None:
            yield (measurand, str(each.get("phase", "")), str(each.get("location", "Outlet"))), at, value


def _value(sample: Payload) -> float | None:
    """Return a number in Wh, W, A or the like; in OCPP 1.6 it is a text, with its unit beside it, or signed."""
    value, unit = sample.get("value"), sample.get("unitOfMeasure")
    unit = unit if isinstance(unit, dict) else {"unit": sample.get("unit")}
    power = unit.get("multiplier", 0)
    if sample.get("format", "Raw") != "Raw" or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    scale = 10.0 ** (power if isinstance(power, int) and abs(power) < 20 else 0)
    number *= scale * (1000.0 if str(unit.get("unit")).startswith("k") else 1.0)
    return number if math.isfinite(number) else None


_UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "Energy.Active": ("Wh", "kWh"), "Energy.Reactive": ("varh", "kvarh"), "Energy.Apparent": ("VAh", "kVAh"),
    "Power.Active": ("W", "kW"), "Power.Offered": ("W", "kW"), "Power.Reactive": ("var", "kvar"), "Current": ("A",),
    "Voltage": ("V",), "SoC": ("Percent",),
}  # fmt: skip
"""Beginning of a measurand -> its units, of those that OCPP names."""


def _of_another_kind(sample: Payload) -> str:
    """Return a measurand with its unit if that is of another kind; makers may have units of their own."""
    stated = sample.get("unitOfMeasure")
    unit = str((stated if isinstance(stated, dict) else sample).get("unit"))
    measurand = str(sample.get("measurand", IMPORT[0]))
    fitting = next((units for name, units in _UNITS.items() if measurand.startswith(name)), ())
    others = itertools.chain.from_iterable(_UNITS.values())
    return f"{measurand} is in {unit}" if fitting and unit not in fitting and unit in others else ""


def _of_other_units(
    register: Sequence[tuple[int, float]], flows: Mapping[int, Mapping[str, Mapping[str, float]]]
) -> Iterator[str]:
    """Yield what cannot be in the units that it names: of the import register (UTC ms, Wh), of powers and currents."""
    powers: dict[int, float] = {}
    for at, flow in sorted(flows.items()):
        if (of_power := flow.get(_POWER)) is not None:
            powers[at] = of_power.get("", sum(of_power.get(f"L{line}", 0.0) for line in (1, 2, 3)))
            amps = max(flow.get(_CURRENT, {}).values(), default=0.0)
            charges = amps >= 1 and (powers[at] >= 100 or (amps >= _LEAST_A and powers[at] > 0))
            if charges and not _VOLTS[0] <= powers[at] / amps <= _VOLTS[1]:
                yield f"a power of {powers[at]:g} W beside a current of {amps:g} A"
    if len(register) < 2:
        return
    (began, first), (ended, last) = register[0], register[-1]
    within = [(at, watts) for at, watts in powers.items() if began <= at <= ended]
    drawn_wh = sum(min(one[1], other[1]) * (other[0] - one[0]) for one, other in itertools.pairwise(within)) / 3_600_000
    step_wh = _step_wh(value for _, value in register)
    rises = f"{IMPORT[0]} rises from {first:g} to {last:g} Wh"
    if drawn_wh >= _LEAST_WH and drawn_wh > _FACTOR * (last - first + step_wh):
        yield f"{rises}, though {drawn_wh:.0f} Wh flowed by its powers"
    for (at, before), (to, after) in itertools.pairwise(register):
        flowing = powers.get(at, 0.0), powers.get(to, 0.0)
        allowed_w = min(_MOST_W, _FACTOR * max(flowing)) if min(flowing) > 0 else _MOST_W
        if to - at >= 1000 and after - before > allowed_w * (to - at) / 3_600_000 + 10 * step_wh + _LEAST_WH:
            yield f"{IMPORT[0]} rises from {before:g} to {after:g} Wh in {(to - at) / 1000:g} s"


def _step_wh(values: Iterable[float]) -> float:
    """Return the step of a register by its values, at least 1 Wh: those of a meter that shows each 100 Wh end in 00."""
    shown = [value for value in values if value]
    step = 1
    while step < 10_000 and shown and all(value % (10 * step) == 0 for value in shown):
        step *= 10
    return float(step)


def _utc_ms(time: str) -> int:
    """Return a time in ms, 0 for one that is not readable: the schema has found it."""
    try:
        return parse_time(time)
    except OcppError:
        return 0
