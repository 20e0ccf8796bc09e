"""Both ends of the DC line see each other's state, whoever came first and however the other left."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from v2g.errors import TransportError
from v2g.io.simulation.lines import ChargerDc, ChargerDcLine, VehicleDc, VehicleDcLine
from v2g.io.simulation.medium import Medium, MediumChannel, Room
from v2g.io.simulation.medium_folder import FolderMedium


async def test_states_cross_and_survive_late_comers(charger_medium: Medium, vehicle_medium: Medium, until) -> None:
    charger = ChargerDcLine(charger_medium)
    charger.publish(400_000, 12_500, contactor_closed=True)
    vehicle = VehicleDcLine(vehicle_medium)
    seen: list[ChargerDc | None] = []
    vehicle.on_change(seen.append)
    await until(lambda: seen == [ChargerDc(400_000, 12_500, contactor_closed=True)])
    assert charger.vehicle is None
    vehicle.publish(398_000, contactor_closed=True, max_charge_ma=125_000, max_discharge_ma=50_000)
    await until(
        lambda: (
            charger.vehicle == VehicleDc(398_000, contactor_closed=True, max_charge_ma=125_000, max_discharge_ma=50_000)
        )
    )
    charger.publish(401_000, -20_000, contactor_closed=True)
    await until(lambda: vehicle.charger == ChargerDc(401_000, -20_000, contactor_closed=True))
    charger_medium.close()
    await until(lambda: vehicle.charger is None)
    assert seen == [
        ChargerDc(400_000, 12_500, contactor_closed=True),
        ChargerDc(401_000, -20_000, contactor_closed=True),
        None,
    ]


def _vehicle(voltage_mv: int) -> VehicleDc:
    return VehicleDc(voltage_mv, contactor_closed=False, max_charge_ma=0, max_discharge_ma=0)


async def test_connectors_and_second_vehicles_are_kept_apart(tmp_path: Path, charger_medium: Medium, until) -> None:
    first, second = [await FolderMedium.attach(tmp_path / "copper", name) for name in ("ev1", "ev2")]
    one, two = ChargerDcLine(charger_medium, connector=1), ChargerDcLine(charger_medium, connector=2)
    VehicleDcLine(first, connector=1).publish(1, contactor_closed=False)
    await until(lambda: one.vehicle)
    VehicleDcLine(second, connector=1).publish(2, contactor_closed=False)
    VehicleDcLine(second, connector=2).publish(3, contactor_closed=False)
    await until(lambda: two.vehicle)
    assert one.vehicle == _vehicle(1)
    assert two.vehicle == _vehicle(3)
    first.close()
    await until(lambda: one.vehicle == _vehicle(2))
    second.close()
    with pytest.raises(TransportError):
        ChargerDcLine(charger_medium, connector=256)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), max_size=5))
@example([b"\x95\xa9" + bytes(8) + b"\x80"])  # text that is not UTF-8 is another error of the decoder
async def test_garbage_on_the_wire_is_ignored(payloads: list[bytes]) -> None:
    room = Room()
    line, somebody = ChargerDcLine(room.attach("secc")), room.attach("evcc")
    for payload in payloads:
        somebody.send(MediumChannel.DC, b"\x01S" + payload)
    await asyncio.sleep(0)  # it arrives
    assert line.vehicle is None or isinstance(line.vehicle, VehicleDc)
