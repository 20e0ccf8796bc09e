"""The simulated control units of a battery: what their frames say, read with the database, and when they are sent."""

import asyncio
import itertools
from typing import Any, cast

import msgspec
import pytest
from cantools.database.can import Database

from evcc.hardware import ecu as module
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot, PackHealth
from tests.secc.hardware.bare import at
from tests.together import together
from tests.virtual_time import VirtualLoop
from v2g.io.can import CanConfig
from v2g.telemetry.simulated_battery import battery_dbc

STATE = BatterySnapshot(
    voltage_v=401.5, current_a=-25.5, soc_percent=62.25, soh_percent=97.5, temperature_min=20.5, temperature_max=24.5,
    coolant_temperature=19.5, cell_voltage_min=3.701, cell_voltage_max=3.712, cell_voltage_mean=3.705, charged_wh=1_200,
    discharged_wh=345, contactor_closed=True, power_request_w=-10_100, charging_power_w=-10_200, motor_rpm=1_500,
    ambient_temperature=18.5, context="discharging",
)  # fmt: skip
HEALTH = PackHealth(
    resistance_ohm=0.05, cycles=225.0, pressure_kpa=102.0, coolant_l_min=12.0, temperature_mean=23.0,
    positive_closed=True, negative_closed=False, precharge_closed=True,
)  # fmt: skip
DATABASE = Database()
DATABASE.add_dbc_string(battery_dbc())


def about(value: Any, tolerance: float | None = None) -> Any:
    """Return what is equal to a value but for rounding."""
    return pytest.approx(value, abs=tolerance)


def read(frames: list[tuple[int, bytes]]) -> list[tuple[str, dict[str, Any]]]:
    """Return names and signals of frames, numbers as the database scales them."""
    return [
        (DATABASE.get_message_by_frame_id(each).name, dict(DATABASE.decode_message(each, data, decode_choices=False)))  # type: ignore[arg-type]
        for each, data in frames
    ]


def with_(**changes: Any) -> BatterySnapshot:
    """Return the state with some of it changed."""
    return msgspec.structs.replace(STATE, **changes)


def ecu(rate: float = 10.0) -> BatteryEcu:
    return BatteryEcu(CanConfig(), lambda: STATE, rate=rate)


@pytest.mark.requirement("R73")
def test_each_measurement_is_in_its_signal() -> None:
    assert read(ecu().frames(STATE)) == [
        (name, about(signals))
        for name, signals in {
            "BMS_Pack": {
                "PackVoltage": 401.5, "PackCurrent": -25.5, "StateOfCharge": 62.25, "StateOfHealth": 97.5,
                "AliveCounter": 1,
            },
            "BMS_Temperature": {
                "CellTemperatureMin": 20.5, "CellTemperatureMax": 24.5, "CoolantTemperature": 19.5,
                "CellTemperatureMean": 22.5,
            },
            "BMS_Cells": {"CellVoltageMin": 3.701, "CellVoltageMax": 3.712, "CellVoltageMean": 3.705},
            "BMS_Energy": {"EnergyCharged": 1_200, "EnergyDischarged": 345},
            "BMS_Power": {"PackPower": -10_238},
            "VCU_Status": {"DriveCycle": 4, "ContactorClosed": 1, "PowerRequest": -10_100},
            "OBC_Charging": {"ChargingPower": -10_200},
            "VCU_Drive": {"MotorSpeed": 1_500, "AmbientTemperature": 18.5},
        }.items()
    ]  # fmt: skip


def test_what_not_every_vehicle_measures_has_frames_of_its_own() -> None:
    *_, grid, health, contactors = read(ecu().frames(with_(grid_hz=49.99, health=HEALTH)))
    assert grid == ("OBC_Grid", {"GridFrequency": about(49.99)})
    assert health == (
        "BMS_Health",
        about({"InternalResistance": 0.05, "FullCycles": 225, "PackPressure": 102, "CoolantFlow": 12}),
    )
    assert contactors == ("BMS_Contactors", {"PositiveClosed": 1, "NegativeClosed": 0, "PrechargeClosed": 1})
    measured = dict(read(ecu().frames(with_(health=HEALTH))))
    assert measured["BMS_Temperature"]["CellTemperatureMean"] == about(23)
    assert "OBC_Grid" not in measured


@pytest.mark.parametrize(
    ("context", "code"), [("parked", 0), ("city", 1), ("highway", 2), ("charging", 3), ("discharging", 4)]
)
def test_each_context_has_its_code(context: str, code: int) -> None:
    assert dict(read(ecu().frames(with_(context=context))))["VCU_Status"]["DriveCycle"] == code


def test_the_alive_counter_counts_to_15_and_the_rest_follows_each_change() -> None:
    unit = ecu()
    packs = [dict(read(unit.frames(with_(soc_percent=soc)))) for soc in (*range(20), 19)]
    assert [each["BMS_Pack"]["AliveCounter"] for each in packs] == [*range(1, 16), *range(6)]
    assert [each["BMS_Pack"]["StateOfCharge"] for each in packs] == [*range(20), 19]
    assert all(each["BMS_Cells"] == packs[0]["BMS_Cells"] for each in packs), "what stays is sent again"
    changed = dict(read(unit.frames(with_(cell_voltage_min=3.5))))
    assert changed["BMS_Cells"]["CellVoltageMin"] == about(3.5)


def test_a_value_outside_its_range_is_sent_as_far_as_it_has_bits() -> None:
    assert dict(read(ecu().frames(with_(temperature_max=300.0))))["BMS_Temperature"]["CellTemperatureMax"] == 300


@pytest.mark.parametrize(("rate", "rounds"), [(1.0, [0, 1, 2, 3, 4, 5]), (2.0, [0, 2, 4]), (2.6, [0, 3]), (10.0, [0])])
def test_cells_and_modules_are_sent_once_a_second(rate: float, rounds: list[int]) -> None:
    unit, state = ecu(rate), with_(cells_v=(3.7, 3.8, 3.9), modules_c=(21.0,))
    single = [[name for name, _ in read(unit.frames(state))][8:] for _ in range(6)]
    assert [each for each, names in enumerate(single) if names] == rounds
    assert single[0] == ["BMS_CellVoltages", "BMS_ModuleTemperatures"]


@together(("cells", "sent"), [(2, 0), (3, 3), (5, 3), (6, 6), (96, 96), (99, 96)])
def test_cells_are_sent_in_whole_groups_of_three(cells: int, sent: int) -> None:
    state = with_(cells_v=tuple(3.0 + number / 1_000 for number in range(cells)))
    frames = read(ecu().frames(state))[8:]
    found = {name: volts for _, signals in frames for name, volts in signals.items() if name != "Group"}
    assert found == about({f"Cell{number + 1}": 3.0 + number / 1_000 for number in range(sent)})
    assert [signals["Group"] for _, signals in frames] == list(range(sent // 3))


@pytest.mark.parametrize(("modules", "sent"), [(1, 1), (16, 16), (17, 16)])
def test_the_temperatures_of_16_modules_are_sent_at_most(modules: int, sent: int) -> None:
    frames = read(ecu().frames(with_(modules_c=tuple(20.0 + number for number in range(modules)))))[8:]
    assert frames == [
        ("BMS_ModuleTemperatures", about({"ModuleIndex": number, f"Module{number + 1}": 20.0 + number}))
        for number in range(sent)
    ]


class Port:
    """Notes when frames are sent."""

    def __init__(self, config: CanConfig) -> None:
        self.config, self.closed = config, False
        self.sent: list[tuple[float, int]] = []

    def send(self, frame_id: int, data: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), frame_id))

    async def close(self) -> None:
        self.closed = True


class Bus:
    """The control units on a bus, in simulated time."""

    def __init__(self) -> None:
        self.ports: list[Port] = []
        self.loop = cast("VirtualLoop", asyncio.get_running_loop())

    def open(self, config: CanConfig) -> Port:
        self.ports.append(Port(config))
        return self.ports[-1]

    async def times(self, unit: BatteryEcu, seconds: float) -> list[float]:
        """Return when the pack's frame was sent, s after the start."""
        began = self.loop.time()
        task = asyncio.create_task(unit.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (port,) = self.ports
        assert port.closed
        return [each - began for each, frame_id in port.sent if frame_id == 256]

    async def close(self) -> None:
        """Nothing runs."""


@pytest.mark.requirement("R73")
@pytest.mark.parametrize("rate", [10.0, 4.0])
@at(Bus)
async def test_frames_are_sent_at_their_rate_until_the_end(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(module, "CanPort", bus.open)
    config = CanConfig(channel="here")
    unit = BatteryEcu(config, lambda: STATE) if rate == 10 else BatteryEcu(config, lambda: STATE, rate=rate)
    times = await bus.times(unit, 1.05)
    assert times == about([each / rate for each in range(len(times))], 1e-3)
    assert len(times) == rate + 1
    assert bus.ports[0].config is config


@at(Bus)
async def test_a_late_frame_is_not_followed_by_those_that_were_missed(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CanPort", bus.open)
    late = itertools.chain([0.0, 0.35], itertools.repeat(0.0))

    def slow() -> BatterySnapshot:
        bus.loop.be_late(next(late))
        return STATE

    times = await bus.times(BatteryEcu(CanConfig(), slow), 1.0)
    assert times == about([0, 0.45, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95], 1e-3)
