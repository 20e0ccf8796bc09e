"""Transaction records and events: from meter samples to TransactionEvent requests, without I/O (E01 to E13).

A `TransactionRecord` holds what must survive a crash. Each function takes the record and an occurrence, and returns the
next record with the request to send; the caller stores both in one step, so that `seq_no` has neither gaps nor
repetitions.
"""

import base64
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.energy.conductors import Currents
from v2g.energy.settlement.ocmf import signed_meter_data
from v2g.ocpp.messages import transactions as ocpp
from v2g.ocpp.messages.authorization import AdditionalInfo, IdToken
from v2g.ocpp.messages.base import EVSE, OperationMode
from v2g.ocpp.messages.metering import (
    Measurand,
    MeterValue,
    Phase,
    ReadingContext,
    SampledValue,
    SignedMeterValue,
    UnitOfMeasure,
)
from v2g.ocpp.times import format_time
from v2g.ocpp.versions import without_21

Register = Literal["import", "export"]

IMPORT: Final[Measurand] = "Energy.Active.Import.Register"
EXPORT: Final[Measurand] = "Energy.Active.Export.Register"

_CONTEXTS: Final[Mapping[ocpp.TriggerReason, ReadingContext]] = {
    "MeterValuePeriodic": "Sample.Periodic",
    "MeterValueClock": "Sample.Clock",
    "Trigger": "Trigger",
}

_TRIGGERS_201: Final[Mapping[ocpp.TriggerReason, ocpp.TriggerReason]] = {
    "CostLimitReached": "ChargingStateChanged",
    "LimitSet": "ChargingRateChanged",
    "OperationModeChanged": "ChargingRateChanged",
    "RunningCost": "MeterValueClock",
    "SoCLimitReached": "EnergyLimitReached",
    "TariffChanged": "ChargingStateChanged",
    "TariffNotAccepted": "ChargingStateChanged",
    "TxResumed": "ChargingStateChanged",
}
"""Trigger reasons that only 2.1 has -> the nearest of 2.0.1."""


class SignedRegister(msgspec.Struct, frozen=True, kw_only=True):
    """A reading with the meter's signature, as OCMF.

    `public_key` is DER SubjectPublicKeyInfo, empty if the CSMS knows it. `method` is empty if the data names its
    algorithm itself, as OCMF does (signed meter values white paper 3.2).
    """

    register: Register
    data: str
    public_key: bytes = b""
    method: str = ""
    encoding: str = "OCMF"


class MeterSample(msgspec.Struct, frozen=True, kw_only=True):
    """A meter sample at `utc_ms`. Registers in mWh only grow; `power_w` > 0 charges; `soc` in percent."""

    utc_ms: int
    import_mwh: Annotated[int, Meta(ge=0)]
    export_mwh: Annotated[int, Meta(ge=0)]
    power_w: int | None = None
    soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    voltage_v: float | None = None
    current_a: float | None = None
    frequency_hz: float | None = None
    setpoint_w: float | None = None
    """The set-point, signed."""
    line_a: tuple[float, ...] = ()
    """Currents of L1, L2 and L3, A, signed as the power, as many as are measured; here and below."""
    line_v: tuple[float, ...] = ()
    """Voltages to the neutral, V."""
    line_w: tuple[float, ...] = ()
    """Powers, W, signed."""
    signed: tuple[SignedRegister, ...] = ()


class ReadMeter(Protocol):
    """Returns what the meter of an EVSE shows (0: the main meter), None without one. `context`: what it is read for,
    as a meter that signs says in its record (OCMF, table 7)."""

    def __call__(self, evse_id: int, context: ReadingContext = "Other", /) -> MeterSample | None: ...


class TransactionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An open transaction. `reference` is the caller's name for it, such as the ISO 15118 session id in hex."""

    transaction_id: str
    reference: str
    evse_id: int
    connector_id: int
    started_ms: int
    id_token: str
    id_token_type: str
    next_seq_no: int = 0
    charging_state: ocpp.ChargingState = "EVConnected"
    charging_since_ms: int | None = None
    charged_ms: int = 0
    last_sample: MeterSample | None = None
    operation_mode: OperationMode | None = None
    remote_start_id: int | None = None
    reservation_id: int | None = None
    group: str | None = None
    evccid: str = ""
    """The vehicle's own identifier (ISO 15118)."""

    authorized: bool = True
    """Whether energy may flow under its authorization."""
    ready_ms: int | None = None
    """When its driver was authorized and its vehicle there for the first time, if the charger does not manage it."""
    seen_ms: int = 0
    """When it was last known to be active."""
    begin: MeterSample | None = None
    """The first reading: for the Ended event, and for limits of energy."""
    public_key: str = ""
    """That of the meter, as last sent in the transaction."""
    stop_mwh: int | None = None
    """Import register at which energy stops (MaxEnergyOnInvalidId)."""
    limit: ocpp.TransactionLimit | None = None
    limit_by_csms: ocpp.TransactionLimit | None = None
    limit_of_payment: ocpp.TransactionLimit | None = None


Step = tuple[TransactionRecord, ocpp.TransactionEventRequest]


def start(
    record: TransactionRecord,
    utc_ms: int,
    *,
    trigger: ocpp.TriggerReason,
    sample: MeterSample | None,
    offline: bool,
    measurands: Collection[str] | None = None,
) -> Step:
    """Return the Started event of a new record; it contains the authorised identifier (E01.FR.10) and the used
    reservation (H03.FR.09). `measurands` selects what is reported of the sample, here and below; None: the ordinary
    ones."""
    begin = None if sample is None else msgspec.structs.replace(sample, signed=())
    return event(
        _measured(msgspec.structs.replace(record, begin=begin), sample),
        "Started",
        utc_ms,
        trigger=trigger,
        samples=_samples(sample, "Transaction.Begin", measurands),
        offline=offline,
        id_token=with_vehicle(IdToken(id_token=record.id_token, type=record.id_token_type), record.evccid),
        reservation_id=record.reservation_id,
    )


def update(
    record: TransactionRecord,
    utc_ms: int,
    *,
    trigger: ocpp.TriggerReason,
    charging_state: ocpp.ChargingState | None = None,
    operation_mode: OperationMode | None = None,
    sample: MeterSample | None = None,
    offline: bool,
    asleep: bool = False,
    measurands: Collection[str] | None = None,
) -> Step:
    """Return an Updated event. A charging state or operation mode of None leaves it unchanged."""
    record = turn(record, utc_ms, charging_state or record.charging_state)
    record = msgspec.structs.replace(record, operation_mode=operation_mode or record.operation_mode)
    samples = _samples(sample, _CONTEXTS.get(trigger, "Other"), measurands)
    record = _measured(record, sample)
    return event(record, "Updated", utc_ms, trigger=trigger, samples=samples, offline=offline, asleep=asleep)


def end(
    record: TransactionRecord,
    utc_ms: int,
    *,
    trigger: ocpp.TriggerReason,
    reason: ocpp.Reason,
    charging_state: ocpp.ChargingState = "EVConnected",
    begin: MeterSample | None = None,
    sample: MeterSample | None = None,
    offline: bool,
    measurands: Collection[str] | None = None,
) -> Step:
    """Return the Ended event.

    `begin` repeats the first reading if the meter signs begin and end separately, as both belong here (signed meter
    values white paper 4.1); a single container with both goes into `sample`.
    """
    record = _measured(turn(record, utc_ms, charging_state), sample)
    if sample is None and record.last_sample is not None:
        sample = msgspec.structs.replace(record.last_sample, signed=())  # an earlier signature does not prove the end
    samples = _samples(begin, "Transaction.Begin", measurands) + _samples(sample, "Transaction.End", measurands)
    return event(record, "Ended", utc_ms, trigger=trigger, samples=samples, offline=offline, reason=reason)


def for_201(request: ocpp.TransactionEventRequest) -> ocpp.TransactionEventRequest:
    """Return an event in the form of 2.0.1: without newer fields, with the nearest older reasons."""
    event = without_21(request)
    info = event.transaction_info
    if info.stopped_reason == "ReqEnergyTransferRejected":
        info = msgspec.structs.replace(info, stopped_reason="Other")
    trigger = _TRIGGERS_201.get(event.trigger_reason, event.trigger_reason)
    return msgspec.structs.replace(event, trigger_reason=trigger, transaction_info=info)


def meter_value(
    sample: MeterSample,
    context: ReadingContext,
    measurands: Collection[str] | None = None,
    *,
    signed: bool = True,
    with_key: bool = True,
) -> MeterValue:
    """Return a sample as an OCPP MeterValue: registers in Wh, power in W by direction, state of charge in percent.

    `measurands` selects among the measured values, None takes all but those that need a selection; if none of them was
    measured the import register is used, as a MeterValue must not be empty.
    """
    signatures = {each.register: _signed(each, with_key=with_key) for each in sample.signed} if signed else {}
    values = [
        value
        for value in _sampled(sample, context, signatures)
        if (value.measurand in measurands if measurands is not None else value.measurand in _ORDINARY)
    ]
    if not values:
        values = [SampledValue(value=sample.import_mwh / 1000, context=context, measurand=IMPORT)]
    return MeterValue(sampled_value=tuple(values), timestamp=format_time(sample.utc_ms))


_ORDINARY: Final = frozenset({IMPORT, EXPORT, "Power.Active.Import", "Power.Active.Export", "SoC"})


def _sampled(
    sample: MeterSample, context: ReadingContext, signatures: Mapping[Register, SignedMeterValue]
) -> Iterator[SampledValue]:
    """Yield everything that was measured."""
    yield SampledValue(
        value=sample.import_mwh / 1000, context=context, measurand=IMPORT, signed_meter_value=signatures.get("import")
    )
    yield SampledValue(
        value=sample.export_mwh / 1000, context=context, measurand=EXPORT, signed_meter_value=signatures.get("export")
    )
    power = sample.power_w
    measured: tuple[tuple[Measurand, float | None, str], ...] = (
        ("Power.Active.Import", None if power is None else max(0, power), "W"),
        ("Power.Active.Export", None if power is None else max(0, -power), "W"),
        ("Power.Active.Setpoint", sample.setpoint_w, "W"),
        ("Power.Active.Residual", _residual(sample), "W"),
        ("Voltage", sample.voltage_v, "V"),
        ("Current.Import", sample.current_a, "A"),
        ("Frequency", sample.frequency_hz, "Hz"),
    )
    export_a = sum(max(0.0, -each) for each in sample.line_a) if sample.line_a else None
    for measurand, value, unit in (*measured, ("Current.Export", export_a, "A")):
        if value is not None:
            yield SampledValue(
                value=value, context=context, measurand=measurand, unit_of_measure=UnitOfMeasure(unit=unit)
            )
    yield from _sampled_lines(sample, context)
    if sample.soc is not None:
        percent = UnitOfMeasure(unit="Percent")
        yield SampledValue(value=sample.soc, context=context, measurand="SoC", location="EV", unit_of_measure=percent)


def _sampled_lines(sample: MeterSample, context: ReadingContext) -> Iterator[SampledValue]:
    """Yield what was measured of each line conductor, and the neutral's current, which follows from theirs (R192): in
    the direction of all together."""
    amperes, watts = UnitOfMeasure(unit="A"), UnitOfMeasure(unit="W")
    neutral_a = Currents(*(round(each * 1000) for each in sample.line_a)).neutral_ma / 1000
    neutral = (neutral_a if sum(sample.line_a) >= 0 else -neutral_a,) if sample.line_a else ()
    each_of: tuple[tuple[tuple[Phase, ...], tuple[float, ...], Measurand, Measurand, UnitOfMeasure], ...] = (
        (_LINES, sample.line_a, "Current.Import", "Current.Export", amperes),
        (("N",), neutral, "Current.Import", "Current.Export", amperes),
        (_LINES, sample.line_w, "Power.Active.Import", "Power.Active.Export", watts),
    )
    for phases, values, inward, outward, unit in each_of:
        for phase, value in zip(phases, values, strict=False):
            for measurand, part in ((inward, max(0.0, value)), (outward, max(0.0, -value))):
                yield SampledValue(value=part, context=context, measurand=measurand, phase=phase, unit_of_measure=unit)
    for phase, value in zip(_LINES_TO_NEUTRAL, sample.line_v, strict=False):
        yield SampledValue(
            value=value, context=context, measurand="Voltage", phase=phase, unit_of_measure=UnitOfMeasure(unit="V")
        )


_LINES: Final[tuple[Phase, ...]] = ("L1", "L2", "L3")
_LINES_TO_NEUTRAL: Final[tuple[Phase, ...]] = ("L1-N", "L2-N", "L3-N")


def _residual(sample: MeterSample) -> float | None:
    """Return the power in excess of the set-point, in the set-point's direction (part 2, Q 2.4)."""
    if sample.power_w is None:
        return None
    if sample.setpoint_w is None:
        return 0.0
    return abs(sample.power_w) if sample.setpoint_w == 0 else _towards(sample.power_w, sample.setpoint_w)


def _towards(power_w: float, setpoint_w: float) -> float:
    sign = 1 if setpoint_w > 0 else -1
    return max(0.0, sign * power_w) - abs(setpoint_w)


def with_vehicle(token: IdToken, evccid: str) -> IdToken:
    """Return an identifier with the vehicle's own: permission to discharge can depend on it (Q01.FR.02)."""
    if not evccid:
        return token
    info = AdditionalInfo(additional_id_token=evccid, type="EVCCID")
    return msgspec.structs.replace(token, additional_info=(*token.additional_info, info))


def public_key_text(der: bytes) -> str:
    """Return a DER SubjectPublicKeyInfo as the `publicKey` field has it (signed meter values white paper 3.2.2)."""
    return base64.b64encode(f"oca:base16:asn1:{der.hex()}".encode()).decode() if der else ""


def _signed(reading: SignedRegister, *, with_key: bool) -> SignedMeterValue:
    return SignedMeterValue(
        signed_meter_data=signed_meter_data(reading.data),
        signing_method=reading.method,
        encoding_method=reading.encoding,
        public_key=public_key_text(reading.public_key) if with_key else "",
    )


def keyed(record: TransactionRecord, request: ocpp.TransactionEventRequest, policy: str, known: str) -> Step:
    """Return an event with the meter's public key, that of the reading or the `known` one, as
    PublicKeyWithSignedMeterValue says: in each signed value, in none, or in the first of the transaction."""
    values = []
    for each in request.meter_value:
        sampled = []
        for value in each.sampled_value:
            if (signed := value.signed_meter_value) is not None:
                key = signed.public_key or known
                if policy == "Never" or (policy == "OncePerTransaction" and key == record.public_key):
                    key = ""
                elif policy == "OncePerTransaction":
                    record = msgspec.structs.replace(record, public_key=key)
                signed = msgspec.structs.replace(signed, public_key=key)
            sampled.append(msgspec.structs.replace(value, signed_meter_value=signed))
        values.append(msgspec.structs.replace(each, sampled_value=tuple(sampled)))
    return record, msgspec.structs.replace(request, meter_value=tuple(values))


def _measured(record: TransactionRecord, sample: MeterSample | None) -> TransactionRecord:
    return record if sample is None else msgspec.structs.replace(record, last_sample=sample)


def _samples(
    sample: MeterSample | None, context: ReadingContext, measurands: Collection[str] | None
) -> tuple[MeterValue, ...]:
    if sample is None or (measurands is not None and not measurands):
        return ()
    return (meter_value(sample, context, measurands),)


def turn(record: TransactionRecord, utc_ms: int, state: ocpp.ChargingState) -> TransactionRecord:
    """Return the record in a charging state, with the charging time updated."""
    since, spent = record.charging_since_ms, record.charged_ms
    if since is not None:
        spent += max(0, utc_ms - since)
    since = utc_ms if state == "Charging" else None
    return msgspec.structs.replace(record, charging_state=state, charging_since_ms=since, charged_ms=spent)


def moved(record: TransactionRecord, by_ms: int) -> TransactionRecord:
    """Return the record of a transaction after the clock was set forward by `by_ms`, or back (below 0)."""
    since, sample = record.charging_since_ms, record.last_sample
    return msgspec.structs.replace(
        record,
        started_ms=record.started_ms + by_ms,
        ready_ms=None if record.ready_ms is None else record.ready_ms + by_ms,
        charging_since_ms=None if since is None else since + by_ms,
        seen_ms=record.seen_ms + by_ms,
        last_sample=None if sample is None else msgspec.structs.replace(sample, utc_ms=sample.utc_ms + by_ms),
    )


def interrupted(record: TransactionRecord) -> TransactionRecord:
    """Return the record of a transaction interrupted by a power failure or a restart.

    It was charging until last seen; the time of the interruption does not count as charging time.
    """
    since, seen = record.charging_since_ms, record.last_sample
    spent = record.charged_ms
    if since is not None and seen is not None:
        spent += max(0, seen.utc_ms - since)
    return msgspec.structs.replace(record, charging_since_ms=None, charged_ms=spent)


def event(
    record: TransactionRecord,
    kind: ocpp.TransactionEventType,
    utc_ms: int,
    *,
    trigger: ocpp.TriggerReason,
    samples: tuple[MeterValue, ...],
    offline: bool,
    id_token: IdToken | None = None,
    reason: ocpp.Reason | None = None,
    phases: int | None = None,
    reservation_id: int | None = None,
    limit: ocpp.TransactionLimit | None = None,
    asleep: bool = False,
) -> Step:
    """Return the record with the next sequence number, and its event."""
    request = ocpp.TransactionEventRequest(
        event_type=kind,
        timestamp=format_time(utc_ms),
        trigger_reason=trigger,
        seq_no=record.next_seq_no,
        offline=offline,
        meter_value=samples,
        number_of_phases_used=phases,
        reservation_id=reservation_id,
        evse_sleep=True if asleep else None,  # Q10.FR.04, .05
        evse=EVSE(id=record.evse_id, connector_id=record.connector_id) if record.evse_id else None,
        id_token=id_token,
        transaction_info=ocpp.Transaction(
            transaction_id=record.transaction_id,
            charging_state=record.charging_state,
            time_spent_charging=record.charged_ms // 1000 if kind == "Ended" else None,
            stopped_reason=reason,
            remote_start_id=record.remote_start_id if kind == "Started" or trigger == "RemoteStart" else None,
            operation_mode=record.operation_mode,
            transaction_limit=limit,
        ),
    )
    return msgspec.structs.replace(record, next_seq_no=record.next_seq_no + 1, seen_ms=utc_ms), request
