"""Scenarios of `v2g demo` without faults."""

from typing import Final

from v2g_cli.demo.scenario import CHARGE, PAUSING, PLAN, Expected, Scenario
from v2g_cli.demo.scenarios_broken import FAULTS, LOST
from v2g_cli.demo.scenarios_devices import DEVICES
from v2g_cli.demo.scenarios_editions import EDITIONS
from v2g_cli.demo.scenarios_grid import GRID
from v2g_cli.demo.scenarios_trust import TRUST

_PAUSE = '[pause]\nfile = "paused.json"\n'
_PAUSED: Final[tuple[Expected, ...]] = (
    ("evcc", "session", "resting", {}),
    ("secc", "session", "session_paused", {}),
    ("secc", "session", "session_joined", {}),
    ("evcc", "session", "joined", {}),
)
_SCHEDULED = '[services]\nenergy = ["DC_BPT"]\ncontrol_mode = ["scheduled"]\n'
_AC_HARDWARE = '[hardware]\nkind = "ac"\n'

SESSIONS: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="discharge",
        about="plug and charge, charge, discharge, settle; the grid operator lowers the export limit",
        ending="whole",
        lower_limit=True,
    ),
    Scenario(
        name="ac",
        about="alternating current: the vehicle's own charger follows targets, in both directions (AC_BPT, Dynamic)",
        ending="whole",
        lower_limit=True,
        charger="services = [5, 1]",
        secc_tables=_AC_HARDWARE,
        evcc_tables='[services]\nenergy = ["AC_BPT"]\ncontrol_mode = ["dynamic"]\n',
        sees=(("evcc", "service", "selected", {"service": "AC_BPT", "control_mode": "Dynamic"}),),
    ),
    Scenario(
        name="ac-scheduled",
        about="alternating current by a schedule chosen by the vehicle (AC, Scheduled)",
        ending="charged",
        charger="services = [1]\ncontrol_modes = [1, 2]",
        secc_tables=_AC_HARDWARE,
        evcc_tables='[services]\nenergy = ["AC"]\ncontrol_mode = ["scheduled"]\n',
        program=CHARGE,
        sees=(("evcc", "service", "selected", {"service": "AC", "control_mode": "Scheduled"}),),
    ),
    Scenario(
        name="plan",
        about="the vehicle plans by prices which schedule to take and when to charge (DC, Scheduled)",
        ending="charged",
        charger="services = [2]\ncontrol_modes = [1]",
        evcc_tables='[services]\nenergy = ["DC"]\ncontrol_mode = ["scheduled"]\n',
        program=PLAN,
        sees=(
            ("evcc", "schedule", "planned", {"reaches_target": "True"}),
            ("evcc", "session", "ended", {"reason": "finished"}),
        ),
    ),
    Scenario(
        name="plan-dynamic",
        about="the charger controls power, within limits that the vehicle plans by prices (DC_BPT, Dynamic)",
        ending="whole",
        trades=True,
        charger="services = [6]\ncontrol_modes = [2]",
        evcc_tables='[services]\nenergy = ["DC_BPT"]\ncontrol_mode = ["dynamic"]\n',
        program=PLAN,
        sees=(
            ("evcc", "service", "selected", {"service": "DC_BPT", "control_mode": "Dynamic"}),
            ("evcc", "schedule", "planned", {"tuple_id": "None", "reaches_target": "True"}),
            ("evcc", "session", "ended", {"reason": "finished"}),
        ),
    ),
    Scenario(
        name="ocpp-2.0.1",
        about="the whole session with a back end with OCPP 2.0.1 only",
        ending="whole",
        lower_limit=True,
        ocpp=("ocpp2.0.1",),
    ),
    Scenario(
        name="telemetry-https",
        about="the whole session without a broker: telemetry goes to the back end over HTTPS",
        ending="whole",
        broker=False,
    ),
    Scenario(
        name="gateway-killed",
        about="the telemetry gateway hangs, is killed with -9 and starts again, and the session takes no notice",
        ending="whole",
        kill_gateway=True,
    ),
    Scenario(
        name="pause",
        about="the vehicle pauses between charge and discharge, and resumes its session: one bill for both parts",
        ending="whole",
        program=PAUSING,
        evcc_tables=_PAUSE,
        sees=_PAUSED,
    ),
    Scenario(
        name="pause-killed",
        about="as pause, but the charger is killed with -9 in the pause and restarts with the session still open",
        ending="whole",
        program=PAUSING,
        evcc_tables=_PAUSE,
        kill_paused_secc=True,
        sees=(*_PAUSED, ("secc", "session", "kept", {})),
    ),
    Scenario(
        name="standby",
        about="the vehicle stays connected without energy between charge and discharge",
        ending="whole",
        program=PAUSING.replace("pause = true", "standby = true"),
        sees=(("secc", "power", "standby", {}), ("secc", "power", "standby_left", {})),
    ),
    Scenario(
        name="renegotiation",
        about="scheduled charging: prices and limits change during the session, the charger requests a new schedule",
        ending="whole",
        lower_limit=True,
        evcc_tables=_SCHEDULED,
        sees=(
            ("secc", "loop", "notice", {"notification": "ScheduleRenegotiation"}),
            ("secc", "schedule", "renegotiation", {}),
        ),
    ),
    Scenario(
        name="renegotiation-beside",
        about="as renegotiation, on a side stream while energy flows",
        ending="whole",
        lower_limit=True,
        evcc_tables=_SCHEDULED + "renegotiate_beside = true\n",
        sees=(("secc", "schedule", "renegotiated_beside", {}),),
    ),
    Scenario(
        name="renegotiation-service",
        about="the driver changes services during the session: reselected within the session, on the same bill",
        ending="whole",
        evcc_tables='[[driver]]\nafter_s = 500\nwish = "reselect"\n',
        sees=(("secc", "stop", "session_stop", {"session": "ServiceRenegotiation"}),),
    ),
    Scenario(
        name="permission-withdrawn",
        about="the back end withdraws the permission to discharge: the vehicle reselects its services (Q02)",
        ending="no_export",
        withdraw_v2g=True,
        evcc_tables='[services]\nenergy = ["DC_BPT", "DC"]\n',
        sees=(
            ("evcc", "service", "selected", {"service": "DC_BPT"}),
            ("secc", "loop", "notice", {"notification": "ServiceRenegotiation"}),
            ("secc", "stop", "session_stop", {"session": "ServiceRenegotiation"}),
            ("evcc", "service", "selected", {"service": "DC"}),
            ("evcc", "session", "ended", {"reason": "finished"}),
        ),
    ),
    Scenario(
        name="pause-by-profile",
        about="a charging profile allows nothing for half an hour: the charger requests a pause, and wakes the vehicle",
        ending="charged",
        rest_by_csms=True,
        charger="services = [2]",
        secc_tables="[site]\npause_for_s = 600\n",
        evcc_tables=_PAUSE + '[services]\nenergy = ["DC"]\n',
        program=CHARGE,
        sees=(("secc", "loop", "notice", {"notification": "Pause"}), *_PAUSED),
    ),
    Scenario(
        name="parking",
        about="the vehicle is guided into its parking space before charging, and out of it afterwards (ParkingStatus)",
        ending="whole",
        secc_tables="[charger.parking]\nspace = 7\ndevice_location = 300\n",
        evcc_tables='[services]\nparking = "MVGuideManual"\n',
        sees=(
            ("secc", "parking", "check_in", {"status": "Completed"}),
            ("secc", "parking", "check_out", {"answer": "Completed"}),
        ),
    ),
    Scenario(
        name="two-evses",
        about="one charger with two EVSEs behind one grid connection, a vehicle at each: two bills, one site limit",
        ending="beside",
        neighbours=("[battery]\ncapacity_wh = 80000\nsoc = 20.0\n",),
        program=CHARGE,
    ),
)
"""Scenarios without faults."""

SCENARIOS: Final = (*SESSIONS, *EDITIONS, *GRID, *DEVICES, *TRUST, *LOST, *FAULTS)


def find(name: str) -> Scenario | None:
    """Return the scenario of that name."""
    return next((scenario for scenario in SCENARIOS if scenario.name == name), None)
