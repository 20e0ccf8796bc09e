"""Simulated chargers in simulated time: how long what they do takes, what it is limited by, and that it ends."""

import asyncio
from typing import Any, Final

import pytest

from secc.hardware.evse import WatchConfig
from secc.hardware.meter import SimulatedMeter
from secc.hardware.safety import SafetyChannel
from secc.hardware.simulated import BenchAcEvse, BenchEvse, SimulatedEvse, SimulatedEvseConfig, SimulatedMains
from secc.session import ports
from secc.session.config import AcRating, EvseRating
from tests.secc.hardware.bare import at
from tests.secc.hardware.channel import RATING
from v2g.energy.conductors import Currents
from v2g.hardware.simulation import FaultStep, StageConfig
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.lines import ChargerAc, ChargerAcLine, ChargerDcLine, VehicleAcLine, VehicleDcLine
from v2g.io.simulation.medium import Room
from v2g.iso15118.engine.session import Fact

AT_ONCE: Final = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)
MAKERS: Final = ("line", "bench", "ac")


class Place:
    """A clock and a meter, and what is made of them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = Clock(ClockConfig(origin_monotonic=self.loop.time(), origin_utc_ms=0))
        self.meter = SimulatedMeter("M", now_ms=self.clock.elapsed_ms)
        self.room = Room()
        self.line = ChargerDcLine(self.room.attach("evse"))
        self.vehicle = VehicleDcLine(self.room.attach("evcc"))
        self.facts: list[Fact] = []
        self.evse: Any = None

    @property
    def now(self) -> float:
        return round(self.loop.time() - 1000, 3)

    def make(self, maker: str, *, rating: tuple[int, int] = (150_000, 50_000), **config: Any) -> None:
        settings = SimulatedEvseConfig(**({"stage": AT_ONCE} | config))
        dc = EvseRating(max_charge_power_w=rating[0], max_discharge_power_w=rating[1])
        match maker:
            case "line":
                self.evse = SimulatedEvse(self.line, self.meter, self.clock, settings, dc)
            case "bench":
                self.evse = BenchEvse(self.meter, self.clock, settings, dc)
            case _:
                ac = AcRating(max_charge_power_w=rating[0], max_discharge_power_w=rating[1])
                self.evse = BenchAcEvse(self.meter, self.clock, settings, ac)
        self.evse.subscribe(self.facts.append)

    async def do(self, command: Any) -> Any:
        doing = self.evse.execute(command)
        return None if doing is None else await doing

    async def close(self) -> None:
        await self.evse.close()

    async def connect(self) -> Any:
        """Close the contactor for a session."""
        await self.do(ports.TransactionStarted("0011223344556677", ""))
        return await self.do(ports.CloseContactors())

    async def power(self, watts: int) -> None:
        """Have it flow, into the vehicle or out of it."""
        most = abs(watts)
        await self.do(ports.SetOutput(400_000, watts * 1_000 // 400, most, most))
        await self.do(ports.SetAcOutput(most, most, power_w=watts))
        await self.do(ports.Reported(400_000, 1_000_000, 1_000_000))
        self.vehicle.publish(400_000, contactor_closed=True, max_charge_ma=1_000_000, max_discharge_ma=1_000_000)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_nothing_takes_time_that_is_not_configured(place: Place, maker: str) -> None:
    place.make(maker)
    assert not place.evse.has_latch
    assert await place.connect() == ports.ContactorState(closed=True)
    passed = await place.do(ports.StartCableCheck(400_000))
    assert passed == ports.CableCheckFinished(passed=maker != "ac")
    assert place.now == 0
    place.facts.clear()
    await asyncio.sleep(1.1)
    assert sum(isinstance(each, ports.MeterRead) for each in place.facts) == 4


@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_what_is_configured_takes_its_time(place: Place, maker: str) -> None:
    place.make(maker, contactor_s=2.0, cable_check_s=1.5, latch=True, report_s=2.0)
    assert place.evse.has_latch
    assert await place.connect() == ports.ContactorState(closed=True)
    assert place.now == 2
    await place.do(ports.StartCableCheck(400_000))
    assert place.now == (2 if maker == "ac" else 3.5)


@pytest.mark.parametrize(("takes_s", "waited_s"), [(0.0, 3.0), (1.0, 3.0), (2.0, 4.0)])
@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_a_contactor_has_twice_its_time_to_close(
    place: Place, maker: str, takes_s: float, waited_s: float
) -> None:
    place.make(maker, contactor_s=takes_s, contactors_stick=True)
    assert await place.connect() == ports.ContactorState(closed=False)
    assert (place.now, place.evse.faults) == (waited_s, ("contactor_stuck_open",))


@at(Place)
async def test_other_limits_may_be_watched(place: Place) -> None:
    config = SimulatedEvseConfig(contactors_stick=True)
    place.evse = SimulatedEvse(
        place.line, place.meter, place.clock, config, EvseRating(), watch=WatchConfig(contactor_s=1.0)
    )
    await place.connect()
    assert place.now == 1


@pytest.mark.parametrize("ohm", [39_999, 40_000])
@at(Place)
async def test_the_insulation_is_what_is_configured(place: Place, ohm: int) -> None:
    place.make("bench", insulation_ohm=ohm)
    await place.connect()
    assert await place.do(ports.StartCableCheck(400_000)) == ports.CableCheckFinished(passed=ohm >= 40_000)


@pytest.mark.parametrize(("rating", "watts"), [((400_000, 10_000), 400_000), ((10_000, 400_000), -400_000)])
@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_a_meter_may_count_as_fast_as_the_rating_lets_energy_flow(
    place: Place, maker: str, rating: tuple[int, int], watts: int
) -> None:
    place.make(maker, rating=rating, report_s=10.0)
    await place.connect()
    await place.power(watts)
    assert place.evse.present.watts == pytest.approx(watts, abs=1)
    await asyncio.sleep(36.0)
    reading = place.meter.read(0)
    assert reading.import_mwh - reading.export_mwh == pytest.approx(watts * 10, rel=0.001)
    assert place.evse.faults == ()


@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_a_meter_obeys_the_faults_of_its_charger(place: Place, maker: str) -> None:
    place.make(maker, faults=(FaultStep(fault="meter_silent", after_s=1.0),))
    assert place.meter.power_w == 0
    await asyncio.sleep(1.1)
    assert (place.meter.power_w, place.evse.faults) == (None, ("meter_lost",))


@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_what_flows_heats_the_plug(place: Place, maker: str) -> None:
    place.make(maker, rating=(400_000, 10_000))
    await place.connect()
    await place.power(400_000)
    await asyncio.sleep(400.0)
    assert ports.HardwareFault("over_temperature") in place.facts


@pytest.mark.parametrize("maker", MAKERS)
@at(Place)
async def test_after_its_end_nothing_is_reported_any_more(place: Place, maker: str) -> None:
    place.make(maker, contactor_s=0.5, stage=StageConfig(), faults=(FaultStep(fault="estop", after_s=5.0),))
    await place.connect()
    await place.power(10_000)
    place.vehicle.publish(400_000, contactor_closed=False, max_charge_ma=0, max_discharge_ma=0)
    await asyncio.sleep(1.0)
    await place.evse.close()
    place.facts.clear()
    await asyncio.sleep(20.0)
    assert (place.facts, place.evse.faults) == ([], ())


@pytest.mark.parametrize("maker", ["bench", "ac"])
@at(Place)
async def test_a_monitor_permits_what_closes_and_flows(place: Place, maker: str) -> None:
    safety = SafetyChannel(RATING, place.clock, lambda _: None)
    config = SimulatedEvseConfig(stage=AT_ONCE)
    place.evse = evse = (
        BenchEvse(place.meter, place.clock, config, EvseRating(), safety=safety)
        if maker == "bench"
        else BenchAcEvse(place.meter, place.clock, config, AcRating(), safety=safety)
    )
    safety.stand_over(evse)
    assert await place.connect() == ports.ContactorState(closed=False)
    safety.close()


# -- mains


@at(Place)
async def test_a_vehicle_sees_the_mains_behind_the_contactor(place: Place) -> None:
    """And its draw is what flows, once for each change."""
    rating = AcRating(phases=1, nominal_voltage_v=120, nominal_frequency_hz=60)
    place.make("bench")
    vehicle = VehicleAcLine(place.room.attach("ac"))
    mains = SimulatedMains(ChargerAcLine(place.room.attach("mains")), place.evse.contactor, rating)
    changes: list[ports.Measured] = []
    mains.on_change(lambda: changes.append(mains.present))
    await asyncio.sleep(0.1)
    assert (vehicle.seen, mains.present) == (ChargerAc(0, 1, contactor_closed=False, frequency_hz=60), NO_FLOW)
    vehicle.publish(Currents(5_000))
    await asyncio.sleep(0.1)
    assert changes == []
    await place.connect()
    await asyncio.sleep(0.1)
    assert vehicle.seen == ChargerAc(120_000, 1, contactor_closed=True, frequency_hz=60)
    vehicle.publish(Currents(7_000))
    await asyncio.sleep(0.1)
    mains.cut()
    await asyncio.sleep(0.1)
    assert vehicle.seen == ChargerAc(0, 1, contactor_closed=False, frequency_hz=60)
    place.evse.contactor.set(closed=False)
    flows = [ports.Measured(120_000, ma, currents=Currents(ma)) for ma in (5_000, 7_000)] + [NO_FLOW]
    assert (changes, mains.present) == (flows, NO_FLOW)


NO_FLOW: Final = ports.Measured(0, 0, currents=Currents())
