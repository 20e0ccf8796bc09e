"""A computer with a PWM, an ADC and GPIO lines, in a folder like sysfs, and a pilot wire between them: a thread."""

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

from v2g.config import Table
from v2g.errors import TransportError
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState, pilot_high_mv, pilot_low_mv
from v2g.io.hardware.linux_board import LinuxBoardConfig

GAIN, OFFSET_MV, SCALE = 8.0, -12_500.0, 0.5
"""A divider that maps -12.5 to 12.5 V to what an ADC takes."""

SUPPLY_MV, PULL_UP_OHM = 5_000, 330

CONFIG: dict[str, Any] = {
    "pilot": {"channel": "voltage0", "gain": GAIN, "offset_mv": OFFSET_MV},
    "pilot_low": {"channel": "voltage1", "gain": GAIN, "offset_mv": OFFSET_MV},
    "plug": {"channel": "voltage2", "supply_mv": SUPPLY_MV, "pull_up_ohm": PULL_UP_OHM},
    "contactor": {"line": 1},
    "contactor_feedback": {"line": 2},
    "lock": {"line": 3},
    "lock_feedback": {"line": 4},
    "fan": {"line": 5},
    "emergency_stop": {"line": 6, "active_low": True},
    "watchdog": {"line": 7},
}


KEYS: dict[str, Any] = {
    "pilot": {"channel": "voltage0"},
    "contactor": {"line": 1},
    "contactor_feedback": {"line": 2},
    "lock": {"line": 3},
    "lock_feedback": {"line": 4},
    "fan": {"line": 5},
    "emergency_stop": {"line": 6},
}
WATCHDOG: dict[str, Any] = {"watchdog": {"line": 7}, "watchdog_feedback": {"line": 8}}
REFERENCE: dict[str, Any] = {"reference": {"channel": "voltage3", "mv": 0, "active_mv": 2_500, "line": {"line": 9}}}
RELAY: dict[str, Any] = {"phase_relay": {"line": 11}, "phase_relay_feedback": {"line": 12}}
CONTACT: dict[str, Any] = {"plug_contact": {"line": 10}}


def config_of(**changes: Any) -> LinuxBoardConfig:
    """Return a board of `KEYS` with others, and without those that are None."""
    keys = {key: value for key, value in {**KEYS, **changes}.items() if value is not None}
    config, flaws = Table(keys).read(LinuxBoardConfig)
    assert config is not None, flaws
    return config


class Machine(threading.Thread):
    """`detectors`: the ADC sees the wire's peaks; else the wire itself, at random moments."""

    def __init__(self, folder: Path, *, detectors: bool = True) -> None:
        super().__init__(daemon=True)
        self._pwm, self.adc, self._detectors = folder / "pwmchip0", folder / "iio:device0", detectors
        self._pwm.mkdir(parents=True)
        self.adc.mkdir()
        (self._pwm / "export").touch()
        (self.adc / "in_voltage_scale").write_text(f"{SCALE}\n")
        self.resistance_ohm: int | None = None
        self.diode, self.proximity_ohm = True, 220
        self.outputs: dict[str, bool] = {}
        self.estop = self.welded = self.broken = self.frozen = False
        self.inserted, self.guards = True, True
        self._fed_at = time.monotonic()
        self.blocked = threading.Event()
        self.blocked.set()
        self.switchable = threading.Event()
        self.switchable.set()
        self.hanging = False
        self.toggles = 0
        self._ending, self._random = threading.Event(), random.Random(1)
        self._step()
        self.start()

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return the board's keys."""
        keys = {**CONFIG, "adc": str(self.adc), "pwm": {"chip": str(self._pwm)}, **changes}
        return {key: value for key, value in keys.items() if value is not None}

    async def show(self, state: PilotState) -> None:
        """Be a vehicle in this state."""
        self.resistance_ohm = VEHICLE_OHM.get(state)

    def lines(self, outputs: Any, inputs: Any) -> "Machine":
        """Be the port to the GPIO lines."""
        self.outputs, self._inputs = dict.fromkeys(outputs, False), frozenset(inputs)
        return self

    def read(self) -> dict[str, bool]:
        self.blocked.wait()
        if self.broken:
            raise TransportError("gpiochip0: Input/output error")
        closed = self.outputs.get("contactor", False) or self.welded
        seen = {
            "contactor_feedback": closed,
            "lock_feedback": self.outputs.get("lock", False),
            "emergency_stop": self.estop,
            "plug_contact": self.inserted,
            "phase_relay_feedback": self.outputs.get("phase_relay", False),
            "watchdog_feedback": not self.guards or time.monotonic() - self._fed_at < 0.2,
        }
        return {name: value for name, value in seen.items() if name in self._inputs}

    def write(self, name: str, *, active: bool) -> None:
        if name == "contactor" and not self.switchable.is_set():
            self.hanging = True
            self.switchable.wait(30)
        if name == "watchdog":
            self.toggles, self._fed_at = self.toggles + 1, time.monotonic()
        self.outputs[name] = active

    def close(self) -> None:
        """The lines are released: a chip may keep them as they are."""

    def stop(self) -> None:
        self.blocked.set()
        self.switchable.set()
        self._ending.set()
        self.join()

    @property
    def percent(self) -> float:
        """The part of each period in which the oscillator is high."""
        return 100 * self._value("duty_cycle") / max(1, self._value("period")) if self._value("enable") else 0.0

    def run(self) -> None:
        while not self._ending.wait(0.001):
            self._step()

    def _value(self, name: str) -> int:
        try:
            return int((self._pwm / "pwm0" / name).read_text().split()[0])  # writes do not shorten
        except FileNotFoundError:
            return 0

    def _step(self) -> None:
        output = self._pwm / "pwm0"
        if (self._pwm / "export").read_text() and not output.exists():
            new = self._pwm / "new"
            new.mkdir()
            for name in ("duty_cycle", "period", "enable"):
                (new / name).write_text("0\n")
            (new / "polarity").write_text("normal\n")
            new.rename(output)
        high, low = (
            pilot_high_mv(self.resistance_ohm, diode=self.diode),
            pilot_low_mv(self.resistance_ohm, diode=self.diode),
        )
        percent = self.percent
        if not self._detectors:
            high = low = high if self._random.random() < percent / 100 else low
        self._put("voltage0", (high if percent else -12_000, GAIN, OFFSET_MV))
        self._put("voltage1", (low if percent < 100 else high, GAIN, OFFSET_MV))
        plug_mv = SUPPLY_MV * self.proximity_ohm // (self.proximity_ohm + PULL_UP_OHM)
        self._put("voltage2", (plug_mv, 1.0, 0.0))
        self._put("voltage3", (2_500 if self.outputs.get("reference") else 0, 1.0, 0.0))

    def _put(self, channel: str, wire: tuple[int, float, float]) -> None:
        mv, gain, offset = wire
        if self.frozen:
            return
        descriptor = os.open(self.adc / f"in_{channel}_raw", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, b"%08d\n" % round((mv - offset) / gain / SCALE), 0)  # at once, as in sysfs
        os.close(descriptor)
