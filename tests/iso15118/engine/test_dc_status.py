"""The status of a DC charger by phase, and what a vehicle reads from it."""

import itertools
from typing import Any

import pytest

from v2g.iso15118.d2 import schedules as status_2
from v2g.iso15118.din import schedules as status_din
from v2g.iso15118.engine.dc_status import Demand, Phase, Stop, demand, is_sound, status

EDITIONS = pytest.mark.parametrize("edition", [status_2, status_din], ids=["d2", "din"])

# phase -> status code, isolation status: the published table
TABLE = {
    Phase.PARAMETERS: ("EVSE_Ready", "Invalid"),
    Phase.CABLE_CHECK: ("EVSE_IsolationMonitoringActive", "Invalid"),
    Phase.CHECKED: ("EVSE_Ready", "Valid"),
    Phase.PRE_CHARGE: ("EVSE_Ready", "Valid"),
    Phase.ENERGY: ("EVSE_Ready", "Valid"),
    Phase.STOPPED: ("EVSE_Shutdown", "Valid"),
}


@EDITIONS
@pytest.mark.parametrize("phase", Phase)
def test_status_by_phase(edition: Any, phase: Phase) -> None:
    made = edition.dc_evse_status(status(phase), 7)
    assert (made.evse_status_code.value, made.evse_isolation_status.value) == TABLE[phase]
    delay_s = 7 if edition is status_2 else 0
    assert (made.notification_max_delay, made.evse_notification.value) == (delay_s, "None")


@EDITIONS
@pytest.mark.parametrize(("phase", "stop"), list(itertools.product(Phase, Stop)))
def test_a_stop_is_sent_by_code_and_in_iso_2_by_notification(edition: Any, phase: Phase, stop: Stop) -> None:
    """EVSENotification of DIN 70121 is always None (V2G-DC-500)."""
    made = edition.dc_evse_status(status(phase, stop=stop, renegotiate=True), 9)
    assert made.evse_notification.value == ("StopCharging" if edition is status_2 else "None")
    delayed = stop is Stop.REQUESTED and edition is status_2
    assert demand(made) is (Demand.STOP if delayed else Demand.STOP_NOW)
    at_once = edition.dc_evse_status(status(phase, stop=stop))
    assert demand(at_once) is Demand.STOP_NOW


def _with(edition: Any, code: str, notification: str, delay: int) -> Any:
    kind = edition.DC_EVSEStatus
    return kind(
        notification_max_delay=delay,
        evse_notification=edition.EVSENotification(notification),
        evse_status_code=edition.DC_EVSEStatusCode(code),
    )


@EDITIONS
@pytest.mark.parametrize(
    ("code", "notification", "expected"),
    [
        ("EVSE_Ready", "None", Demand.NOTHING),
        ("EVSE_NotReady", "None", Demand.NOTHING),  # Compleo, with Finished
        ("Reserved_8", "None", Demand.NOTHING),
        ("EVSE_IsolationMonitoringActive", "None", Demand.NOTHING),
        ("EVSE_Ready", "ReNegotiation", Demand.RENEGOTIATE),
        ("EVSE_Ready", "StopCharging", Demand.STOP),
        ("EVSE_Shutdown", "None", Demand.STOP),  # Compleo sends the code only
        ("EVSE_Shutdown", "ReNegotiation", Demand.STOP),
        ("EVSE_Malfunction", "None", Demand.STOP_NOW),
        ("EVSE_EmergencyShutdown", "ReNegotiation", Demand.STOP_NOW),
        ("EVSE_UtilityInterruptEvent", "None", Demand.STOP_NOW),
    ],
)
def test_what_a_vehicle_reads(edition: Any, code: str, notification: str, expected: Demand) -> None:
    assert demand(_with(edition, code, notification, 30)) is expected


@EDITIONS
def test_insulation_good_enough_for_pre_charge(edition: Any) -> None:
    for level in edition.IsolationLevel:
        made = edition.dc_evse_status(status(Phase.CHECKED, isolation=level.value))
        assert is_sound(made) == (level.value in ("Valid", "Warning"))
    assert is_sound(_with(edition, "EVSE_Ready", "None", 0))
