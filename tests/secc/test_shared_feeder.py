"""Two charge points of one charger at one feeder, by whole programs, with vehicles that charge by the pilot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.charger import CROWD_S, Charger
from secc.config import EvseConfig, SiteConfig
from secc.energy_manager.sharing import HELD_S
from secc.evse.controller import EvseController
from secc.evse.ports import ShutDown
from secc.hardware.safety import SafetyChannel
from secc.session.config import AcRating
from secc.session.ports import GridChanged
from tests.safety.controllers import OnRig, controllers, grid_signal, program
from tests.virtual_time import in_simulated_time, simulated
from v2g.energy.limits import SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.data_transfer import GridSignalReceived
from v2g_station.blocks.smart_charging.profiles import ProfileLimits

pytestmark = [pytest.mark.requirement("R57"), pytest.mark.requirement("R192")]

LINES = ("L1", "L2", "L3")


class Feeder:
    """What flows, in mA, is looked at all the time."""

    def __init__(self, found: tuple[OnRig, ...], rotations: tuple[tuple[str, ...], ...], most_ma: int) -> None:
        self.found, self._rotations, self._most_ma = found, rotations, most_ma
        first = found[0].controller
        self.charger = Charger(
            first.config, first.clock, cast(Any, lambda _: None), first.transport,
            tuple(each.controller for each in found),
        )  # fmt: skip
        self.highest_ma = 0

    @property
    def carried_ma(self) -> tuple[int, ...]:
        """In L1 to L3 of the feeder."""
        sums = dict.fromkeys(LINES, 0)
        for each, rotation in zip(self.found, self._rotations, strict=True):
            for line, current_ma in zip(rotation, each.car.line_ma, strict=False):
                sums[line] += current_ma
        return tuple(sums.values())

    async def wait(self, seconds: float) -> None:
        for tenth in range(round(seconds * 10)):
            await asyncio.sleep(0.1)
            if tenth % 5 == 0:
                self.charger.share()
            self.highest_ma = max(self.highest_ma, *self.carried_ma)
            assert self.highest_ma <= self._most_ma

    async def charge(self, number: int) -> None:
        """Let a vehicle come and charge, within 15 s."""
        found = self.found[number - 1]
        found.car.plug()
        await self.wait(8.0)
        found.desk.answer(AuthorizationStatus.ACCEPTED)
        await self.wait(1.0)
        found.car.show(PilotState.C)
        await self.wait(6.0)


def rating(rotation: tuple[str, ...]) -> AcRating:
    phases: Any = len(rotation)
    return AcRating(phases=phases, max_charge_power_w=7_360 * phases, feeder_phases=rotation)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def feeder(
    pki: PkiTree, folder: Path, *rotations: tuple[str, ...], phases: Any = 1, charge_a: int = 20, **site: Any
) -> AsyncIterator[Feeder]:
    config = program(pki, folder)
    evses = tuple(
        EvseConfig(
            evse_id=f"DEV2GE0000{number}",
            charger=replace(config.charger, ac_rating=rating(rotation)),
            link=replace(config.link, name=f"secc-{number}"),
        )
        for number, rotation in enumerate(rotations, 1)
    )
    config = replace(config, evses=evses, site=SiteConfig(charge_a=charge_a, **site))
    async with controllers(pki, folder, config, phases=phases) as found:
        yield Feeder(found, rotations, charge_a * 1000)


def near(*most_ma: int) -> Any:
    """By no more than a duty cycle and a whole number of watts below."""
    return pytest.approx([each - 15 for each in most_ma], abs=15)


async def both_charge(found: Feeder) -> None:
    await found.charge(1)
    assert found.carried_ma == near(20_000, 0, 0)
    await found.charge(2)
    await found.wait(HELD_S)
    assert [each.car.line_ma[0] for each in found.found] == near(10_000, 10_000)


@simulated
async def test_two_vehicles_on_one_phase_never_carry_more_than_the_feeder(pki: PkiTree, tmp_path: Path) -> None:
    """The second one waits for the first one; when that leaves, it gets all."""
    async with feeder(pki, tmp_path, LINES, LINES) as found:
        await both_charge(found)
        found.found[0].car.unplug()
        await found.wait(HELD_S)
        assert found.carried_ma == near(20_000, 0, 0)


@simulated
async def test_vehicles_that_come_together_share_at_once_and_never_have_more_than_the_feeder(
    pki: PkiTree, tmp_path: Path
) -> None:
    async with feeder(pki, tmp_path, LINES, LINES, LINES) as found:
        evses = [each.controller for each in found.found]
        for each in found.found:
            each.car.plug()
            await asyncio.sleep(CROWD_S / 4)
            assert each.controller.busy
            assert sum(one.grid.limits[0].charge_ma or 0 for one in evses if one.busy) <= 20_000
        await asyncio.sleep(CROWD_S)
        shares = [each.grid.limits[0].charge_ma or 0 for each in evses]
        assert min(shares) >= 6_000
        assert sum(shares) <= 20_000


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[SafetyChannel, Limit]:
    """What each second channel has heard last of the site."""
    found: dict[SafetyChannel, Limit] = {}
    fact = SafetyChannel.fact

    def hears(channel: SafetyChannel, told: Fact) -> None:
        for limit in told.limits if isinstance(told, GridChanged) else ():
            if limit.source == SITE:
                found[channel] = limit
        fact(channel, told)

    monkeypatch.setattr(SafetyChannel, "fact", hears)
    return found


@simulated
async def test_monitors_keep_to_the_shares_of_a_lower_limit_of_the_site(
    pki: PkiTree, tmp_path: Path, heard: dict[SafetyChannel, Limit]
) -> None:
    """Of 12 A each has its share at once, not what it had before."""
    async with feeder(pki, tmp_path, LINES, LINES) as found:
        await both_charge(found)
        found.charger.carry_out(GridSignalReceived(signal=grid_signal(2, charge_w=8_280, discharge_w=0)))
        assert [heard[each.controller.safety].charge_ma for each in found.found] == [6_000, 6_000]
        assert [each.controller.grid.limits[0] for each in found.found] == list(heard.values())


def test_monitors_of_a_crowd_hear_of_no_share_after_what_profiles_permit(
    pki: PkiTree, tmp_path: Path, heard: dict[SafetyChannel, Limit]
) -> None:
    """A profile changes while each session begins; for the third there are less than 6 A."""

    def change(evse: EvseController) -> None:
        evse.carry_out(ProfileLimits(charge_w=9_000.0))

    async def scene() -> None:
        async with feeder(pki, tmp_path, LINES, LINES, LINES, charge_a=13) as found:
            for each in found.found:
                last, each.controller.on_busy = each.controller.on_busy, Callbacks[[]]()
                each.controller.on_busy(partial(change, each.controller))
                each.controller.on_busy(last.tell)
                each.car.plug()
                await asyncio.sleep(CROWD_S / 4)
            await asyncio.sleep(CROWD_S)
            assert [heard[each.controller.safety].charge_ma for each in found.found] == [6_500, 6_500, 0]

    in_simulated_time(scene())


@simulated
async def test_conductors_of_different_outlets_are_not_shared(pki: PkiTree, tmp_path: Path) -> None:
    async with feeder(pki, tmp_path, ("L1",), ("L2",), ("L1",)) as found:
        for number in (1, 2, 3):
            await found.charge(number)
        await found.wait(HELD_S)
        assert found.carried_ma == near(20_000, 20_000, 0)


@pytest.mark.parametrize("measured", [True, False])
@simulated
async def test_a_welded_outlet_keeps_what_it_draws(pki: PkiTree, tmp_path: Path, measured: bool) -> None:
    """Its vehicle goes on with 8 A, of which a silent meter says nothing: then it may be the 10 A of its share."""
    async with feeder(pki, tmp_path, LINES, LINES) as found:
        await both_charge(found)
        first, second = found.found
        first.car.draw(8 * 230, obeys=False)
        await found.wait(1.0)
        first.faults.set("weld")
        if not measured:
            first.faults.set("meter_silent")
        first.controller.fact(ShutDown())
        await found.wait(2 * HELD_S)
        assert not first.controller.busy
        assert (first.controller.sample().power_w is None) is not measured
        assert first.car.line_ma == near(8_000)
        assert second.car.line_ma == near(12_000 if measured else 10_000)


def allow(found: Feeder, watts: float | None, **more: Any) -> None:
    """Profiles allow the whole station this much, W of three conductors."""
    each = ProfileLimits(charge_w=watts, charge_a=None if watts is None else watts / 690)
    for number in range(1, len(found.found) + 1):
        found.charger.carry_out(replace(each, evse_id=number, whole=each, **more))


def amperes(found: Feeder) -> list[int]:
    return [round(max(each.car.line_ma, default=0) / 1000) for each in found.found]


@pytest.mark.requirement("R192")
@simulated
async def test_a_limit_of_the_station_that_is_enough_for_one_vehicle_is_used_by_one(
    pki: PkiTree, tmp_path: Path
) -> None:
    """Of § 14a EnWG: 7.56 kW for two charge points on three phases, each of which would stop below 6 A."""
    async with feeder(pki, tmp_path, LINES, LINES, phases=3, charge_a=32) as found:
        await found.charge(1)
        await found.charge(2)
        await found.wait(HELD_S)
        assert amperes(found) == [16, 16]
        allow(found, 7_560)
        shown = [each.controller.grid.limits[0] for each in found.found]
        assert [(each.charge_w, each.charge_ma) for each in shown] == [(7_560, 10_956), (0, 0)], "at once"
        await found.wait(HELD_S)
        assert amperes(found) == [11, 0]
        found.found[0].car.unplug()
        await found.wait(HELD_S)
        assert amperes(found)[1] == 11
        allow(found, None)
        await found.wait(HELD_S)
        assert amperes(found)[1] > 15


@pytest.mark.requirement("R192")
@simulated
async def test_a_limit_of_the_station_that_rises_is_shown_to_no_vehicle_alone(pki: PkiTree, tmp_path: Path) -> None:
    """The limits of the EVSEs come one after the other, and a duty cycle that is shown stays for 5 s."""
    async with feeder(pki, tmp_path, LINES, LINES, phases=3, charge_a=32) as found:
        await found.charge(1)
        await found.charge(2)
        allow(found, 0)
        await found.wait(HELD_S)
        assert amperes(found) == [0, 0]
        allow(found, 12_000)
        for _ in range(200):
            await found.wait(0.1)
            assert sum(max(each.car.line_ma, default=0) for each in found.found) <= 12_000 / 0.69
        assert amperes(found) == [9, 9]


@simulated
async def test_a_set_point_of_the_station_is_that_of_the_sum(pki: PkiTree, tmp_path: Path) -> None:
    async with feeder(pki, tmp_path, LINES, LINES, phases=3, charge_a=32) as found:
        await found.charge(1)
        await found.charge(2)
        wish = ProfileLimits(setpoint_w=9_660.0, whole=ProfileLimits(setpoint_w=9_660.0))
        found.charger.carry_out(replace(wish, evse_id=1))
        found.charger.carry_out(replace(wish, evse_id=2))
        await found.wait(2 * HELD_S)
        assert amperes(found) == [7, 7]
        found.charger.carry_out(ProfileLimits(evse_id=2, setpoint_w=11_040.0))  # its own precedes that of the station
        await found.wait(2 * HELD_S)
        assert amperes(found) == [14, 16]
