"""The state of a run, derived only from its events: the same for a running program and an event file."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from v2g.events import WARNINGS
from v2g_cli.demo.processes import Event
from v2g_cli.demo.story import describe

STAGES: Final = (
    "link", "sdp", "tls", "session", "authorization", "service", "parameters", "schedule", "power", "loop", "stop",
)  # fmt: skip
"""Stages of a session in their order."""

_NOTICES: Final = 6
_ENDS: Final = frozenset({"ended", "session_ended", "session_paused", "failed"})
_BEGINS: Final = frozenset({"plugged_in", "matching_started", "accepted", "session_started"})

_OFF: Final = frozenset(
    {("stop", "power_stopped"), ("power", "stopped"), ("power", "hardware_fault"), ("power", "emergency_off")}
)
"""Events of the moment when the contactor has opened, or is being opened."""

_FIGURES: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("loop", "flow"): {
        "power_w": "power_w", "voltage_mv": "voltage_mv", "current_ma": "current_ma", "soc": "soc",
        "evse_charge_w": "charge_limit_w", "evse_discharge_w": "discharge_limit_w",
        "charged_wh": "charged_wh", "discharged_wh": "discharged_wh",
    },
    ("loop", "response"): {
        "power_w": "power_w", "voltage_mv": "voltage_mv", "current_ma": "current_ma", "soc": "soc",
        "charge_limit_w": "charge_limit_w", "discharge_limit_w": "discharge_limit_w",
    },
    ("parameters", "exchanged"): {
        "evse_charge_w": "charge_limit_w", "evse_discharge_w": "discharge_limit_w", "soc": "soc",
    },
    ("parameters", "limits"): {"station_charge_w": "charge_limit_w", "station_discharge_w": "discharge_limit_w"},
    ("power", "limited"): {"charge_limit_w": "charge_limit_w", "discharge_limit_w": "discharge_limit_w"},
    ("power", "limit_changed"): {"charge_w": "charge_limit_w", "discharge_w": "discharge_limit_w"},
    ("power", "wish"): {"charge_w": "wish_charge_w", "discharge_w": "wish_discharge_w", "soc": "soc"},
    ("metering", "reading"): {"charged_wh": "charged_wh", "discharged_wh": "discharged_wh"},
    ("metering", "confirmed"): {"charged_wh": "charged_wh", "discharged_wh": "discharged_wh"},
    ("offer", "offered"): {"import_price": "import_price", "export_compensation": "export_price"},
    ("offer", "received"): {"best_compensation": "export_price"},
    ("session", "ended"): {"soc": "soc"},
}  # fmt: skip
"""(stage, name) of an event -> its field -> the figure it sets."""


class Run(msgspec.Struct, frozen=True):
    """One session so far. `done` are the stages seen, `outcome` the reason of its end, or empty."""

    process: str = ""
    evse: str = ""
    session: str = ""
    peer: str = ""
    service: str = ""
    schedule: str = ""
    since: float | None = None
    now: float = 0.0
    stage: str = ""
    done: frozenset[str] = frozenset()
    figures: Mapping[str, float] = {}
    currency: str = ""
    limited_by: tuple[str, str] = ("", "")
    """What limits the power into the vehicle, and out of it."""
    notices: tuple[tuple[float, str, bool], ...] = ()
    """(seconds since the start, text, whether it is a problem), newest last."""
    outcome: str = ""
    parts: Mapping[str, str] = {}
    """What a charger says of its parts, also between sessions: see `secc.status`."""


def fold(run: Run, event: Event) -> Run:
    """Return the run after an event. An arrival begins a new one."""
    data = event.data
    if run.outcome and event.name in _BEGINS:
        run = Run(evse=run.evse, parts=run.parts)
    since = event.t if run.since is None else run.since
    run = replace(run, process=event.process, since=since, now=event.t - since)
    if (event.stage, event.name) == ("hardware", "status"):
        return replace(run, parts={name: str(text) for name, text in data.items()})
    if event.stage in STAGES:
        run = replace(run, stage=event.stage, done=run.done | {event.stage})
    figure_names = _FIGURES.get((event.stage, event.name), {})
    figures = {name: data[field] for field, name in figure_names.items() if isinstance(data.get(field), int | float)}
    ended = event.stage == "session" and event.name in _ENDS
    if ended or (event.stage, event.name) in _OFF:  # no loop follows that would say so
        figures |= {name: 0 for name in ("power_w", "current_ma") if name in run.figures}
    if figures:
        run = replace(run, figures={**run.figures, **figures})
    run = _with_names(run, event, data)
    if ended:
        run = replace(run, outcome=str(data.get("reason", event.name)))
    words = _words(event)
    if words:
        notice = (run.now, words, (event.stage, event.name) in WARNINGS)
        run = replace(run, notices=(*run.notices, notice)[-_NOTICES:])
    return run


def _with_names(run: Run, event: Event, data: Mapping[str, object]) -> Run:
    match event.stage, event.name:
        case "tls", "connected" | "accepted":
            return replace(run, peer=f"{data.get('peer', '')}, {data.get('version', '')} {data.get('group', '')}")
        case "session", "established" | "joined" | "session_started" | "session_joined":
            return replace(run, session=str(data.get("session_id", "")), evse=str(data.get("evse_id", "")))
        case "service", "selected":
            if "mode" in data:  # ISO 15118-2, DIN 70121
                return replace(run, service=str(data["mode"]))
            signed = ", signed discharge" if data.get("signed_discharge") else ""
            return replace(run, service=f"{data.get('service')} {data.get('control_mode')}{signed}")
        case "schedule", "agreed" | "planned":
            known = run.schedule
            parts = {
                "control_mode": "{}",
                "tuple_id": "tuple {}",
                "departure_s": "departure in {} s",
                "energy_wh": "{} Wh",
                "cost": "cost {}",
            }
            figure_names = [text.format(data[key]) for key, text in parts.items() if data.get(key) not in (None, "")]
            return replace(run, schedule=", ".join(figure_names) or known)
        case ("loop", "response") | ("power", "limited"):
            reasons = (str(data.get(f"{way}_limited_by") or "").replace("_", " ") for way in ("charge", "discharge"))
            return replace(run, limited_by=(next(reasons), next(reasons)))
        case "offer", "offered" | "received":
            return replace(run, currency=str(data.get("currency", "")))
    return run


def _words(event: Event) -> str:
    """Return the notice for an event, beyond the figures shown."""
    if (event.stage, event.name) == ("loop", "notice"):
        return f"requests {event.data.get('notification')} from the vehicle"
    if (event.stage, event.name) in (("loop", "warning"), ("session", "warning")):
        return f"warning {event.data.get('code')}"
    if (event.stage, event.name) == ("display", "shown"):
        return f"display: {event.data.get('content')}"
    if (event.stage, event.name) == ("hardware", "fault_began"):
        return f"fault {event.data.get('fault')} of {event.data.get('component')}"
    return describe(event) or ""
