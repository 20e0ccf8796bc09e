"""Events of all programs, each declared once, in `events.txt`: name, fields, severity, and what else becomes of it.

A program reports one as `Observe(stage, name, data)` (`v2g.observe`). From its declaration come the level in the log,
the reference page, the metric of the charger's warnings, what may leave a vehicle as telemetry
(`v2g.telemetry.local_events`), the lines of the gateway's error log, and the kinds of the back end's feed
(`csms.events.work`). A test compares the declarations with every place that reports an event.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Final, Literal, NamedTuple, cast

import msgspec

Severity = Literal["debug", "info", "warning", "error"]
"""`debug`: occurs with every charge loop or reading. `warning`: something is refused, late or lost. `error`: somebody
has to repair something."""

STAGES: Final[Mapping[str, str]] = {
    "link": "control pilot, powerline matching",
    "sdp": "discovery",
    "tls": "the secured connection, and its certificates",
    "session": "the ISO 15118 session as a whole",
    "authorization": "identification and authorisation",
    "installation": "contract certificates for the vehicle",
    "service": "selection of service and parameters",
    "parameters": "limits of vehicle and charger",
    "schedule": "departure, schedules, prices",
    "offer": "signed discharge: offers, decisions, commands",
    "power": "cable check, pre-charge, contactors, limits, the vehicle's requests",
    "loop": "each charge loop",
    "metering": "meter readings and the vehicle's signatures",
    "stop": "end of the session",
    "basic": "charging without messages (IEC 61851-1)",
    "place": "positioning of a vehicle above or below the charger's device",
    "parking": "check-in and check-out of a parking space",
    "wpt": "wireless power transfer",
    "acdp": "the pantograph (automated connection device)",
    "safety": "the safety monitor",
    "hardware": "parts of the charger and their faults",
    "emergency": "the emergency output, of charger and vehicle",
    "firmware": "updates of charger, vehicle, gateway and back end",
    "display": "the charger's display",
    "settlement": "journals, bundles, settlements",
    "payments": "direct debits",
    "roaming": "partners of OCPI",
    "provisioning": "contracts from the contract pool",
    "ocpp": "charging station and back end",
    "telemetry": "the vehicle's gateway and the back end's ingest",
    "alerts": "what a person or another system has to know",
    "pki": "the OCSP responder and CRL server",
    "program": "the program itself",
}
"""Stage -> what its events are about."""

UNITS: Final[Mapping[str, str]] = {
    "a": "A", "cm": "cm", "db": "dB", "kib": "KiB", "kwh": "kWh", "ma": "mA", "mib": "MiB", "ms": "ms", "mv": "mV",
    "mwh": "mWh", "percent": "%", "s": "s", "seconds": "s", "soc": "%", "w": "W", "wh": "Wh",
}  # fmt: skip
"""Last word of a field's name -> unit of its number; ms are milliseconds since 1970 where they are a time."""


class Field(NamedTuple):
    """A field of an event: `text`, `int`, `float` or `bool`, or a number with a unit; always perhaps None."""

    name: str
    type: str
    unit: str
    telemetry: bool
    """Whether it may leave a vehicle."""


class Event(msgspec.Struct, frozen=True):
    """A declaration. `name` is stage and name; `parts` are the fields with their types, text if none is given,
    marked with `*` where telemetry may have them."""

    name: str
    parts: str = ""
    severity: Severity = "info"
    safety: bool = False
    """Whether it concerns safety: telemetry keeps its record longest."""
    defect: bool = False
    """Whether it reports an exception that no code expects; programs count these."""
    code: int = 0
    """Code of its line in the gateway's error log (`v2g.telemetry.error_codes`); 0: no line."""
    feed: bool = False
    """Whether the back end's feed has it, too."""

    @property
    def key(self) -> tuple[str, str]:
        """Its stage and name."""
        stage, _, name = self.name.partition(".")
        return stage, name

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its fields. A charger with several EVSEs adds `evse_id`."""
        return tuple(map(_field, self.parts.split()))

    @property
    def is_reported(self) -> bool:
        """Whether telemetry has it."""
        return "*" in self.parts

    @property
    def is_warning(self) -> bool:
        """Whether an operator should look at it."""
        return self.severity in ("warning", "error")


def _field(part: str) -> Field:
    name, _, type_ = part.rstrip("*").partition(":")
    unit = UNITS.get(name.rpartition("_")[2], "")
    return Field(name, type_ or ("float" if unit else "text"), unit, part.endswith("*"))


def _declared(line: str) -> Event:
    name, marks, *parts = line.split()
    severity, *flags = marks.split(",")
    code = int(flags.pop(), 16) if "0x" in marks else 0
    return Event(name, " ".join(parts), cast("Severity", severity), code=code, **dict.fromkeys(flags, True))


def _reports() -> Iterator[tuple[str, tuple[Event, ...]]]:
    for section in (files("v2g") / "events.txt").read_text("utf-8").split("\n[")[1:]:
        programs, _, lines = section.partition("]\n")
        yield programs, tuple(map(_declared, lines.splitlines()))


REPORTS: Final[Mapping[str, tuple[Event, ...]]] = dict(_reports())
"""Programs -> what they report."""

EVENTS: Final[Mapping[str, Event]] = {each.name: each for events in REPORTS.values() for each in events}
"""Stage and name -> declaration."""

WARNINGS: Final = frozenset(each.key for each in EVENTS.values() if each.is_warning)
"""Stage and name of events that an operator should look at."""


def reported_by(program: str) -> tuple[Event, ...]:
    """Return what a program reports: `csms`, `evcc`, `gateway`, `pki` or `secc`."""
    return tuple(each for programs, events in REPORTS.items() if program in programs.split() for each in events)


UNDECLARED: Final = Event("")
"""Stands for an event of a driver or policy that is not part of this project."""
