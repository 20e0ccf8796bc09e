"""The entries of a journal: one Struct for each kind, and their creation from the gate's results.

Energy is mWh of a register that only grows; power W; times UTC ms. `payload` and `result` are the signed messages
themselves (DER SignedMessage, base64 in JSON), so that a reader can verify them independently.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from v2g.asn1.discharge import DischargeLimits
from v2g.energy.discharge_gate import Accepted, Decided, Receipted, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.grid_support import Function, GridSupport
from v2g.energy.settlement.canonical import sha256_hex

Milliwatthours = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z")]

Basis = Literal["metered", "interpolated", "substitute"]

Discharge = Literal["signed", "standard", "none"]
"""What permits energy to be fed back: signed commands, the plain standard, or nothing."""

MeterStatus = Literal["missing", "reset", "rollover", "time_jump"]
"""What was wrong with a reading: the meter did not answer; its register fell or jumped as no energy can; it started
again at 0 after its maximum; the clock jumped.
"""

MAX_REJECTED_BYTES: Final = 4096
"""A rejected message is stored up to this size; of a longer one only the hash."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", gc=False):
    """One event of a session."""


MOST_REACTION_MS: Final = 10_000
"""The longest reaction time of power electronics, ms, that is accepted of a charger by default."""


class SessionStarted(Record, frozen=True, kw_only=True, tag="session_started"):
    """Always first. `discharge` is what permits energy to be fed back: signed commands, the plain standard, or nothing.

    `reaction_ms` is how long the power electronics may take to follow a lower limit or the end of a command, and
    `tolerance_permille` how far power may exceed its command; both limit what the verifier accepts. `rollover_mwh` is
    where the meter's registers start again at 0, if they do. `bundle` is the version of the bundle to be made, absent
    in version 1. With `entropy`, unpredictable, the hash of this entry was the challenge of a contract's vehicle.
    """

    station_id: str
    evse_id: str
    session_id: Hex
    meter_serial: str
    meter_certificate: Hex  # SHA-256 of the DER
    charger_certificate: Hex
    import_mwh: Milliwatthours
    export_mwh: Milliwatthours
    discharge: Discharge = "signed"
    reaction_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 2_000
    tolerance_permille: Annotated[int, Meta(ge=0, le=50)] = 20
    rollover_mwh: Annotated[int, Meta(ge=1, le=2**63 - 1)] | UnsetType = UNSET
    bundle: Literal[2, 3] | UnsetType = UNSET
    entropy: Annotated[Hex, Meta(min_length=32, max_length=32)] | UnsetType = UNSET


class ContractAuthorized(Record, frozen=True, kw_only=True, tag="contract_authorized"):
    """A contract pays for the session."""

    emaid: str
    contract_certificate: Hex  # SHA-256 of the DER
    authorized_by: str


class AuthorizationSigned(Record, frozen=True, kw_only=True, tag="authorization_signed"):
    """The vehicle signed the challenge with its contract's key; `payload` is its AuthorizationReq (EXI), with the
    signature, and in ISO 15118-20 also the contract's chain.
    """

    payload: bytes


class VehicleDescribed(Record, frozen=True, kw_only=True, tag="vehicle_described"):
    """The vehicle's properties."""

    evcc_id: str
    battery_capacity_wh: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None


class VoltmeterCalibrated(Record, frozen=True, kw_only=True, tag="voltmeter_calibrated"):
    """The offset (mV) that all voltages of this session contain: what the voltmeter reads too little."""

    offset_mv: Annotated[int, Meta(ge=-10_000, le=10_000)]


class TariffSet(Record, frozen=True, kw_only=True, tag="tariff_set"):
    """Prices from now on, unless signed terms are accepted."""

    tariff: Tariff


class WearPriced(Record, frozen=True, kw_only=True, tag="wear_priced"):
    """From now on each kWh fed back earns `price` (micro-units) for the battery's wear, beside its export price and in
    its currency; without an export price it earns nothing.
    """

    price: Annotated[int, Meta(ge=0, le=10**12)]


class TermsOffered(Record, frozen=True, kw_only=True, tag="terms_offered"):
    """The charger made a binding offer of prices and limits."""

    payload: bytes


class TermsDecided(Record, frozen=True, kw_only=True, tag="terms_decided"):
    """The vehicle's decision; once accepted, the terms price both directions."""

    accepted: bool
    reason: str
    payload: bytes


class CommandAccepted(Record, frozen=True, kw_only=True, tag="command_accepted"):
    """Power is allowed: at most `effective_w` now and the commanded power later, until `until_ms`."""

    sequence: int
    effective_w: int
    until_ms: int
    payload: bytes
    result: bytes


class CommandRejected(Record, frozen=True, kw_only=True, tag="command_rejected"):
    """A message had no effect. `payload` is empty if it was too long to store; `size` and `sha256` remain."""

    reason: str
    detail: str
    sequence: int
    size: int
    sha256: Hex
    payload: bytes
    result: bytes | None


class CheckpointIssued(Record, frozen=True, kw_only=True, tag="checkpoint_issued"):
    """The charger signed a head of this journal and its registers for the vehicle, and sends it; `number` from 1."""

    number: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    payload: bytes


class CheckpointAnswered(Record, frozen=True, kw_only=True, tag="checkpoint_answered"):
    """The vehicle countersigned a checkpoint, or signed why it does not; `payload` is its receipt."""

    number: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    status: str
    payload: bytes


class LimitChanged(Record, frozen=True, kw_only=True, tag="limit_changed"):
    """The new limits of vehicle, charger, site and operator; `source` is that of the smallest discharge limit."""

    ev_w: int
    evse_w: int
    site_w: int
    operator_w: int
    max_discharge_w: int
    source: str
    version: int


class ServiceChanged(Record, frozen=True, kw_only=True, tag="service_changed"):
    """Services were selected, for the first time or again (renegotiation), or a paused session was resumed.

    From here on `discharge` replaces the previous one. Earlier signed terms and commands are void, and command numbers
    start again: they belong to new offers.
    """

    service: str
    discharge: Discharge
    reason: Literal["selected", "renegotiated", "resumed"]


class GridSupportGiven(Record, frozen=True, kw_only=True, tag="grid_support"):
    """From here on the vehicle's inverter is asked for these functions of the grid code (AC DER); `values` is a JSON
    document of them, in V, Hz, W and var. None: it only charges.
    """

    functions: tuple[Function, ...]
    values: Annotated[str, Meta(max_length=20_000)]


class MeterReading(Record, frozen=True, kw_only=True, tag="meter_reading"):
    """Both registers at the entry's time. `power_w` is signed, positive into the vehicle.

    The registers continue those of the session's start. After a rollover or a reset they differ from what the meter
    shows, `shown_import_mwh` and `shown_export_mwh`. `status` is absent for a good reading; a missing one repeats the
    registers before it, and is no evidence of energy.
    """

    import_mwh: Milliwatthours
    export_mwh: Milliwatthours
    reason: str = "periodic"
    power_w: int | None = None
    soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    shown_import_mwh: Milliwatthours | UnsetType = UNSET
    shown_export_mwh: Milliwatthours | UnsetType = UNSET
    status: Annotated[tuple[MeterStatus, ...], Meta(min_length=1, max_length=4)] | UnsetType = UNSET


class EnergyUnmetered(Record, frozen=True, kw_only=True, tag="energy_unmetered"):
    """Energy that flowed into and out of the vehicle by the power electronics' own measurement, but not by the meter,
    beyond the errors of both. It is in no interval and has no price.
    """

    import_mwh: Milliwatthours
    export_mwh: Milliwatthours


class IntervalClosed(Record, frozen=True, kw_only=True, tag="interval_closed"):
    """A quarter of an hour of the clock in UTC, or the part of it that the session covers.

    `begins`/`ends` tell whether the register was read at that very moment, interpolated, or, at the end of a session
    whose meter did not answer, taken from the reading before. `status`, if any, is that of the readings of its energy.
    """

    start_ms: int
    end_ms: int
    import_begin_mwh: Milliwatthours
    import_end_mwh: Milliwatthours
    export_begin_mwh: Milliwatthours
    export_end_mwh: Milliwatthours
    begins: Basis
    ends: Basis
    status: tuple[MeterStatus, ...] | UnsetType = UNSET


class MeteringConfirmed(Record, frozen=True, kw_only=True, tag="metering_confirmed"):
    """The vehicle confirmed meter values by the plain standard; `payload` is its message."""

    payload: bytes


class LineCorrected(Record, frozen=True, kw_only=True, tag="line_corrected"):
    """A priced line was wrong: it is reversed, and entered again at `price` (micro-units per kWh).

    `by` is who corrected it.
    """

    line: str
    price: int
    reason: Annotated[str, Meta(min_length=1)]
    by: str | UnsetType = UNSET


class SessionRepriced(Record, frozen=True, kw_only=True, tag="session_repriced"):
    """The prices were wrong: all lines for energy are reversed, and entered again at those of `tariff`.

    `by` is who corrected them.
    """

    tariff: Tariff
    reason: Annotated[str, Meta(min_length=1)]
    by: str


class CorrectionsSigned(Record, frozen=True, kw_only=True, tag="corrections_signed"):
    """The operator's signature of the corrections before it: over the hash of the entry before, by `public_key`."""

    public_key: Annotated[bytes, Meta(max_length=512)]
    signature: Annotated[bytes, Meta(max_length=256)]


Correction = LineCorrected | SessionRepriced
"""What changes a session after its end. Only the operator writes it."""

Addition = Correction | CorrectionsSigned
"""What may follow the end of a session."""


class SessionEnded(Record, frozen=True, kw_only=True, tag="session_ended"):
    """Always last, except for corrections. `reason` is a value such as `vehicle`, `operator`, `fault`, `aborted`."""

    reason: str
    import_mwh: Milliwatthours
    export_mwh: Milliwatthours


AnyRecord = (
    SessionStarted
    | ContractAuthorized
    | AuthorizationSigned
    | VehicleDescribed
    | VoltmeterCalibrated
    | TariffSet
    | WearPriced
    | TermsOffered
    | TermsDecided
    | CommandAccepted
    | CommandRejected
    | CheckpointIssued
    | CheckpointAnswered
    | LimitChanged
    | ServiceChanged
    | GridSupportGiven
    | MeterReading
    | EnergyUnmetered
    | IntervalClosed
    | MeteringConfirmed
    | LineCorrected
    | SessionRepriced
    | CorrectionsSigned
    | SessionEnded
)


def limit_record(limits: DischargeLimits) -> LimitChanged:
    """Return the entry for new discharge limits."""
    return LimitChanged(
        ev_w=limits.ev_w,
        evse_w=limits.evse_w,
        site_w=limits.site_w,
        operator_w=limits.operator_w,
        max_discharge_w=limits.max_discharge_w,
        source=limits.source,
        version=limits.operator_version,
    )


def support_record(support: GridSupport) -> GridSupportGiven:
    """Return the entry for functions that a vehicle's inverter was asked for."""
    return GridSupportGiven(
        functions=tuple(sorted(support.functions)),
        values=msgspec.json.encode({name: getattr(support, name) for name in sorted(support.functions)}).decode(),
    )


def record_of(
    outcome: Decided | Accepted | Receipted | Rejected,
) -> TermsDecided | CommandAccepted | CheckpointAnswered | CommandRejected:
    """Return the entry for the gate's result on a message."""
    match outcome:
        case Decided():
            decision = outcome.decision
            return TermsDecided(accepted=decision.accepted, reason=decision.reason.value, payload=outcome.payload)
        case Accepted():
            return CommandAccepted(
                sequence=outcome.command.sequence,
                effective_w=outcome.effective_w,
                until_ms=outcome.until_ms,
                payload=outcome.payload,
                result=outcome.reply,
            )
        case Receipted():
            receipt = outcome.receipt
            return CheckpointAnswered(number=receipt.number, status=receipt.status.value, payload=outcome.payload)
        case Rejected():
            return CommandRejected(
                reason=outcome.reason.value,
                detail=outcome.detail,
                sequence=outcome.sequence,
                size=len(outcome.payload),
                sha256=sha256_hex(outcome.payload),
                payload=outcome.payload if len(outcome.payload) <= MAX_REJECTED_BYTES else b"",
                result=outcome.reply,
            )
