"""The scenarios of `v2g demo`: those of `data/scenarios.toml`, and one for each fault of a charger's hardware."""

import tomllib
from importlib.resources import files
from typing import Any, Final

from v2g import typed_json
from v2g.hardware import faults
from v2g_cli.demo.scenario import Expected, Scenario

_DATA: Final = tomllib.loads((files("v2g_cli.demo") / "data" / "scenarios.toml").read_text("utf-8"))
_PROGRAMS: Final[dict[str, str]] = _DATA["programs"]


def _scenario(fields: dict[str, Any]) -> Scenario:
    program = fields.get("program", "there_and_back")
    return typed_json.convert({**fields, "program": _PROGRAMS.get(program, program)}, Scenario)


def _broken(name: str, fault: str, step: str, *, ends: str = "", flows: bool = True) -> Scenario:
    """Return the scenario of a hardware fault; `ends` is the response code to the vehicle, if any."""
    seen: list[Expected] = [
        ("secc", "hardware", "fault_began", {"fault": fault}),
        ("secc", "hardware", "light", {"light": "red"}),
        ("csms", "ocpp", "device_event", {"tech_code": fault}),
        ("csms", "ocpp", "connector_status", {"status": "Faulted"}),
        ("secc", "power", "emergency_off", {} if ends else {"reason": fault}),
    ]
    if ends:
        seen.append(("secc", "session", "request_failed", {"code": ends}))
    return Scenario(
        name=f"fault-{name}",
        about=f"in the charger: {faults.FAULTS[fault].sentence}",
        ending="stopped" if flows else "no_session",
        sees=tuple(seen),
        program=_PROGRAMS["there_and_back"],
        secc_tables=f"[[hardware.simulated.faults]]\n{step.replace(', ', chr(10))}\n",
    )


FAULTS: Final[tuple[Scenario, ...]] = (
    _broken("cable-check", "isolation_low", 'fault = "isolation", value = 1000', ends="FAILED", flows=False),
    _broken("isolation", "isolation_low", 'fault = "isolation", value = 1000, when = "current", after_s = 1'),
    _broken("over-voltage", "over_voltage", 'fault = "over_voltage", when = "current", after_s = 1'),
    _broken(
        "over-temperature", "over_temperature", 'fault = "over_temperature", value = 95, when = "current", after_s = 1'
    ),
    _broken("emergency-stop", "emergency_stop", 'fault = "estop", when = "current", after_s = 1'),
    _broken("power-stage-lost", "stage_lost", 'fault = "stage_silent", when = "current", after_s = 1'),
    _broken(
        "contactor-welded",
        "contactor_welded",
        'fault = "weld", when = "current", after_s = 1',
        ends="FAILED_ContactorError",
    ),
)
"""Faults of the charger's hardware: reported to the vehicle, the lamp, the back end and the log."""

SCENARIOS: Final = (*map(_scenario, _DATA["scenarios"]), *FAULTS)


def find(name: str) -> Scenario | None:
    """Return the scenario of that name."""
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
