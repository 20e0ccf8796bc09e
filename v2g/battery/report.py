"""The report on a battery for a buyer or an insurer: what was measured, how well, by what method (R213).

It is signed as JSON text, so that `openssl dgst -verify` proves it as well. `passport` has those attributes of a
battery passport (Regulation (EU) 2023/1542, Annex XIII, 4) that follow from records, by the names of IDTA 02035-5,
"Product Condition" 1.0; `absent` names the others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.battery.cell import PackModel
from v2g.battery.health import HealthSettings, HealthState
from v2g.battery.usage import COLD_C, HOT_C, RATES, TEMPERATURES_C, Purpose, Throughput, UsageState
from v2g.errors import RefusedError, VerificationError
from v2g.pki.keys import PublicKey, SigningKey, raw_signature, sign_der, verify_signature
from v2g.telemetry.signals import Pseudonym
from v2g.units import UtcMs

SCHEMA: Final = "v2g-battery-report/1"

MAX_BYTES: Final = 1_000_000
MOST_EVENTS: Final = 1000

METHOD: Final = (
    "capacity: from open-circuit voltages and the charge between them, by a Kalman filter (v2g/battery/ageing.py)",
    "deviations: standard deviations; a gain error of the current sensor is one of the capacity, and not in them",
    "cycles: rainflow counting of the state of charge (ASTM E1049-85), in equivalent full ones",
    "cycles by purpose: in proportion to the charge that flowed while driving, charging, feeding the grid, and parked",
    "exposure: the time for which each value held, at most 600 s after its record",
)

ABSENT: Final = (
    "StateOfCertifiedEnergy", "RemainingPowerCapability", "RemainingRoundTripEnergyEfficiency",
    "EvolutionOfSelfDischarge", "CurrentSelfDischargingRate", "InformationOnAccidents",
)  # fmt: skip
"""Attributes that need a test of the battery, or somebody who saw an accident."""

_PLAUSIBLE_PERCENT: Final = 115.0
_CLOSE: Final = 1e-6
_SIGMAS: Final = 3.0

Positive = Annotated[float, Meta(ge=0, le=1e12)]


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An estimate and its standard deviation, in the same unit."""

    value: Positive
    deviation: Positive


class Cycles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Equivalent full cycles, and those for each purpose."""

    total: Positive
    by_purpose: dict[Purpose, Positive]
    v2g_share_percent: Annotated[float, Meta(ge=0, le=100)]


class Exposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds by bins: below the first edge, between edges, from the last one on."""

    temperature_edges_c: tuple[float, ...]
    temperature_s: tuple[Positive, ...]
    rate_edges: tuple[float, ...]
    charge_rate_s: tuple[Positive, ...]
    discharge_rate_s: tuple[Positive, ...]
    hot_charging_s: Positive
    cold_charging_s: Positive
    deep_discharges: Annotated[int, Meta(ge=0)]


class ReportedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What detectors found, or a check by a person."""

    kind: Annotated[str, Meta(max_length=64)]
    at_ms: UtcMs
    until_ms: UtcMs | None = None
    value: float | None = None


class ReportEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the report is based on: records up to (boot, seq), and rests that measured the capacity."""

    first_ms: UtcMs
    last_ms: UtcMs
    boot: int
    seq: int
    samples: Annotated[int, Meta(ge=1)]
    known_s: Positive
    unknown_s: Positive
    measurements: Annotated[int, Meta(ge=1)]
    references: Annotated[int, Meta(ge=0)]
    """Measured capacities with which the estimate was compared."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The report. Capacities are in Ah."""

    schema: Annotated[str, Meta(pattern=rf"^{SCHEMA}\Z")] = SCHEMA
    ev: Pseudonym
    made_ms: UtcMs
    pack: PackModel
    capacity_ah: Measured
    soh_percent: Measured
    resistance_growth: float | None
    """1: as new."""
    cycles: Cycles
    flows: dict[Purpose, Throughput]
    exposure: Exposure
    events: Annotated[tuple[ReportedEvent, ...], Meta(max_length=MOST_EVENTS)]
    evidence: ReportEvidence
    method: tuple[str, ...] = METHOD
    passport: dict[str, object]
    absent: tuple[str, ...] = ABSENT


class BatteryClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody says of a battery, as in an advertisement; what is left out is not claimed."""

    soh_percent: Annotated[float, Meta(ge=0, le=1000, description="state of health, %")] | None = None
    capacity_ah: Annotated[float, Meta(ge=0, le=100_000, description="capacity, Ah")] | None = None
    cycles: Annotated[float, Meta(ge=0, le=1_000_000, description="equivalent full cycles")] | None = None
    v2g_share_percent: Annotated[float, Meta(ge=0, le=100, description="share of them for the grid, %")] | None = None


def make_report(
    settings: HealthSettings,
    state: HealthState,
    usage: UsageState,
    *,
    ev: str,
    place: tuple[int, int],
    events: Sequence[ReportedEvent],
    references: int,
    now_ms: int,
) -> HealthReport:
    """Return the report on a battery up to its record `place` (boot, seq). Raises RefusedError where too little was
    measured, or what was measured cannot be."""
    pack, size = settings.pack, state.capacity
    if pack is None or size is None or size.measured < settings.measured or usage.last is None:
        measured = 0 if size is None else size.measured
        why = f"the capacity was measured {measured} times, a report needs {settings.measured}"
        raise RefusedError(why, reason="not_estimated", hint="describe battery.health.pack, and wait for its telemetry")
    if state.implausible or 100 * size.capacity > _PLAUSIBLE_PERCENT:
        raise RefusedError(
            f"a state of health of {100 * size.capacity:.0f} % contradicts the described capacity of "
            f"{pack.capacity_ah:g} Ah", reason="implausible", hint="is battery.health.pack that of this vehicle?",
        )  # fmt: skip
    known_s = sum(each.seconds for each in usage.flows.values())
    report = HealthReport(
        ev=ev,
        made_ms=now_ms,
        pack=pack,
        capacity_ah=Measured(size.capacity * pack.capacity_ah, size.deviation * pack.capacity_ah),
        soh_percent=Measured(100 * size.capacity, 100 * size.deviation),
        resistance_growth=state.resistance.growth if state.resistance.fresh else None,
        cycles=_cycles(state.cycles.total, usage.flows),
        flows=usage.flows,
        exposure=Exposure(
            TEMPERATURES_C, usage.temperature_s, RATES, usage.charge_rate_s, usage.discharge_rate_s,
            usage.hot_charging_s, usage.cold_charging_s, usage.deep_discharges,
        ),
        events=tuple(events[:MOST_EVENTS]),
        evidence=ReportEvidence(
            usage.first_ms, usage.last.at_ms, *place, usage.samples, known_s, usage.unknown_s, size.measured, references
        ),
        passport={},
    )  # fmt: skip
    soc = None if state.soc is None else 100 * state.soc.soc
    return msgspec.structs.replace(report, passport=_passport(report, soc, usage.temperature_c))


def _cycles(total: float, flows: Mapping[Purpose, Throughput]) -> Cycles:
    moved = {purpose: flow.charged_ah + flow.discharged_ah for purpose, flow in flows.items()}
    whole = sum(moved.values()) or 1.0
    shared = {purpose: total * ah / whole for purpose, ah in moved.items()}
    return Cycles(total, shared, min(100.0, 100 * moved.get("v2g", 0.0) / whole))


def _passport(report: HealthReport, soc: float | None, heat: float | None) -> dict[str, object]:
    """Return attributes with their times. Energy is in kWh, times in extreme temperatures in minutes."""
    at = {"LastUpdate": _iso(report.evidence.last_ms)}
    flows, spent, pack = report.flows.values(), report.exposure, report.pack
    curve = pack.cell.curve(pack.cell.fresh).points
    mean_v = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))
    hot, cold = TEMPERATURES_C.index(HOT_C) + 1, TEMPERATURES_C.index(COLD_C) + 1

    def value(name: str, number: float) -> dict[str, object]:
        return {name: {f"{name}Value": number, **at}}

    heated = {} if heat is None else {"MeasuredTemp": round(heat, 1)}
    return {
        **value("EnergyThroughput", round(sum(each.charged_wh + each.discharged_wh for each in flows) / 1000, 3)),
        **value("CapacityThroughput", round(sum(each.charged_ah + each.discharged_ah for each in flows), 3)),
        **value("NumberOfFullCycles", math.floor(report.cycles.total)),
        **value("RemainingEnergy", round(report.capacity_ah.value * mean_v * pack.cells / 1000, 3)),
        **value("RemainingCapacity", round(report.capacity_ah.value, 3)),
        **({} if soc is None else value("StateOfCharge", round(soc, 1))),
        "NegativeEvents": [
            {"NegativeEventValue": each.kind, "LastUpdate": _iso(each.at_ms)}
            for each in report.events
            if each.kind != "reference"
        ],
        "TemperatureInformation": {
            **heated,
            "TimeExtremeHighTemp": round(sum(spent.temperature_s[hot:]) / 60, 1),
            "TimeExtremeLowTemp": round(sum(spent.temperature_s[:cold]) / 60, 1),
            "TimeExtremeHighTempCharging": round(spent.hot_charging_s / 60, 1),
            "TimeExtremeLowTempCharging": round(spent.cold_charging_s / 60, 1),
            **at,
        },
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sign_report(report: HealthReport, key: SigningKey) -> tuple[bytes, bytes]:
    """Return a report as text, and the signature over it: of ECDSA in DER."""
    data = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    return data, sign_der(key, data)


def verify_report(data: bytes, signature: bytes, key: PublicKey) -> HealthReport:
    """Return a signed report. Raises SignatureError, and VerificationError for one that contradicts itself."""
    verify_signature(key, data, raw_signature(key, signature))
    try:
        if len(data) > MAX_BYTES:
            raise msgspec.ValidationError(f"{len(data)} bytes, {MAX_BYTES} are allowed")
        report = typed_json.decode(data, HealthReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VerificationError(f"malformed: {error}", where="report") from None
    for each in _contradictions(report):
        raise VerificationError(each, where="report")
    return report


def _contradictions(report: HealthReport) -> Iterator[str]:
    """Yield what cannot be true of one battery."""
    size, nominal, soh = report.capacity_ah.value, report.pack.capacity_ah, report.soh_percent.value
    flows, known_s = report.flows, report.evidence.known_s
    if abs(100 * size / nominal - soh) > 100 * _CLOSE:
        yield f"{size:.2f} of {nominal:g} Ah are not {soh:.2f} %"
    if soh > _PLAUSIBLE_PERCENT:
        yield f"no battery has a state of health of {soh:.0f} %"
    if not report.evidence.first_ms < report.evidence.last_ms:
        yield "the records end before they begin"
    cycles, again = report.cycles, _cycles(report.cycles.total, flows)
    if cycles.by_purpose.keys() != again.by_purpose.keys() or not all(
        _alike(cycles.by_purpose[purpose], number) for purpose, number in again.by_purpose.items()
    ) or not _alike(cycles.v2g_share_percent, again.v2g_share_percent):  # fmt: skip
        yield "the cycles are not those of the charge that flowed"
    if not _alike(sum(each.seconds for each in flows.values()), known_s):
        yield "the times of all purposes are not the known time"
    spent = report.exposure
    rates_s = sum(spent.charge_rate_s) + sum(spent.discharge_rate_s)
    if not _alike(rates_s, known_s) or sum(spent.temperature_s) > known_s * (1 + _CLOSE):
        yield "the times of all currents or temperatures are not the known time"
    soc = _number(report.passport, "StateOfCharge", "StateOfChargeValue")
    heat = _number(report.passport, "TemperatureInformation", "MeasuredTemp")
    if _passport(report, soc, heat) != report.passport:
        yield "the passport's attributes are not those of the report"


def _number(passport: Mapping[str, object], name: str, inner: str) -> float | None:
    """Return a number that is in the passport alone."""
    found = passport.get(name)
    value = found.get(inner) if isinstance(found, dict) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)


def refuse_claims(report: HealthReport, claims: BatteryClaims) -> None:
    """Raise RefusedError for a claim that contradicts what was measured: by more than three deviations, or of cycles by
    more than 2 % and one cycle."""
    health, size, cycles = report.soh_percent, report.capacity_ah, report.cycles
    for what, claimed, measured, most, unit in (
        ("a state of health", claims.soh_percent, health.value, _SIGMAS * health.deviation, " %"),
        ("a capacity", claims.capacity_ah, size.value, _SIGMAS * size.deviation, " Ah"),
        ("a number of cycles", claims.cycles, cycles.total, 1 + 0.02 * cycles.total, ""),
        ("a share for the grid", claims.v2g_share_percent, cycles.v2g_share_percent, 1.0, " %"),
    ):
        if claimed is not None and not abs(claimed - measured) <= max(most, 0.1):
            raise RefusedError(
                f"{what} of {claimed:g}{unit} contradicts the record: {measured:.2f}{unit}",
                reason="claim_contradicted",
                hint="claim what the report says, or leave it out",
            )
