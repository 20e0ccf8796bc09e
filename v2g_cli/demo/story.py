"""The events shown to people, and their sentences. All others are only in the event files.

A sentence that only fills in fields: `data/story.toml`; another: `_COMPOSED`.
"""

import string
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from v2g.tables import table
from v2g.typed_json import Fields
from v2g_cli.demo.processes import Event

Data = Fields
Words = Callable[[Data], str]


def kw(watts: float) -> str:
    """Return a power as text."""
    return f"{watts / 1000:.1f} kW"


def _both(data: Data, side: str) -> str:
    """Return a side's power in both directions; in ISO 15118-2 and DIN 70121 there is only one."""
    powers = (data.get(f"{side}_{direction}_w") for direction in ("charge", "discharge"))
    return " / ".join(kw(each) for each in powers if each is not None)


class _Formatter(string.Formatter):
    """Formats also powers: `{power_w:kW}`."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return kw(value) if format_spec == "kW" else super().format_field(value, format_spec)


_FORMATTER: Final = _Formatter()

_COMPOSED: Final[dict[tuple[str, ...], Words]] = {
    ("provider", "roaming", "roaming_cdr"): lambda d: f"CDR of {d['partner']}: {d['state']} {d['reason']}".strip(),
    ("secc", "tls", "accepted"): lambda d: (
        "vehicle connected without TLS"
        if d["version"] == "none"
        else f"vehicle {d['peer'] or 'without certificate'} accepted on {d['version']}, {d['group']}"
    ),
    ("evcc", "service", "selected"): lambda d: (
        f"selected {d['service']}, {d['control_mode']}, signed discharge {d['signed_discharge']}"
        if "service" in d
        else f"selected {d['mode']}"  # ISO 15118-2, DIN 70121
    ),
    ("evcc", "parameters", "exchanged"): lambda d: (
        f"limits: charger {_both(d, 'evse')}, vehicle {_both(d, 'ev')}, battery {d['soc']:.0f} %"
    ),
    ("evcc", "schedule", "agreed"): lambda d: (
        f"schedule agreed{', ' + d['control_mode'] if 'control_mode' in d else ''}"
    ),
    ("secc", "offer", "offered"): lambda d: (
        f"offers {kw(d['max_discharge_w'])} (vehicle {kw(d['ev_w'])}, charger {kw(d['evse_w'])}, "
        f"site {kw(d['site_w'])}, operator {kw(d['operator_w'])}), "
        f"buys at {d['export_compensation'] / 1e6:.2f}, sells at {d['import_price'] / 1e6:.2f} {d['currency']}/kWh"
    ),
    ("evcc", "offer", "decided"): lambda d: (
        f"{'accepts' if d['accepted'] else 'refuses'} the offer in {d['decision_ms']:.1f} ms ({d['reason']})"
    ),
    ("evcc", "power", "connected"): lambda d: f"pre-charged to {d['inlet_mv'] / 1000:.1f} V, contactor closed",
    ("evcc", "power", "wish"): lambda d: (
        f"follow set-points: up to {kw(d['charge_w'])} in, {kw(d['discharge_w'])} out"
        if d["do"] == "follow"
        else f"{d['do']}: {kw(d['charge_w'] if d['do'] == 'charge' else d['discharge_w'])}"
        + (f", limited by: {d['held_back']}" if d.get("held_back") else "")
    ),
    ("secc", "offer", "command_accepted"): lambda d: (
        f"discharge command {d['sequence']} accepted: {kw(d['effective_w'])} for {d['valid_ms'] / 60000:.0f} min"
    ),
    ("secc", "metering", "interval_closed"): lambda d: (
        f"quarter hour closed, registers {d['import_mwh'] / 1e6:.3f} kWh in, {d['export_mwh'] / 1e6:.3f} kWh out"
    ),
    ("secc", "metering", "confirmed"): lambda d: (
        f"vehicle signed the meter reading: {d['charged_wh']} Wh in, {d.get('discharged_wh') or 0} Wh out"
    ),
    ("evcc", "session", "resting"): lambda d: (
        "pauses" + (f" for {d['seconds']:.1f} s" if d.get("seconds") is not None else " until it is woken")
    ),
    ("secc", "stop", "welding_detection"): lambda d: f"welding detection at {d['voltage_mv'] / 1000:.1f} V",
}
"""Sentences that depend on more than the texts of fields."""

STORY: Final[dict[tuple[str, ...], Words]] = {
    tuple(place.split()): partial(_FORMATTER.vformat, text, ())
    for place, text in table("v2g_cli.demo", "data/story.toml", dict[str, str]).items()
} | _COMPOSED
"""(process, stage, name) -> the sentence. A missing field shows as a question mark rather than as an error."""


MILESTONES: Final = frozenset({
    ("evcc", "link", "plugged_in"), ("evcc", "link", "arrived"), ("secc", "acdp", "connected"),
    ("evcc", "tls", "refused"), ("secc", "tls", "refused"), ("secc", "session", "protocol_negotiated"),
    ("csms", "provisioning", "answered"), ("evcc", "installation", "rejected"), ("csms", "authorization", "authorize"),
    ("secc", "authorization", "refused"), ("secc", "offer", "command_rejected"), ("secc", "offer", "command_expired"),
    ("evcc", "power", "wish"), ("secc", "power", "emergency_off"), ("secc", "power", "device_trouble"),
    ("secc", "hardware", "fault_began"), ("evcc", "session", "link_lost"), ("evcc", "session", "failed"),
    ("secc", "session", "request_failed"), ("secc", "session", "session_paused"), ("secc", "session", "session_joined"),
    ("evcc", "session", "ended"), ("csms", "settlement", "settled"), ("csms", "roaming", "roaming_partner_registered"),
    ("provider", "roaming", "roaming_cdr"),
})  # fmt: skip
"""Events of the short story."""


class _Lenient(Fields):
    def __missing__(self, key: str) -> str:
        return "?"


def describe(event: Event) -> str | None:
    """Return the sentence about an event, or None when it is not shown."""
    words = STORY.get((event.process, event.stage, event.name))
    if words is None:
        return None
    try:
        return words(_Lenient(event.data))
    except (TypeError, ValueError, KeyError):
        return f"{event.name} {event.data}"
