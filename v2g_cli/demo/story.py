"""The events shown to people, and their sentences. All others are only in the event files."""

from collections.abc import Callable
from typing import Any, Final

from v2g_cli.demo.processes import Event

Data = dict[str, Any]
Words = Callable[[Data], str]


def kw(watts: float) -> str:
    """Return a power as text."""
    return f"{watts / 1000:.1f} kW"


def _both(data: Data, side: str) -> str:
    """Return a side's power in both directions; in ISO 15118-2 and DIN 70121 there is only one."""
    powers = (data.get(f"{side}_{direction}_w") for direction in ("charge", "discharge"))
    return " / ".join(kw(each) for each in powers if each is not None)


def _words(text: str) -> Words:
    return lambda data: text.format_map(data)


STORY: Final[dict[tuple[str, str, str], Words]] = {
    ("csms", "ocpp", "ready"): _words("back end listens: OCPP on port {ocpp_port}, HTTPS on port {api_port}"),
    ("csms", "ocpp", "grid_signal_received"): lambda d: (
        f"grid signal {d['version']} from {d['origin']}: export up to {kw(d['export_limit_w'])}"
    ),
    ("csms", "ocpp", "openadr_connected"): _words("VTN connected, {events} events"),
    ("csms", "ocpp", "openadr_reported"): _words("usage of {intervals} intervals reported to the VTN: {kwh} kWh"),
    ("csms", "ocpp", "price_feed_read"): _words("{prices} prices of {feed} read"),
    ("csms", "roaming", "roaming_partner_registered"): lambda d: f"{d['partner']} is registered as roaming partner",
    ("provider", "roaming", "roaming_cdr"): lambda d: f"CDR of {d['partner']}: {d['state']} {d['reason']}".strip(),
    ("csms", "ocpp", "dispatched"): lambda d: f"set-point {kw(d['setpoint_w'])} for EVSE {d['evse']}: {d['status']}",
    ("secc", "ocpp", "csms_connected"): _words("station uses OCPP {version}"),
    ("secc", "session", "link_lost"): _words("connection lost: {error}"),
    ("evcc", "session", "link_lost"): _words("connection lost: {error}"),
    ("secc", "ocpp", "csms_online"): _words("charging station accepted by the back end"),
    ("secc", "session", "ready"): _words("charger ready: SDP on UDP port {sdp_port}, TLS on port {tls_port}"),
    ("secc", "ocpp", "csms_disconnected"): _words("back end disconnected: {reason}"),
    ("evcc", "link", "plugged_in"): _words("vehicle plugged in"),
    ("evcc", "link", "arrived"): _words("vehicle approaches the device"),
    ("evcc", "place", "methods"): _words("positioning {positioning}, pairing {pairing}, alignment {alignment}"),
    ("evcc", "place", "found"): _words("in position"),
    ("evcc", "place", "paired"): _words("paired by {method}"),
    ("secc", "acdp", "connected"): _words("connection device lowered, contacts closed after {seconds} s"),
    ("secc", "acdp", "disconnected"): _words("connection device raised after {seconds} s"),
    ("secc", "power", "device_trouble"): _words("the primary device sends no power: {trouble}"),
    ("secc", "hardware", "fault_began"): _words("fault: {fault}"),
    ("secc", "link", "down"): _words("data link down: {reason}"),
    ("evcc", "link", "pilot_digital"): _words("control pilot at 5 %: digital communication required"),
    ("evcc", "link", "matched"): _words("powerline matched by SLAC, {attenuation_db} dB, network {nid}"),
    ("evcc", "sdp", "found"): _words("charger found by SDP at port {port}"),
    ("evcc", "tls", "connected"): _words("{version} with {peer}: {cipher}, {group}, OCSP {ocsp}"),
    ("secc", "tls", "accepted"): lambda d: (
        "vehicle connected without TLS"
        if d["version"] == "none"
        else f"vehicle {d['peer'] or 'without certificate'} accepted on {d['version']}, {d['group']}"
    ),
    ("secc", "tls", "refused"): _words("TLS refused: {reason}"),
    ("evcc", "tls", "refused"): _words("TLS refused: {reason}"),
    ("secc", "session", "protocol_negotiated"): _words("{protocol} negotiated"),
    ("secc", "session", "session_started"): _words("session {session_id} opened"),
    ("evcc", "installation", "requested"): _words("requests a contract for {pcid}"),
    ("csms", "provisioning", "answered"): _words("provisioning for {pcid}: {code} {emaid}, {remaining} remain"),
    ("secc", "installation", "answered"): _words("contract forwarded, {bytes} bytes in {seconds} s"),
    ("secc", "installation", "refused"): _words("no contract: {code} ({reason})"),
    ("evcc", "installation", "installed"): _words("contract {emaid} verified and decrypted, {remaining} remain"),
    ("evcc", "installation", "stored"): _words("contract {emaid} stored"),
    ("evcc", "installation", "rejected"): _words("contract rejected: {reason}"),
    ("evcc", "installation", "refused"): _words("no contract: {code}"),
    ("evcc", "authorization", "selected"): _words("identification by {service}"),
    ("csms", "authorization", "authorize"): _words("contract {emaid}: {result}"),
    ("secc", "authorization", "authorized"): _words("authorised in {seconds} s"),
    ("secc", "authorization", "refused"): _words("authorisation refused: {code} ({reason})"),
    ("evcc", "authorization", "denied"): _words("not authorised: {code}"),
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
    ("secc", "power", "cable_check_passed"): _words("cable check passed"),
    ("evcc", "power", "connected"): lambda d: f"pre-charged to {d['inlet_mv'] / 1000:.1f} V, contactor closed",
    ("secc", "power", "started"): _words("power delivery started"),
    ("evcc", "power", "wish"): lambda d: (
        f"follow set-points: up to {kw(d['charge_w'])} in, {kw(d['discharge_w'])} out"
        if d["do"] == "follow"
        else f"{d['do']}: {kw(d['charge_w'] if d['do'] == 'charge' else d['discharge_w'])}"
        + (f", limited by: {d['held_back']}" if d.get("held_back") else "")
    ),
    ("secc", "offer", "command_accepted"): lambda d: (
        f"discharge command {d['sequence']} accepted: {kw(d['effective_w'])} for {d['valid_ms'] / 60000:.0f} min"
    ),
    ("secc", "offer", "command_rejected"): _words("discharge command rejected: {reason}"),
    ("secc", "offer", "command_expired"): _words("discharge command expired: power back to zero"),
    ("secc", "power", "limit_changed"): lambda d: (
        f"limit of {d['source']}: {kw(d['charge_w'])} in, {kw(d['discharge_w'])} out ({d['binding']} binds)"
    ),
    ("secc", "metering", "interval_closed"): lambda d: (
        f"quarter hour closed, registers {d['import_mwh'] / 1e6:.3f} kWh in, {d['export_mwh'] / 1e6:.3f} kWh out"
    ),
    ("secc", "metering", "confirmed"): lambda d: (
        f"vehicle signed the meter reading: {d['charged_wh']} Wh in, {d.get('discharged_wh') or 0} Wh out"
    ),
    ("secc", "power", "emergency_off"): _words("power off: {reason}"),
    ("secc", "session", "timeout"): _words("{timer} expired"),
    ("secc", "session", "request_failed"): _words("{request} answered with {code}"),
    ("evcc", "session", "failed"): _words("session failed: {reason}"),
    ("secc", "session", "session_paused"): _words("session {session_id} paused, journal and transaction stay open"),
    ("secc", "session", "session_joined"): _words("session {session_id} resumed"),
    ("secc", "session", "kept"): _words("session {session_id} is still paused after a restart"),
    ("evcc", "session", "resting"): lambda d: (
        "pauses" + (f" for {d['seconds']:.1f} s" if d.get("seconds") is not None else " until it is woken")
    ),
    ("evcc", "session", "resumed"): _words("continues, woken by {woken_by}"),
    ("secc", "power", "standby"): _words("standby: connected, no energy"),
    ("secc", "power", "standby_left"): _words("standby ended"),
    ("evcc", "stop", "stopping"): _words("stops: {cause}"),
    ("secc", "stop", "power_stopped"): _words("power stopped"),
    ("secc", "stop", "welding_detection"): lambda d: f"welding detection at {d['voltage_mv'] / 1000:.1f} V",
    ("evcc", "session", "ended"): lambda d: f"session ended ({d['reason']}), battery {d['soc']:.0f} %",
    ("secc", "settlement", "bundle_written"): _words("settlement bundle written"),
    ("secc", "ocpp", "transaction_recovered"): _words("open transaction closed after a restart: {reason}"),
    ("secc", "settlement", "journal_recovered"): _words("journal of session {session_id} verified and closed"),
    ("csms", "settlement", "settled"): _words("settled session {session}"),
    ("gateway", "telemetry", "started"): _words("telemetry by {transport}"),
    ("gateway", "telemetry", "stopped"): _words("{stored} records stored by the back end, {waiting} pending"),
}
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


class _Lenient(dict[str, Any]):
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
