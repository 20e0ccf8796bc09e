"""Charger and vehicle without a plug: what their programs put together from configuration, joined in one process.

TLS is a pipe; sessions, journal and hardware are the programs' own, coil and contacts run through a folder.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from evcc.session.ports import ContactorState
from pki_tools.tree import PkiTree
from tests.secc.stand import charge, stand
from v2g.observe import Observe

WPT = '[charger]\nservices = [3]\npoll_hold_s = 0.05\n{charger}\n[hardware]\nkind = "wpt"\n{hardware}\n'
ACDP = '[charger]\nservices = [7, 4]\npoll_hold_s = 0.05\n{charger}\n[hardware]\nkind = "acdp"\n{hardware}\n'
FAST_ARM = "[hardware.simulated.pantograph]\nspeed_mm_per_s = 20000.0\n"


# -- through the air ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positioning", "pairing"),
    [
        ("Manual", "LPE"),
        pytest.param("LPE", "Optical", marks=pytest.mark.long),
        ("LF_TxPrimaryDevice", "LF_TxEV"),
        pytest.param("Manual", "External confirmation", marks=pytest.mark.long),
    ],
)
async def test_a_vehicle_finds_its_coil_pairs_and_is_charged_through_the_air(
    pki: PkiTree, tmp_path: Path, positioning: str, pairing: str
) -> None:
    methods = f'[charger.wpt]\npositioning = ["{positioning}"]\npairing = ["{pairing}"]\ndevice_id = 77\n'
    knows = f'[wireless]\npositioning = ["{positioning}", "Proprietary"]\npairing = ["{pairing}"]\n'
    async with stand(tmp_path, pki, WPT.format(charger=methods, hardware=""), knows + charge("WPT")) as both:
        assert await both.run() == "finished"
        imported, exported, charged, _ = both.energy_wh()
        assert charged >= 100
        assert imported > charged / 2
        assert exported == 0
        flows = both.named("evcc", "loop", "flow")
        shares = {round(each["power_w"] / each["sent_w"], 2) for each in flows if each["power_w"] and each["sent_w"]}
        assert max(shares) == pytest.approx(0.92, abs=0.02)  # what an aligned pair of coils lets through
        assert both.named("evcc", "place", "methods")[0]["pairing"] == pairing
        assert both.named("evcc", "place", "paired")[0]["method"] == pairing
        observed = both.named("secc", "wpt", "pairing")[-1]["observed"]
        assert observed == (77 if pairing in ("LPE", "Optical") else None)
        assert not both.controller.hardware.contactors_closed  # type: ignore[attr-defined]
    assert both.ended == "vehicle"


@pytest.mark.long
async def test_above_another_coil_nothing_is_paired_and_the_vehicle_learns_where_to_go(
    pki: PkiTree, tmp_path: Path
) -> None:
    neighbour = '[charger.wpt]\ndevice_id = 9\n[[charger.wpt.neighbours]]\ndevice_id = 77\nssid = "bay-77"\n'
    async with stand(tmp_path, pki, WPT.format(charger=neighbour, hardware=""), charge("WPT")) as both:
        device = both.device
        pair = device.pair
        device.pair = lambda method, _own: pair(method, 77)  # the vehicle stands above the next bay's coil
        assert await both.run() == "other_charger"
        assert both.named("evcc", "place", "other_charger")[0]["ssid"] == "bay-77"
        assert both.energy_wh()[0] == 0


@pytest.mark.parametrize(
    ("off_cm", "charger", "vehicle"), [(30, "misaligned", "FAILED_AssociationError"), (48, "vehicle", "misaligned")]
)
async def test_a_vehicle_that_stands_beside_its_coil_gets_no_power_and_both_know_why(
    pki: PkiTree, tmp_path: Path, off_cm: int, charger: str, vehicle: str
) -> None:
    """Whoever finds it first says so: at 30 cm most of the power still arrives, at 48 cm none does."""
    aside = f"[hardware.place]\noff_y_cm = {off_cm}\n[timing]\nplace_s = 0.3\n"
    async with stand(tmp_path, pki, WPT.format(charger="", hardware=""), aside + charge("WPT")) as both:
        assert await both.run() == vehicle
        assert both.ended == charger
        if vehicle == "misaligned":
            assert both.named("secc", "stop", "session_stop")[0]["code"] == "misaligned"
        assert not both.named("secc", "power", "started")
        assert both.vehicle.hardware.battery.charged_mwh < 1_000  # the check itself sends next to nothing
        assert not both.controller.hardware.contactors_closed  # type: ignore[attr-defined]


@pytest.mark.long
async def test_metal_on_the_coil_stops_power_at_once_and_the_session_goes_on_without_it(
    pki: PkiTree, tmp_path: Path
) -> None:
    script = '[[hardware.simulated.faults]]\nfault = "foreign_object"\nwhen = "current"\nafter_s = 0.4\nfor_s = 0.6\n'
    async with stand(tmp_path, pki, WPT.format(charger="", hardware=script), charge("WPT")) as both:
        power: list[int] = []

        def look(side: str, event: Observe) -> None:
            if event.name in ("fault_began", "fault_ended"):
                power.append(both.device.report.sent_w)

        both.on_event = look
        assert await both.run() == "finished"
        began = both.named("secc", "hardware", "fault_began")
        assert [(each["fault"], each["stops"]) for each in began] == [("foreign_object", False)]
        assert power[0] == 0
        troubles = [each["trouble"] for each in both.named("evcc", "loop", "flow")]
        assert "SPCFODDetected" in troubles
        assert troubles[-1] is None
        assert both.energy_wh()[2] >= 100


async def test_metal_that_stays_on_the_coil_ends_the_session_by_its_name(pki: PkiTree, tmp_path: Path) -> None:
    script = '[[hardware.simulated.faults]]\nfault = "foreign_object"\nwhen = "current"\nafter_s = 0.4\n'
    patience = "[charger.wpt]\ntrouble_s = 0.5\n"
    async with stand(tmp_path, pki, WPT.format(charger=patience, hardware=script), charge("WPT")) as both:
        assert await both.run() == "finished"  # in good order: the charger asked for it
        assert both.named("evcc", "stop", "stopping")[0]["cause"] == "evse_terminated"
        assert both.ended == "foreign_object"
        assert not both.controller.hardware.contactors_closed  # type: ignore[attr-defined]


# -- below a pantograph -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [pytest.param("DC_ACDP", marks=pytest.mark.long), "DC_ACDP_BPT"])
async def test_a_pantograph_comes_connects_lets_energy_flow_and_goes_home(
    pki: PkiTree, tmp_path: Path, service: str
) -> None:
    more = ('do = "discharge"\nenergy_wh = 50',) if service.endswith("BPT") else ()
    async with stand(tmp_path, pki, ACDP.format(charger="", hardware=FAST_ARM), charge(service, *more)) as both:
        assert await both.run() == "finished"
        imported, exported, charged, discharged = both.energy_wh()
        assert imported == pytest.approx(charged, rel=0.3)  # a moment between the two processes is many Wh here
        assert exported == pytest.approx(discharged, rel=0.3)
        assert charged >= 100
        assert (discharged >= 50) == service.endswith("BPT")
        order = [e.name for where, e in both.seen if where == "secc" and e.stage in ("acdp", "power", "stop")]
        wanted = ["position", "connected", "cable_check_passed", "started", "power_stopped", "disconnected"]
        assert [name for name in dict.fromkeys(order) if name in wanted] == wanted
        assert both.device.report.mechanical == "Home"
        assert not both.vehicle.wires.pilot._pilot.plugged  # type: ignore[union-attr]


@pytest.mark.long
async def test_a_vehicle_outside_the_contact_window_is_not_connected(pki: PkiTree, tmp_path: Path) -> None:
    aside = "[hardware.place]\noff_y_cm = 60\n[timing]\nplace_s = 0.3\n"
    async with stand(tmp_path, pki, ACDP.format(charger="", hardware=FAST_ARM), aside + charge("DC_ACDP")) as both:
        assert await both.run() == "out_of_place"
        assert both.named("secc", "acdp", "position")[-1]["y_cm"] == 60
        assert both.device.report.mechanical == "Home"


@pytest.mark.parametrize(
    ("fault", "word"),
    [("device_jammed", "device_stuck"), pytest.param("contacts_worn", "contact_missing", marks=pytest.mark.long)],
)
async def test_a_pantograph_that_does_not_connect_ends_the_session_by_its_name(
    pki: PkiTree, tmp_path: Path, fault: str, word: str
) -> None:
    script = f'[hardware.watch]\ndevice_s = 0.6\n[[hardware.simulated.faults]]\nfault = "{fault}"\n'
    secc = ACDP.format(charger="", hardware=FAST_ARM + script)
    async with stand(tmp_path, pki, secc, charge("DC_ACDP")) as both:
        assert await both.run() == "FAILED"
        assert both.ended == word
        assert not both.named("secc", "power", "cable_check_started")
        assert both.energy_wh()[0] == 0
        assert [each["fault"] for each in both.named("secc", "hardware", "fault_began")] == [word]


@pytest.mark.long
async def test_a_roof_that_is_too_low_is_not_reached(pki: PkiTree, tmp_path: Path) -> None:
    watch = "[hardware.watch]\ndevice_s = 0.6\n"
    low = "[hardware.place]\nroof_mm = 2000\n"
    secc = ACDP.format(charger="", hardware=FAST_ARM + watch)
    async with stand(tmp_path, pki, secc, low + charge("DC_ACDP")) as both:
        assert await both.run() == "FAILED"
        assert both.ended == "contact_missing"
        async with asyncio.timeout(60):
            while both.controller.hardware.faults:  # at home again it is well
                await asyncio.sleep(0.01)


async def test_contacts_that_leave_the_rails_under_power_open_the_circuit_first(pki: PkiTree, tmp_path: Path) -> None:
    async with stand(tmp_path, pki, ACDP.format(charger="", hardware=FAST_ARM), charge("DC_ACDP")) as both:

        def lift(side: str, event: Observe) -> None:
            if side == "secc" and event.name == "response" and event.data["power_w"] > 1_000:
                device = both.device
                asyncio.get_running_loop().call_soon(lambda: device.send(down=False))

        both.on_event = lift
        assert await both.run() in ("unplugged", "FAILED", "secc_vanished")
        assert both.ended in ("contact_missing", "unplugged", "device_disconnected")
        assert not both.controller.hardware.contactors_closed  # type: ignore[attr-defined]
        now: list[Any] = []
        both.vehicle.hardware.subscribe(now.append)()  # which reports what is, at once
        assert ContactorState(closed=False) in now
        assert both.named("secc", "power", "emergency_off")
