"""Resources of IEEE 2030.5-2018 and CSIP-AUS that a DER client writes, with their elements in the schema's order."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args
from xml.sax.saxutils import escape, quoteattr

import msgspec

from v2g.ieee2030_5.functions import MODE_BITS, FunctionMode
from v2g.ieee2030_5.resources import EXTENSIONS, sfdi_of

Content = Mapping[str, "str | int | Content | Sequence[Content] | None"]
Source = Literal["der", "site"]
"""What is metered: all chargers, positive out of the vehicles, or the grid connection, positive into the site."""

_NAMESPACE: Final = "urn:ieee:std:2030.5:ns"
_EVSE: Final = 82
_DISCHARGES: Final = 1
_MODES: Final = (0, 2, 3, 7, 20, 22)
"""Bits of DERControlType: charge, Connect, Energize, FixedW, MaxLimW, TargetW."""
_DOE_MODES: Final = "0F"
_AT_ONCE: Final = 10_000
"""setGradW, hundredths of a per cent of the rating in a second: changes are not ramped."""
ALARMS: Final = (
    "OverCurrent", "OverVoltage", "UnderVoltage", "OverFrequency", "UnderFrequency", "VoltageImbalance",
    "CurrentImbalance", "LocalEmergency", "RemoteEmergency", "LowInputPower", "PhaseRotation",
)  # fmt: skip
"""Bits of alarmStatus by the names that OCPP has for these faults."""
_DER_FUNCTION_SET, _OWN_PROFILE, _OWN_PEN = 11, 2, 40_732
"""Of a LogEvent: its function set, and whose codes they are (IEEE 2030.5; the enterprise number: K)."""


class Rating(msgspec.Struct, frozen=True, kw_only=True):
    """What all chargers together can, W, and the functions that they carry out."""

    charge_w: int
    discharge_w: int
    functions: tuple[FunctionMode, ...] = ()


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What all chargers together do: some are connected to the back end, some may charge or discharge; their power (W,
    positive into vehicles; None: unknown), and how much may leave the vehicles now (W). `alarms`: bits of `ALARMS`."""

    connected: bool
    operating: bool
    power_w: int | None
    available_w: int
    alarms: int = 0


class ReadingType(NamedTuple):
    """What readings are of: a unit (`uom`), a phase to neutral, or 0 for all together, and a power of ten."""

    source: Source
    name: str
    uom: int
    phase: int = 0
    multiplier: int = 0


_USAGE_POINTS: Final = {"der": ("Chargers", "0049", 19), "site": ("Site", "0003", 1)}
"""Descriptions, roleFlags (mirror, DER, submeter; mirror, premises) and flowDirection (reverse, forward) of sources."""
READING_TYPES: Final = {
    f"{each.source} {each.name}": each
    for source in get_args(Source)
    for each in (
        ReadingType(source, "power", 38),
        ReadingType(source, "reactive power", 63),
        ReadingType(source, "voltage L1", 29, 129, -1),
        ReadingType(source, "voltage L2", 29, 65, -1),
        ReadingType(source, "voltage L3", 29, 33, -1),
    )
}


class MeanReadings(msgspec.Struct, frozen=True):
    """The means of an interval: its start and length (s), values by the names of `READING_TYPES`, in their units."""

    start_s: int
    duration_s: int
    values: dict[str, int]


def response_xml(*, mrid: str, status: int, lfdi: str, at_s: int) -> bytes:
    """Return a DERControlResponse: the status of a control at this device."""
    content: Content = {"createdDateTime": at_s, "endDeviceLFDI": lfdi, "status": status, "subject": mrid}
    return _document("DERControlResponse", content)


def end_device_xml(lfdi: str, at_s: int) -> bytes:
    """Return an EndDevice, by which a device registers itself."""
    return _document("EndDevice", {"lFDI": lfdi, "sFDI": sfdi_of(lfdi), "changedTime": at_s})


def connection_point_xml(connection_point: str, extension: str) -> bytes:
    """Return where a device is connected to the grid, such as an NMI (CSIP-AUS)."""
    return _document("ConnectionPoint", {"connectionPointId": connection_point}, extension)


def capability_xml(rating: Rating, extension: str = "") -> bytes:
    """Return a DERCapability; with a namespace of CSIP-AUS also its modes."""
    charge, discharge = _watts(rating.charge_w), _watts(rating.discharge_w)
    own: Content = {
        "modesSupported": _modes(rating),
        "rtgMaxChargeRateW": charge,
        "rtgMaxDischargeRateW": discharge,
        "rtgMaxW": discharge,
        "type": _EVSE,
    }
    return _document("DERCapability", {**own, **_aus_modes("Supported", extension)}, extension, prefixed=True)


def settings_xml(rating: Rating, at_s: int, extension: str = "", gradient: int = 0) -> bytes:
    """Return a DERSettings: as the capability, in force since a time (s); `gradient`: 0 is at once."""
    charge, discharge = _watts(rating.charge_w), _watts(rating.discharge_w)
    own: Content = {
        "modesEnabled": _modes(rating),
        "setGradW": gradient or _AT_ONCE,
        "setMaxChargeRateW": charge,
        "setMaxDischargeRateW": discharge,
        "setMaxW": discharge,
        "updatedTime": at_s,
    }
    return _document("DERSettings", {**own, **_aus_modes("Enabled", extension)}, extension, prefixed=True)


def status_xml(condition: Condition, at_s: int) -> bytes:
    """Return a DERStatus."""
    bits = 0x07 if condition.connected and condition.operating else 0x03 if condition.connected else 0
    connect: Content = {"dateTime": at_s, "value": f"{bits:02X}"}
    mode = None
    if condition.power_w is not None:
        mode = 2 if condition.power_w == 0 else 0 if condition.power_w > 0 else 1
    content: Content = {
        "alarmStatus": f"{condition.alarms:08X}",
        "genConnectStatus": connect,
        "operationalModeStatus": {"dateTime": at_s, "value": 2 if condition.operating else 1},
        "readingTime": at_s,
        "storageModeStatus": None if mode is None else {"dateTime": at_s, "value": mode},
        "storConnectStatus": connect,
    }
    return _document("DERStatus", content)


def availability_xml(condition: Condition, at_s: int) -> bytes:
    """Return a DERAvailability."""
    return _document("DERAvailability", {"readingTime": at_s, "statWAvail": _watts(condition.available_w)})


def alarm_events(before: int, after: int) -> list[int]:
    """Return the codes of alarms that have begun (even) or ended (odd), of bits before and after."""
    changed = before ^ after
    return [2 * bit + (before >> bit & 1) for bit in range(len(ALARMS)) if changed >> bit & 1]


def log_event_xml(code: int, number: int, at_s: int) -> bytes:
    """Return a LogEvent of DERs: its code and its number, which rises and begins anew after 65535."""
    content: Content = {
        "createdDateTime": at_s,
        "functionSet": _DER_FUNCTION_SET,
        "logEventCode": code,
        "logEventID": number & 0xFFFF,
        "logEventPEN": _OWN_PEN,
        "profileID": _OWN_PROFILE,
    }
    return _document("LogEvent", content)


def subscription_xml(resource: str, notification_uri: str) -> bytes:
    """Return a Subscription to a resource: a notification names it and brings at most one item of a list."""
    content: Content = {
        "subscribedResource": resource,
        "encoding": 0,
        "level": "+S1",
        "limit": 1,
        "notificationURI": notification_uri,
    }
    return _document("Subscription", content)


def mirror_xml(lfdi: str, source: Source, interval_s: int) -> bytes:
    """Return the MirrorUsagePoint of a source, with the types of its readings."""
    description, roles, direction = _USAGE_POINTS[source]
    types: list[Content] = []
    for key, each in READING_TYPES.items():
        if each.source == source:
            kind: Content = {
                "accumulationBehaviour": 12,  # of a mean, too: K
                "commodity": 1,
                "dataQualifier": 2,
                "flowDirection": direction,
                "intervalLength": interval_s,
                "kind": 37,
                "phase": each.phase,
                "powerOfTenMultiplier": each.multiplier,
                "uom": each.uom,
            }
            types.append({"mRID": _mrid(lfdi, key), "description": f"{description}: {each.name}", "ReadingType": kind})
    content: Content = {
        "mRID": _mrid(lfdi, f"{source} usage point"),
        "description": description,
        "roleFlags": roles,
        "serviceCategoryKind": 0,
        "status": 1,
        "deviceLFDI": lfdi,
        "MirrorMeterReading": types,
    }
    return _document("MirrorUsagePoint", content)


def reading_xml(lfdi: str, readings: MeanReadings, name: str) -> bytes:
    """Return a MirrorMeterReading: the mean of one reading type."""
    period: Content = {"duration": readings.duration_s, "start": readings.start_s}
    content: Content = {
        "mRID": _mrid(lfdi, name),
        "lastUpdateTime": readings.start_s + readings.duration_s,
        "Reading": {"timePeriod": period, "value": readings.values[name]},
    }
    return _document("MirrorMeterReading", content)


def mean_readings(samples: Sequence[tuple[int, Mapping[str, float]]], start_s: int, end_s: int) -> MeanReadings | None:
    """Return the means of an interval of samples (s, values by name); None without one in it."""
    within = [values for at_s, values in samples if start_s <= at_s < end_s]
    means = {}
    for name, kind in READING_TYPES.items():
        if found := [values[name] for values in within if name in values]:
            means[name] = round(sum(found) / len(found) / 10**kind.multiplier)
    return MeanReadings(start_s, end_s - start_s, means) if means else None


def _mrid(lfdi: str, name: str) -> str:
    """Return an id that is always the same for a device and what it is of, and ends as the device's."""
    return hashlib.sha256(f"{lfdi}/{name.removeprefix('der ')}".encode()).hexdigest()[:24].upper() + lfdi[-8:]


def _modes(rating: Rating) -> str:
    bits = {*_MODES, *(MODE_BITS[each] for each in rating.functions), *((_DISCHARGES,) if rating.discharge_w else ())}
    return f"{sum(1 << bit for bit in bits):08X}"


def _aus_modes(kind: str, extension: str) -> Content:
    doe: Content = {f"c:doeModes{kind}": _DOE_MODES} if extension else {}
    return {**doe, f"c:vppModes{kind}": "01"} if extension and extension != EXTENSIONS[-1] else doe


def _watts(power_w: int) -> Content:
    """Return an ActivePower, whose value has 16 bits; rounded towards 0."""
    multiplier = 0
    while abs(power_w) >= 2**15:
        power_w, multiplier = int(power_w / 10), multiplier + 1
    return {"multiplier": multiplier, "value": power_w}


def _document(name: str, content: Content, extension: str = "", *, prefixed: bool = False) -> bytes:
    """Return a document, in the standard's namespace, or in an extension's; `prefixed`: with elements `c:` of it."""
    more = f" xmlns:c={quoteattr(extension)}" if prefixed and extension else ""
    namespace = extension if extension and not prefixed else _NAMESPACE
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns={quoteattr(namespace)}{more}>'
    return f"{head}{_elements(content)}</{name}>".encode()


def _elements(content: Content) -> str:
    return "".join(
        f"<{name}>{_elements(each) if isinstance(each, Mapping) else escape(str(each))}</{name}>"
        for name, value in content.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    )
