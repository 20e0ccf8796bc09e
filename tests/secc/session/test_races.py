"""Back end, grid operator, energy manager, grid frequency and vehicle command one output at the same time (R28).

Each writer sends its commands in the order of its versions; the grid operator's may arrive late. Whatever the
interleaving: after each command the output keeps to every limit in force, power never turns around within the dead time
nor rises faster than the ramp, and in the end the output is what the newest command of each writer makes of it, as if
they had been given one after the other. The expected values are computed here from the commands alone.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace

from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from secc.session.config import ControlMode, EnergyService, EvseRating, SeccConfig
from tests.secc.energy_manager.grid import signal
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import MakeBench
from tests.secc.session.d20.ac import UNSIGNED
from v2g.energy.limits import GridResponse
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.engine.sequence import State
from v2g_station.blocks.smart_charging.profiles import ProfileLimits

RATED_W: Final = 30_000
SITE_W: Final = 25_000
DEAD_S: Final = 0.5
LEAD_S: Final = 1.0
CONFIG: Final = SeccConfig(
    services=(EnergyService.DC_BPT,),
    control_modes=(ControlMode.DYNAMIC,),
    signed_discharge=UNSIGNED,
    rating=EvseRating(max_charge_power_w=RATED_W, max_discharge_power_w=RATED_W),
    loop_events=False,
    raised_limits=True,
)


class Known(NamedTuple):
    """The newest command of each writer, as far as it has arrived."""

    operator: tuple[int, int, int] = (1, SITE_W, 0)
    """version, W of import, W of export"""
    profiles: tuple[float | None, float | None, float | None] = (None, None, None)
    """W of charge, W of discharge, set-point"""
    suspended: bool = False
    frequency: float | None = None
    response: GridResponse = GridResponse()
    vehicle: tuple[int, int] = (20_000, 12_000)

    @property
    def bounds(self) -> tuple[float, float]:
        """W that may flow into the vehicle at most, and out of it."""
        charge, discharge, _ = self.profiles
        sources = (RATED_W, SITE_W, self.operator[1], charge, self.vehicle[0], 0 if self.suspended else None)
        back = (RATED_W, SITE_W, self.operator[2], discharge, self.vehicle[1], 0 if self.suspended else None)
        return min(x for x in sources if x is not None), min(x for x in back if x is not None)

    @property
    def power_w(self) -> float:
        """W that flow in the end."""
        most, least = self.bounds
        wanted = self.profiles[2] if self.frequency is None else self.frequency
        power = min(most, max(-least, most if wanted is None else wanted)) + self.response.delta_w
        floor, ceiling = self.response.floor_w, self.response.ceiling_w
        power = power if floor is None else max(power, floor)
        power = power if ceiling is None else min(power, ceiling)
        return min(most, max(-least, power))


class Race:
    """A charger in the loop. Every command goes the way that it goes in the program: grid, facts, session."""

    def __init__(self, make_bench: MakeBench, seed: int) -> None:
        self.random, self.known, self.seen = random.Random(seed), Known(), 0
        self.grid = SiteGrid(charge_w=SITE_W, discharge_w=0)
        self.grid.signal(signal(1, 0, SITE_W))
        self.bench: Bench = make_bench(CONFIG, limits=self.grid.limits, tariff=None, direction_change_s=DEAD_S)
        self.bench.selection = (int(EnergyService.DC_BPT), 0, False)
        self.bench.reach(State.DC_CHARGE_LOOP).go("DC_ChargeLoopReq")
        self.version, self.flow, self.turned = 1, 0.0, (0, 0.0)
        self.check()

    def watts(self) -> int:
        return 500 * self.random.randrange(0, 61)

    # -- the writers: each yields what it does, to be called when it arrives ----------------------------------------

    def operator(self) -> Iterator[Callable[[], None]]:
        newest = [(self.version + n + 1, self.watts(), self.watts()) for n in range(self.random.randrange(1, 4))]
        self.version += len(newest)
        self.random.shuffle(newest)  # the newer one may be there first
        for each in newest:
            yield lambda each=each: self.signalled(*each)  # type: ignore[misc]

    def signalled(self, version: int, import_w: int, export_w: int) -> None:
        if version > self.known.operator[0]:
            self.known = self.known._replace(operator=(version, import_w, export_w))
        self.facts(self.grid.signal(replace(signal(version, export_w, import_w), valid_until_ms=2**52)))

    def back_end(self) -> Iterator[Callable[[], None]]:
        for _ in range(self.random.randrange(1, 4)):
            charge = self.random.choice([None, float(self.watts())])
            discharge = self.random.choice([None, float(self.watts())])
            setpoint = self.random.choice([None, self.watts() - 15_000.0, self.watts() - 15_000.0])
            yield lambda them=(charge, discharge, setpoint): self.profiles(them)  # type: ignore[misc]

    def profiles(self, them: tuple[float | None, float | None, float | None]) -> None:
        self.known = self.known._replace(profiles=them)
        self.facts(self.grid.profiles(ProfileLimits(charge_w=them[0], discharge_w=them[1], setpoint_w=them[2])))

    def authorization(self) -> Iterator[Callable[[], None]]:
        if self.random.random() < 0.1:
            for suspended in (True, False):
                yield lambda suspended=suspended: self.suspend(suspended)  # type: ignore[misc]

    def suspend(self, suspended: bool) -> None:
        self.known = self.known._replace(suspended=suspended)
        self.facts(self.grid.suspend(suspended))

    def local(self) -> Iterator[Callable[[], None]]:
        if self.random.random() < 0.5:
            power_w = self.random.choice([None, self.watts() - 15_000.0])
            yield lambda: self.frequency(power_w)
        if self.random.random() < 0.5:
            bounds = [self.random.choice([None, self.watts() - 15_000]) for _ in range(2)]
            delta_w = self.random.choice([0, self.watts() - 15_000])
            ramp = self.random.choice([0.0, 0.0, 5.0])
            yield lambda: self.respond(GridResponse(delta_w, bounds[0], bounds[1], ramp))

    def frequency(self, power_w: float | None) -> None:
        self.known = self.known._replace(frequency=power_w)
        self.facts(self.grid.local(power_w))

    def respond(self, response: GridResponse) -> None:
        self.known = self.known._replace(response=response)
        self.facts(self.grid.respond(response))

    def vehicle(self) -> Iterator[Callable[[], None]]:
        for _ in range(self.random.randrange(0, 2)):
            limits = self.watts(), self.watts()
            yield lambda limits=limits: self.loop(limits)  # type: ignore[misc]

    def loop(self, limits: tuple[int, int]) -> None:
        self.known = self.known._replace(vehicle=limits)
        charge, discharge = (number(each) for each in limits)
        mode = self.bench.loop_mode(
            ev_maximum_charge_power=charge,
            ev_maximum_discharge_power=discharge,
            ev_minimum_energy_request=number(-40_000),
            ev_maximum_charge_current=number(100),
            ev_maximum_discharge_current=number(100),
        )
        response = self.bench.send(self.bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
        assert response.response_code is ResponseCode.OK

    def facts(self, facts: Any) -> None:
        for fact in facts:
            self.bench.fact(fact)

    # -- the judge --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Hold every output since the last check against the commands that have arrived."""
        outputs = [each for each in self.bench.actions if isinstance(each, ports.SetOutput)]
        most, least = self.known.bounds
        for output in outputs[-1:]:
            assert output.charge_w <= most, (self.known, output)
            assert output.discharge_w <= least, (self.known, output)
            assert not (output.charge_w and output.discharge_w)
        for output in outputs:
            self.turns(output)
        self.bench.actions.clear()
        self.bench.responses.clear()

    def turns(self, output: ports.SetOutput) -> None:
        way = (output.current_ma > 0 and output.charge_w > 0) - (output.current_ma < 0 and output.discharge_w > 0)
        before, now = self.flow, self.bench.now
        driven = max(-output.discharge_w, min(output.charge_w, output.current_ma * 400 // 1000))
        if before > 0 or before < 0:
            self.turned = (1 if before > 0 else -1), now
        last, ended = self.turned
        if way and last == -way:
            assert now - ended >= DEAD_S - 1e-6, f"turns around after {now - ended} s"
        rise = self.known.response.ramp_percent / 100 * RATED_W
        if rise and way:
            same = max(0.0, before * way)
            assert way * driven <= same + rise * LEAD_S + 1, "rises faster than the ramp"
        self.flow = driven

    def batch(self) -> None:
        """One interleaving: all writers at once, in any order between them."""
        writers = [[*w()] for w in (self.operator, self.back_end, self.authorization, self.local, self.vehicle)]
        writers = [each for each in writers if each]
        while writers:
            writer = self.random.choice(writers)
            writer.pop(0)()
            self.check()
            writers = [each for each in writers if each]
            if self.random.random() < 0.2:
                self.rest(self.random.choice([0.05, 0.3, 0.6]))

    def rest(self, seconds: float) -> None:
        self.bench.pass_time(seconds)
        self.check()

    def settle(self) -> None:
        """Without new commands the power becomes what the newest ones say."""
        for _ in range(2 if not self.known.response.ramp_percent else 32):
            self.rest(0.6)
            self.loop(self.known.vehicle)
            self.check()
        assert abs(self.flow - self.known.power_w) <= 1, self.known


def race(make_bench: MakeBench, seed: int, batches: int) -> None:
    found = Race(make_bench, seed)
    for number_ in range(batches):
        found.batch()
        if number_ % 4 == 0:
            found.settle()
        found.rest(0.1)
        found.loop(found.known.vehicle)


@pytest.mark.some(1)
@pytest.mark.requirement("R28")
@pytest.mark.parametrize("seed", range(4))
def test_commands_from_every_side_at_once(make_bench: MakeBench, seed: int) -> None:
    race(make_bench, seed, 150)


@pytest.mark.long
@pytest.mark.requirement("R28")
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_hundred_thousand_interleavings(make_bench: MakeBench, seed: int) -> None:
    race(make_bench, seed, 5_000)
