"""A whole vehicle at a whole charger with alternating current: no conductor carries more than inlet, cable and charger
allow, and what does is switched off by the vehicle."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evcc.config import notes
from evcc.session.ports import PresentVoltage
from pki_tools.tree import PkiTree
from tests.secc.stand import Stand, stand
from v2g.energy.conductors import Currents, spread
from v2g.iec61851.pilot import DutyReading
from v2g.io.simulation.lines import VehicleAcLine
from v2g_station.blocks.smart_charging.profiles import ProfileLimits

pytestmark = pytest.mark.requirement("R192")

CHARGER = """[charger]
services = [1, 5]
poll_hold_s = 0.05
[charger.ac_rating]
max_charge_current_a = {most_a}
max_discharge_current_a = {most_a}
[hardware]
kind = "ac"
"""
VEHICLE = """[services]
energy = ["{service}"]
control_mode = ["{mode}"]
[on_board_charger]
phases = {phases}
max_charge_w = {watts}
max_discharge_w = {watts}
min_charge_w = 0
max_current_a = {rated_a}
[[program]]
do = "charge"
energy_wh = 100
"""
BACK = '[[program]]\ndo = "discharge"\nenergy_wh = 50\n'


def carried(both: Stand) -> list[Currents]:
    """Return what will flow in the conductors of the inlet, as it is measured."""
    found: list[Currents] = []

    def heard(fact: Any) -> None:
        if isinstance(fact, PresentVoltage) and fact.currents is not None:
            found.append(fact.currents)

    both.vehicle.hardware.subscribe(heard)
    return found


def spoken(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what safety monitors have said."""
    return [each.message for each in caplog.records if each.message.startswith("safety ")]


@pytest.mark.some(5)
@pytest.mark.parametrize(("most_a", "rated_a"), [(10, 32), (32, 13)])
@pytest.mark.parametrize(
    ("service", "mode"), [("AC", "dynamic"), ("AC", "scheduled"), ("AC_BPT", "dynamic"), ("AC_BPT", "scheduled")]
)
@pytest.mark.parametrize("phases", [1, 2, 3])
async def test_each_conductor_is_within_the_least_of_charger_and_inlet(
    pki: PkiTree,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    phases: int,
    service: str,
    mode: str,
    most_a: int,
    rated_a: int,
) -> None:
    caplog.set_level("INFO")
    wish = VEHICLE.format(service=service, mode=mode, phases=phases, watts=phases * 7_360, rated_a=rated_a)
    wish += BACK if service == "AC_BPT" else ""
    async with stand(tmp_path, pki, CHARGER.format(most_a=most_a), wish) as both:
        seen = carried(both)
        assert await both.run() == "finished"
    assert spoken(caplog) == []
    least_ma = min(most_a, rated_a) * 1000
    for used, rest in ((each[:phases], each[phases:]) for each in seen):
        assert all(abs(ma) <= least_ma for ma in used)
        assert not any(rest)
    assert max(each.l1 for each in seen) > least_ma * 0.9
    assert (min(each.l1 for each in seen) < -1_000) is (service == "AC_BPT")


LIMITS: dict[str, tuple[dict[str, int], int]] = {
    "charger": ({"most_a": 10}, 10),
    "inlet": ({"rated_a": 13}, 13),
    "site": ({"site_a": 16}, 16),
    "profile": ({"profile_a": 8}, 8),
    "cable": ({"cable_ohm": 1_500}, 13),
}


@pytest.mark.some(10)
@pytest.mark.parametrize(
    ("way", "limit"),
    [*(("ISO 15118-2", each) for each in LIMITS if each != "cable"), *(("IEC 61851-1", each) for each in LIMITS)],
)
@pytest.mark.parametrize("phases", [1, 2, 3])
async def test_vehicles_without_iso_15118_20_too(
    pki: PkiTree, tmp_path: Path, caplog: pytest.LogCaptureFixture, phases: int, way: str, limit: str
) -> None:
    """By the rating of the charger, of the inlet, of the cable, the site's connection and a profile."""
    caplog.set_level("INFO")
    limits, least_a = LIMITS[limit]
    about = {"most_a": 32, "rated_a": 32, "site_a": 63, "profile_a": 63, "cable_ohm": 100, **limits}
    wish = VEHICLE.format(service="AC", mode="scheduled", phases=phases, watts=phases * 7_360, rated_a=about["rated_a"])
    charger, site_w = CHARGER.format(most_a=about["most_a"]), about["site_a"] * 230 * 3
    head, site = "", "free = true\n"
    if way == "IEC 61851-1":
        wish, charger = f"{wish}[basic]\n", f"{charger}[charger.basic]\n"
    else:
        head = 'editions = ["2"]\n'
        wish += "[sdp]\nwithout_tls = true\n[authorization]\nprefer_eim = true\n"
        charger = charger.replace(
            "[charger]", '[sdp]\nwithout_tls = true\n[charger]\neditions = ["20", "2"]\nauthorization = ["EIM"]'
        )
    async with stand(tmp_path, pki, charger, wish, head=head, site_w=site_w, site=site) as both:
        seen, profile_a = carried(both), about["profile_a"]
        profile = ProfileLimits(charge_w=profile_a * 690, charge_a=profile_a)
        both.controller.grid_changed(both.controller.grid.profiles(profile))
        basic = partial(both.run_basic, about["cable_ohm"])
        assert await {"IEC 61851-1": basic, "ISO 15118-2": partial(both.run, tls=False)}[way]() == "finished"
    assert spoken(caplog) == []
    for used, rest in ((each[:phases], each[phases:]) for each in seen):
        assert all(0 <= ma <= least_a * 1000 for ma in used)
        assert not any(rest)
    assert all(max(each[line] for each in seen) > least_a * 900 for line in range(phases))


async def test_a_pilot_without_oscillator_stops_the_current_of_a_session(pki: PkiTree, tmp_path: Path) -> None:
    """Whatever the messages permit (IEC 61851-1: within 3 s); it flows again at 5 %."""
    wish = VEHICLE.format(service="AC", mode="dynamic", phases=3, watts=11_040, rated_a=16)
    async with stand(tmp_path, pki, CHARGER.format(most_a=16), wish) as both:
        pilot, hardware = both.vehicle.wires.pilot, both.vehicle.hardware
        run = asyncio.create_task(both.run())
        for _ in range(2):
            await both.until(lambda: hardware.battery.current_ma > 10_000)
            pilot.on_duty.tell(DutyReading("off"))
            await both.until(lambda: hardware.battery.current_ma == 0)
            loops = len(both.named("evcc", "loop", "flow"))
            await both.until(partial(lambda most: len(both.named("evcc", "loop", "flow")) > most, loops + 3))
            assert hardware.battery.current_ma == 0
            pilot.on_duty.tell(DutyReading("digital"))
        assert await run == "finished"


@pytest.mark.parametrize("service", ["AC", "AC_BPT"])
async def test_a_crowded_conductor_is_switched_off_by_the_vehicle(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, service: str
) -> None:
    """All that is to flow in three flows in one behind the inlet, which a charger cannot see: the sum is right."""
    monkeypatch.setattr("evcc.hardware.ac.spread", lambda total_ma, lines: Currents(total_ma))
    publish = VehicleAcLine.publish
    monkeypatch.setattr(VehicleAcLine, "publish", lambda line, drawn: publish(line, spread(drawn.total_ma, range(3))))
    wish = VEHICLE.format(service=service, mode="dynamic", phases=3, watts=11_040, rated_a=32)
    async with stand(tmp_path, pki, CHARGER.format(most_a=32), wish, scale=1.0) as both:
        seen = carried(both)
        assert await both.run() == "over_current"
        assert "safety opened reason=over_current" in spoken(caplog)
        assert both.vehicle.hardware.battery.current_ma == 0
    assert max(each.l1 for each in seen) > 40_000


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", ["16 A for each line conductor, by its power (max_current_a is omitted)"]),
        ("max_current_a = 20.5", []),
        ("max_current_a = 20.5\nmeasures_lines = false", ["no currents of L1 to L3 (measures_lines)"]),
    ],
)
@pytest.mark.parametrize("service", ["AC", "DC"])
def test_what_is_assumed_of_conductors_is_named(table: str, said: list[str], service: str) -> None:
    text = '[tls]\nchain = "c.pem"\nkey = "c.key"\nanchors = ["r.pem"]\n'
    found = notes(f'{text}[services]\nenergy = ["{service}"]\n[on_board_charger]\n{table}\n', name="evcc.toml")
    assert len(found) == (len(said) if service == "AC" else 0)
    assert all(words in note for words, note in zip(said, found, strict=False))
