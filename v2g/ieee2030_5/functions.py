"""Functions of inverters in DER controls: curves, a droop, fixed power factor and reactive power (IEEE 2030.5-2018,
10.10).

Voltages and powers are percent of what a `unit` (DERUnitRefType) names, frequencies Hz, times s.
"""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

import msgspec

from v2g.errors import CodecError
from v2g.xml_text import Node, child, children, truth_at, whole_at

FunctionMode = Literal[
    "FixedPFAbsorbW", "FixedPFInjectW", "FixedVar", "FreqDroop", "FreqWatt", "HFRTMayTrip", "HFRTMustTrip",
    "HVRTMayTrip", "HVRTMomentaryCessation", "HVRTMustTrip", "LFRTMustTrip", "LVRTMayTrip", "LVRTMomentaryCessation",
    "LVRTMustTrip", "VoltVar", "VoltWatt", "WattPF", "WattVar",
]  # fmt: skip
"""The names of modes, without `opMod`. LFRTMayTrip has no counterpart at stations."""
_BITS: Final = (4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 23, 24, 25, 26)
MODE_BITS: Final[Mapping[FunctionMode, int]] = dict(zip(get_args(FunctionMode), _BITS, strict=True))
"""Bits of DERControlType."""
CURVE_TYPES: Final[Mapping[FunctionMode, int]] = {
    "FreqWatt": 0, "HFRTMayTrip": 1, "HFRTMustTrip": 2, "HVRTMayTrip": 3, "HVRTMomentaryCessation": 4,
    "HVRTMustTrip": 5, "LFRTMustTrip": 7, "LVRTMayTrip": 8, "LVRTMomentaryCessation": 9, "LVRTMustTrip": 10,
    "VoltVar": 11, "VoltWatt": 12, "WattPF": 13, "WattVar": 14,
}  # fmt: skip
"""DERCurveType of the modes that are links to a DERCurve."""

_SETTLES: Final = math.log(10) / 3
"""Time to 90 % of a step by that to 95 % of a low-pass filter, which is three of its time constants."""
_MOST: Final = 1_000_000.0


class InverterCurve(msgspec.Struct, frozen=True, kw_only=True, tag="curve"):
    """A DERCurve. Power factors are negative where reactive power is absorbed."""

    points: Annotated[tuple[tuple[float, float], ...], msgspec.Meta(min_length=1, max_length=10)]
    unit: int
    response_s: float | None = None
    """To 90 % of a step."""
    reference: float | None = None
    """Of voltages, percent of the nominal one."""
    adjusts_s: float | None = None
    """The reference follows the voltage with this time constant; None: it stays."""


class InverterDroop(msgspec.Struct, frozen=True, kw_only=True, tag="droop"):
    """A FreqDroopType: dead bands (Hz) and droops (parts of the nominal frequency for all of the power)."""

    over_hz: float
    under_hz: float
    over: float
    under: float
    response_s: float


class InverterFactor(msgspec.Struct, frozen=True, kw_only=True, tag="factor"):
    """A power factor from 0 to 1."""

    cos_phi: float
    absorbs: bool


class InverterVar(msgspec.Struct, frozen=True, kw_only=True, tag="var"):
    """A reactive power, percent, positive where it is injected."""

    percent: float
    unit: int


InverterFunction: TypeAlias = InverterCurve | InverterDroop | InverterFactor | InverterVar


def functions_in(
    base: Node, wanted: Collection[FunctionMode]
) -> tuple[dict[FunctionMode, InverterFunction], dict[FunctionMode, str]]:
    """Return these functions of a DERControlBase, and the paths of curves. Raises CodecError."""
    given = {mode: node for mode in wanted if (node := child(base, f"opMod{mode}")) is not None}
    found: dict[FunctionMode, InverterFunction] = {}
    for mode in ("FixedPFAbsorbW", "FixedPFInjectW"):
        if (node := given.get(mode)) is not None:
            cos_phi = whole_at(node, "displacement", 0, 2**16 - 1) * _power_of_ten(node, "multiplier")
            if cos_phi > 1:
                raise CodecError(f"opMod{mode}: a power factor of {cos_phi:g}")
            found[mode] = InverterFactor(cos_phi=cos_phi, absorbs=truth_at(node, "excitation") is True)
    if (node := given.get("FixedVar")) is not None:
        percent = whole_at(node, "value", -10_000, 10_000) / 100
        found["FixedVar"] = InverterVar(percent=percent, unit=whole_at(node, "refType", 0, 255))
    if (node := given.get("FreqDroop")) is not None:
        found["FreqDroop"] = InverterDroop(
            over_hz=whole_at(node, "dBOF", 0, 2**32 - 1) / 1000,
            under_hz=whole_at(node, "dBUF", 0, 2**32 - 1) / 1000,
            over=whole_at(node, "kOF", 0, 2**16 - 1) / 1000,
            under=whole_at(node, "kUF", 0, 2**16 - 1) / 1000,
            response_s=whole_at(node, "openLoopTms", 0, 2**16 - 1) / 100,
        )
    paths = {mode: (node.get("href") or "").strip() for mode, node in given.items() if mode in CURVE_TYPES}
    for mode, path in paths.items():
        if not path.startswith("/") or path.startswith("//") or len(path) > 1000:
            raise CodecError(f"opMod{mode}: {path[:80]!r} is not a path on the server")
    return found, paths


def curve_of(node: Node, mode: FunctionMode) -> InverterCurve:
    """Return the DERCurve of a mode. Raises CodecError, also for one with ramps, which stations cannot follow."""
    kind = whole_at(node, "curveType", 0, 255)
    if kind != CURVE_TYPES[mode]:
        raise CodecError(f"opMod{mode}: a DERCurve of type {kind}")
    if any(whole_at(node, name, 0, 2**16 - 1, 0) for name in ("rampDecTms", "rampIncTms")):
        raise CodecError(f"opMod{mode}: a curve with ramps")
    across, up = _power_of_ten(node, "xMultiplier"), _power_of_ten(node, "yMultiplier")
    points = []
    for each in children(node, "CurveData"):
        y = whole_at(each, "yvalue", -(2**31), 2**31 - 1) * up
        if mode == "WattPF" and (abs(y) > 1 or (truth_at(each, "excitation") is None and abs(y) < 1)):
            raise CodecError(f"opModWattPF: {y:g} is not a power factor with excitation")
        y = -abs(y) if truth_at(each, "excitation") else abs(y) if mode == "WattPF" else y
        points.append((whole_at(each, "xvalue", -(2**31), 2**31 - 1) * across, y))
    if not 1 <= len(points) <= 10 or any(abs(value) > _MOST for point in points for value in point):
        raise CodecError(f"opMod{mode}: {len(points)} points, or values beyond {_MOST:g}")
    open_loop, filtered = (whole_at(node, name, 0, 2**16 - 1, 0) / 100 for name in ("openLoopTms", "rampPT1Tms"))
    adjusts = truth_at(node, "autonomousVRefEnable") is True
    return InverterCurve(
        points=tuple(points),
        unit=whole_at(node, "yRefType", 0, 255),
        response_s=open_loop or filtered * _SETTLES or None,
        reference=whole_at(node, "vRef", 0, 20_000, 0) / 100 or None,
        adjusts_s=whole_at(node, "autonomousVRefTimeConstant", 0, 2**32 - 1, 30_000) / 100 if adjusts else None,
    )


def _power_of_ten(node: Node, name: str) -> float:
    return float(10.0 ** whole_at(node, name, -9, 9))
