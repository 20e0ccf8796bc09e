"""Shows a charger or vehicle live: a panel at a terminal, a line for each event in a pipe.

It reads the program's event file, so it can show a program of this process, of another one, or one
that has ended. The state of a run is derived only from its events.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from v2g.errors import CodecError, ConfigError
from v2g.events import WARNINGS
from v2g.io.runtime.supervision import new_thread
from v2g_cli.demo.processes import Event, EventFile
from v2g_cli.demo.story import describe
from v2g_cli.output import say, terminal

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


_POLL_S: Final = 0.1
_BAR: Final = 40
_MANY: Final = 6
"""Limit of EVSEs shown of one charger."""


_GOOD: Final = frozenset({"finished", "paused", "session_paused", "vehicle"})
"""Reasons of a normal end, by vehicle and charger."""


class View:
    """The state shown, one run for each EVSE."""

    def __init__(self, *, live: bool) -> None:
        self.runs: dict[str, Run] = {}
        self._live = Live(console=terminal(), auto_refresh=False) if live else None
        self._start: float | None = None

    def __enter__(self) -> "View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def take(self, event: Event) -> None:
        """Process an event; print it if there is no terminal."""
        self._start = event.t if self._start is None else self._start
        place = _place(event, self.runs)
        self.runs[place] = fold(self.runs.get(place, Run()), event)
        if self._live is None:
            values = " ".join(f"{name}={value}" for name, value in event.data.items())
            words = describe(event) or f"{event.name} {values}".rstrip()
            say(f"{event.t - self._start:9.3f} {event.process:<5} {event.stage:<13} {words}")

    def draw(self) -> None:
        """Update the display."""
        if self._live is not None:
            self._live.update(panel(self.shown), refresh=True)

    @property
    def shown(self) -> list[Run]:
        """The runs; events of a charger with several EVSEs that concern the whole charger are omitted."""
        return [run for place, run in self.runs.items() if place or len(self.runs) == 1]


def _place(event: Event, known: dict[str, Run]) -> str:
    """Return the EVSE of an event: a charger with several adds the id to each of their events.

    One with a single EVSE reports its id only when it begins to listen, and when a session begins.
    """
    evse = event.data.get("evse_id")
    if (
        event.process != "secc"
        or not isinstance(evse, str)
        or (event.stage in ("session", "sdp") and evse not in known)
    ):
        return ""
    return evse


def _follow(events: EventFile, view: View, wait: Callable[[], bool]) -> None:
    """Show an event file as it grows, until `wait` returns true and all of it has been read."""
    complete = False
    while not complete:
        complete = wait()
        for event in events.read():
            view.take(event)
        view.draw()


def watch(path: Path) -> None:
    """Follow another program's events; in a pipe, show the file's content. Raises ConfigError without a file."""
    if not path.exists() or path.is_dir():
        what = "Is a directory" if path.is_dir() else "No such file"
        raise ConfigError(f"{path}: {what}", hint="give the file of the program's --events option")
    terminal = sys.stdout.isatty()
    try:
        with View(live=terminal) as view:
            _follow(EventFile(path), view, _pause if terminal else lambda: True)
    except msgspec.DecodeError as error:
        raise CodecError(
            f"{path}: not an event file: {error}", hint="give the file of the program's --events option"
        ) from None


def _pause() -> bool:
    time.sleep(_POLL_S)
    return False


def run_live(main: Callable[[Path, Path | None], int], config: Path, events: Path | None) -> int:
    """Run a program of this process and show it; return its exit code.

    At a terminal only warnings are logged, since the panel shows the rest.
    """
    terminal = sys.stdout.isatty()
    with TemporaryDirectory(prefix="v2g-live-") as folder, View(live=terminal) as view:
        path = events or Path(folder) / "events.jsonl"
        new = EventFile(path)
        for _ in new.read():  # events of an earlier run
            pass
        over = threading.Event()
        shown = new_thread(
            target=partial(_follow, new, view, lambda: over.wait(_POLL_S)), name="live view", daemon=False
        )
        if terminal:
            logging.disable(logging.INFO)
            logging.getLogger("v2g.io.runtime.events").disabled = True  # they are in the panel
        shown.start()
        try:
            return main(config, path)
        finally:
            over.set()
            shown.join()


# -- the panel ----------------------------------------------------------------------------------------------------


def panel(runs: list[Run]) -> RenderableType:
    """Return the panel."""
    shown = runs[:_MANY]
    return Group(*(_panel(each) for each in shown)) if shown else Panel("waiting for events", title="v2g")


def _panel(run: Run) -> Panel:
    title = Text(f"{'charger' if run.process == 'secc' else 'vehicle'} {run.evse}".rstrip(), "bold")
    title.append(f" session {run.session}" if run.session else "", "not bold")
    ended = f" ended: {run.outcome} " if run.outcome else f" {run.now:.1f} s "
    text = Text()
    for name in STAGES:
        here = name == run.stage and not run.outcome
        mark, style = ("▶", "bold yellow") if here else ("✓", "green") if name in run.done else ("·", "dim")
        text.append(f"{mark}{name} ", style)
    notices = [Text(f"{at:8.2f}  {words}", "red" if trouble else "dim") for at, words, trouble in run.notices]
    return Panel(
        Group(text, _figures(run), _parts(run), *notices),
        title=title,
        subtitle=Text(ended),
        border_style="cyan" if not run.outcome else "green" if run.outcome in _GOOD else "red",
    )


def _figures(run: Run) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 1))
    figures = run.figures
    rows: list[tuple[str, str | Text]] = [("peer", run.peer), ("service", run.service), ("schedule", run.schedule)]
    if "soc" in figures:
        rows.append(("battery", _bar(figures["soc"] / 100, f"{figures['soc']:.1f} %")))
    if "power_w" in figures:
        power = figures["power_w"]
        limit = figures.get("charge_limit_w" if power >= 0 else "discharge_limit_w", 0) or abs(power) or 1
        shown = f"{power / 1000:+.2f} kW"
        if "voltage_mv" in figures:
            shown += f", {figures['voltage_mv'] / 1000:.1f} V, {figures.get('current_ma', 0) / 1000:+.1f} A"
        rows.append(("power", _bar(abs(power) / limit, shown, "green" if power >= 0 else "magenta")))
    if "charge_limit_w" in figures:
        limits = (
            f"{figures.get(f'{name}_limit_w', 0) / 1000:.1f} kW {way}" + (f" ({reason})" if reason else "")
            for name, way, reason in zip(("charge", "discharge"), ("in", "out"), run.limited_by, strict=True)
        )
        rows.append(("limits", ", ".join(limits)))
    if "charged_wh" in figures:
        out = figures.get("discharged_wh", 0) / 1000
        rows.append(("meter", f"{figures['charged_wh'] / 1000:.3f} kWh in, {out:.3f} kWh out"))
    prices = [
        f"{word} {figures[name] / 1e6:.2f} {run.currency}/kWh"
        for name, word in (("import_price", "sells at"), ("export_price", "buys at"))
        if name in figures
    ]
    rows.append(("price", ", ".join(prices)))
    for label, value in rows:
        if value:
            table.add_row(Text(label, "dim"), value)
    return table


_PARTS: Final = ("state", "board", "pilot", "modem", "meter", "interlock", "faults", "csms")
"""Parts of a charger that are shown, of those that it reports."""


def _parts(run: Run) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 1))
    for name in _PARTS:
        if name in run.parts:
            table.add_row(Text(name, "dim"), Text(run.parts[name]))
    return table


def _bar(share: float, words: str, colour: str = "green") -> Text:
    full = round(_BAR * min(1.0, max(0.0, share)))
    return Text.assemble(("█" * full, colour), ("░" * (_BAR - full), "dim"), f" {words}")
