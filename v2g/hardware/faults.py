"""Faults of a charger's hardware: stable codes, what they stop, and descriptions. Data."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Light = Literal["available", "occupied", "charging", "red", "red_flash"]
"""Signals of the charger's lamp. `red_flash`: the plug is not latched, or its proximity contact is broken."""


class FaultKind(msgspec.Struct, frozen=True):
    """One fault. `stops`: no energy flows while it is active. `until`: cleared when its cause is gone (`cleared`), when
    the vehicle has also left (`unplugged`), when a self-test without a vehicle has passed (`tested`), when the charger
    was marked as serviced (`serviced`), across restarts, or when a person has reset the emergency output (`reset`),
    across restarts. `component` is the OCPP component whose `Problem` it is."""

    sentence: str
    component: str
    stops: bool = True
    until: Literal["cleared", "unplugged", "tested", "serviced", "reset"] = "cleared"
    light: Light = "red"

    @property
    def shown_by_f(self) -> bool:
        """Whether the pilot shows F while it is active: not if the pilot itself must show its end."""
        return (
            self.stops
            and self.until not in ("unplugged", "tested")
            and self.component not in ("CPPWMController", "Connector")
        )


FAULTS: Final[Mapping[str, FaultKind]] = {
    "pilot_shorted": FaultKind("the control pilot is shorted to earth, or its level is invalid", "CPPWMController"),
    "diode_shorted": FaultKind(
        "the vehicle's diode is shorted, or a passive load is plugged in", "CPPWMController", until="unplugged"
    ),
    "pilot_frozen": FaultKind(
        "the control pilot's levels do not follow the oscillator, or the ADC's reference is wrong", "CPPWMController"
    ),
    "plug_not_seated": FaultKind("the plug is not latched", "Connector", light="red_flash"),
    "proximity_shorted": FaultKind("the proximity contact is shorted", "Connector", light="red_flash"),
    "latch_failed": FaultKind("the plug cannot be locked", "PlugRetentionLock"),
    "emergency_stop": FaultKind("the emergency stop is pressed", "EmergencyStopSensor"),
    "board_lost": FaultKind("the control board does not answer", "Controller"),
    "board_incompatible": FaultKind("the control board has another protocol version", "Controller"),
    "contactor_welded": FaultKind("the contactor does not open", "PowerContactor", until="serviced"),
    "contactor_stuck_open": FaultKind("the contactor does not close", "PowerContactor", until="unplugged"),
    "phases_stuck": FaultKind("the relay of L2 and L3 is not where it was switched", "AcPhaseSelector"),
    "contactor_dropped": FaultKind("the contactor opened unexpectedly", "PowerContactor", until="unplugged"),
    "charger_failed": FaultKind("monitoring of the power hardware has failed", "Controller", until="tested"),
    "self_test_failed": FaultKind("the hardware has not passed its self-test", "Controller", until="tested"),
    "rule_broken": FaultKind(
        "the session tried to let unpermitted energy flow; see the event `safety` for the reason",
        "Controller",
        until="unplugged",
    ),
    "program_changed": FaultKind(
        "the program's files are not those of its signed manifest", "Controller", until="serviced"
    ),
    "cpu_throttled": FaultKind(
        "the processor is hot or throttled: details of events are left out", "Controller", stops=False
    ),
    "modem_lost": FaultKind("the powerline modem does not answer, or its port is gone", "ISO15118Ctrlr", stops=False),
    "isolation_low": FaultKind(
        "the insulation of the output is too low", "GroundIsolationProtection", until="unplugged"
    ),
    "isolation_test_failed": FaultKind(
        "the isolation monitor has not passed its own test", "GroundIsolationProtection", until="unplugged"
    ),
    "isolation_lost": FaultKind("the isolation monitor does not answer", "GroundIsolationProtection"),
    "over_voltage": FaultKind("the output's voltage is above its limit", "AcDcConverter", until="unplugged"),
    "over_current": FaultKind("the output's current is above its limit", "OverCurrentProtection", until="unplugged"),
    "power_not_obeyed": FaultKind(
        "more power flows than allowed, or in the wrong direction", "AcDcConverter", until="unplugged"
    ),
    "over_temperature": FaultKind("a part is too hot", "TemperatureSensor"),
    "thermal_runaway": FaultKind(
        "a part heats itself; the emergency output is asserted", "TemperatureSensor", until="reset"
    ),
    "temperature_lost": FaultKind("a temperature sensor does not answer", "TemperatureSensor"),
    "fan_failed": FaultKind("a fan does not turn", "AirCoolingSystem", stops=False),
    "stage_tripped": FaultKind("the power stage has tripped", "AcDcConverter"),
    "stage_lost": FaultKind("the power stage does not answer", "AcDcConverter"),
    "module_lost": FaultKind(
        "a power module does not answer or has tripped; the others continue", "AcDcConverter", stops=False
    ),
    "discharge_too_slow": FaultKind("a dangerous voltage remains at the output after opening", "AcDcConverter"),
    "device_stuck": FaultKind("the connection device does not reach its position", "Actuator"),
    "contact_missing": FaultKind("the connection device is lowered but its contacts have not closed", "Actuator"),
    "foreign_object": FaultKind(
        "metal is on the primary device; power waits until it is removed", "BayOccupancySensor", stops=False
    ),
    "living_object": FaultKind(
        "a living object is near the primary device; power waits until it is gone", "BayOccupancySensor", stops=False
    ),
    "meter_lost": FaultKind("the meter does not answer", "FiscalMetering"),
    "meter_stuck": FaultKind("the meter does not advance while energy flows", "FiscalMetering"),
    "measurements_differ": FaultKind(
        "power electronics and meter measure different powers or energies", "FiscalMetering", until="serviced"
    ),
    "meter_backward": FaultKind("a register of the meter went backwards", "FiscalMetering", until="serviced"),
    "meter_jump": FaultKind(
        "a register of the meter jumped more than the charger can deliver", "FiscalMetering", until="serviced"
    ),
    "meter_store": FaultKind("the meter's registers cannot be saved", "FiscalMetering", until="serviced"),
}
"""Code -> fault."""
