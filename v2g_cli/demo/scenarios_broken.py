"""Scenarios of `v2g demo` with faults of hardware, links, and processes."""

from typing import Final

from v2g.hardware import faults
from v2g_cli.demo.faults import Fault
from v2g_cli.demo.scenario import Expected, Scenario

LOOP_SILENCE_S: Final = 0.5
"""V2G_SECC_Sequence_Timeout in the charge loop (V2G20-1502): the limit for missing messages and dead connections."""

LINK_LOST_S: Final = 5.0
"""TT_link_status_response (ISO 15118-3): the limit for detecting a lost powerline."""


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

LOST: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="silent-vehicle",
        about="the vehicle's computer freezes in the charge loop",
        ending="stopped",
        freeze_evcc=True,
        sees=(("secc", "session", "timeout", {"timer": "V2G_SECC_Sequence_Timeout"}),),
    ),
    Scenario(
        name="silent-charger",
        about="the charger stops responding in the charge loop",
        ending="stopped",
        secc_fault=Fault.SILENT,
        sees=(("evcc", "session", "failed", {"reason": "message_timeout"}),),
    ),
    Scenario(
        name="csms-away",
        about="the back end is killed during the session and restarts: queued transaction messages arrive once",
        ending="whole",
        csms_away=True,
    ),
    Scenario(
        name="secc-killed",
        about="the charger is killed with -9 in the charge loop: the vehicle stops, the journal is closed on restart",
        ending="stopped",
        kill_secc=True,
        sees=(
            ("evcc", "session", "failed", {"reason": "secc_vanished"}),
            ("secc", "settlement", "journal_recovered", {}),
            ("secc", "ocpp", "transaction_recovered", {}),
        ),
    ),
    Scenario(
        name="powerline-lost",
        about="the powerline is cut in the charge loop: the modems lose their link, and the charger switches off",
        ending="stopped",
        cut_powerline=True,
        off_within_s=LINK_LOST_S,
        sees=(
            ("secc", "link", "down", {"reason": "link_lost"}),
            ("secc", "power", "emergency_off", {"reason": "link_lost"}),
            ("secc", "session", "session_ended", {"reason": "link_lost"}),
            ("evcc", "session", "failed", {}),
            ("csms", "ocpp", "transaction_ended", {"trigger": "EVCommunicationLost"}),
        ),
    ),
    Scenario(
        name="connection-cut",
        about="the connection is lost in the charge loop, without close_notify: both sides switch off",
        ending="stopped",
        secc_fault=Fault.CUT,
        off_within_s=LOOP_SILENCE_S,
        sees=(
            ("secc", "session", "link_lost", {}),
            ("secc", "power", "emergency_off", {"reason": "connection_lost"}),
            ("secc", "session", "session_ended", {"reason": "connection_lost"}),
            ("evcc", "session", "failed", {"reason": "secc_vanished"}),
            ("csms", "ocpp", "transaction_ended", {"trigger": "EVCommunicationLost"}),
        ),
    ),
    Scenario(
        name="interrupted",
        about="Ctrl-C at the vehicle in the charge loop: power is stopped and the session ends gracefully",
        ending="interrupted",
        interrupt_evcc=True,
        sees=(
            ("evcc", "stop", "stopping", {"cause": "interrupted"}),
            ("secc", "stop", "session_stop", {"session": "Terminate"}),
            ("evcc", "session", "ended", {"reason": "finished"}),
        ),
    ),
)
"""Peers that stop responding, are killed, or become unreachable."""
