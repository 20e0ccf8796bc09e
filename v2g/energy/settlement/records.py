"""What a journal can say: one Struct for each kind of entry. Declarations, and their making from the gate's verdicts.

Energy is mWh of a register that only grows; power W; times UTC ms. `payload` and `result` are the signed messages
themselves (DER SignedMessage, base64 in JSON), so that a reader needs nobody's word for them.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.asn1.discharge import DischargeLimits
from v2g.energy.discharge import Accepted, Decided, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.canonical import sha256_hex

Milliwatthours = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z")]

Discharge = Literal["signed", "standard", "none"]
"""What lets energy be fed back: signed commands, the plain standard, or nothing."""

MAX_REJECTED_BYTES: Final = 4096
"""A rejected message is kept whole up to this size; of a longer one only its hash is."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One thing that happened."""


MOST_REACTION_MS: Final = 10_000
"""What a charger is believed of the time that its power electronics take, ms, unless the reader says otherwise."""


class SessionStarted(Record, frozen=True, kw_only=True, tag="session_started"):
    """Always first. `discharge` says what lets energy be fed back: signed commands, the plain standard, or nothing.

    `reaction_ms` is how long the power electronics may take to follow a lower limit or the end of a command, and
    `tolerance_permille` how far power may stand above its command; both bound what the verifier lets pass.
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


class ContractAuthorized(Record, frozen=True, kw_only=True, tag="contract_authorized"):
    """Somebody answers for the bill."""

    emaid: str
    contract_certificate: Hex  # SHA-256 of the DER
    authorized_by: str


class VehicleDescribed(Record, frozen=True, kw_only=True, tag="vehicle_described"):
    """What is known of the vehicle."""

    evcc_id: str
    battery_capacity_wh: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None


class TariffSet(Record, frozen=True, kw_only=True, tag="tariff_set"):
    """Prices from now on for whoever has not accepted signed terms."""

    tariff: Tariff


class TermsOffered(Record, frozen=True, kw_only=True, tag="terms_offered"):
    """The charger bound itself to prices and limits."""

    payload: bytes


class TermsDecided(Record, frozen=True, kw_only=True, tag="terms_decided"):
    """The vehicle said yes or no; from an acceptance on the terms price both directions."""

    accepted: bool
    reason: str
    payload: bytes


class CommandAccepted(Record, frozen=True, kw_only=True, tag="command_accepted"):
    """Power may flow: at most `effective_w` now and the commanded power later, until `until_ms`."""

    sequence: int
    effective_w: int
    until_ms: int
    payload: bytes
    result: bytes


class CommandRejected(Record, frozen=True, kw_only=True, tag="command_rejected"):
    """A message moved nothing. `payload` is empty when it was longer than is kept; `size` and `sha256` remain."""

    reason: str
    detail: str
    sequence: int
    size: int
    sha256: Hex
    payload: bytes
    result: bytes | None


class LimitChanged(Record, frozen=True, kw_only=True, tag="limit_changed"):
    """What vehicle, charger, site and operator allow from now on; `source` names who binds discharge."""

    ev_w: int
    evse_w: int
    site_w: int
    operator_w: int
    max_discharge_w: int
    source: str
    version: int


class ServiceChanged(Record, frozen=True, kw_only=True, tag="service_changed"):
    """Services were selected anew (renegotiation), or a paused session was joined again.

    From here on `discharge` holds instead of what came before. Signed terms and commands of before are void, and
    numbers of commands begin again: they belong to new offers.
    """

    service: str
    discharge: Discharge
    reason: Literal["renegotiated", "resumed"]


class MeterReading(Record, frozen=True, kw_only=True, tag="meter_reading"):
    """Both registers at the entry's time. `power_w` is signed, positive into the vehicle."""

    import_mwh: Milliwatthours
    export_mwh: Milliwatthours
    reason: str = "periodic"
    power_w: int | None = None
    soc: Annotated[int, Meta(ge=0, le=100)] | None = None


class IntervalClosed(Record, frozen=True, kw_only=True, tag="interval_closed"):
    """A quarter of an hour of the clock in UTC, or the part of it that the session covers.

    `begins`/`ends` tell whether a reading was taken at that very moment or lies on the line between its neighbours.
    """

    start_ms: int
    end_ms: int
    import_begin_mwh: Milliwatthours
    import_end_mwh: Milliwatthours
    export_begin_mwh: Milliwatthours
    export_end_mwh: Milliwatthours
    begins: Literal["metered", "interpolated"]
    ends: Literal["metered", "interpolated"]


class MeteringConfirmed(Record, frozen=True, kw_only=True, tag="metering_confirmed"):
    """The vehicle confirmed meter values by the plain standard; `payload` is what it sent."""

    payload: bytes


class LineCorrected(Record, frozen=True, kw_only=True, tag="line_corrected"):
    """A priced line was wrong: it is reversed, and entered again at `price` (micro-units per kWh)."""

    line: str
    price: int
    reason: Annotated[str, Meta(min_length=1)]


class SessionEnded(Record, frozen=True, kw_only=True, tag="session_ended"):
    """Always last, but for corrections. `reason` is a word such as `vehicle`, `operator`, `fault`, `aborted`."""

    reason: str
    import_mwh: Milliwatthours
    export_mwh: Milliwatthours


AnyRecord = (
    SessionStarted
    | ContractAuthorized
    | VehicleDescribed
    | TariffSet
    | TermsOffered
    | TermsDecided
    | CommandAccepted
    | CommandRejected
    | LimitChanged
    | ServiceChanged
    | MeterReading
    | IntervalClosed
    | MeteringConfirmed
    | LineCorrected
    | SessionEnded
)


def limit_record(limits: DischargeLimits) -> LimitChanged:
    """Return the entry for new limits of discharge."""
    return LimitChanged(
        ev_w=limits.ev_w,
        evse_w=limits.evse_w,
        site_w=limits.site_w,
        operator_w=limits.operator_w,
        max_discharge_w=limits.max_discharge_w,
        source=limits.source,
        version=limits.operator_version,
    )


def record_of(outcome: Decided | Accepted | Rejected) -> TermsDecided | CommandAccepted | CommandRejected:
    """Return the entry for what the gate made of a message."""
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
