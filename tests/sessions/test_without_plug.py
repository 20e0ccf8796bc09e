"""Vehicle and charger joined in memory where there is no plug in a hand, and at the megawatt connector."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from evcc.session import ports as ev
from evcc.session.settings import ProgramStep, ServiceConfig, SessionConfig, WirelessConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, NeighbourDevice, SeccConfig, WptRating
from tests.sessions.joined import AIR, Joined
from v2g import exi
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.acdp import MechanicalChargingDeviceStatus
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.d20.wpt_methods import OBSERVED_BY_VEHICLE
from v2g.iso15118.engine.v2gtp import Framer, frame

CHARGE = ProgramStep(do="charge", energy_wh=200)
DISCHARGE = ProgramStep(do="discharge", energy_wh=100)

Join = Callable[..., Joined]


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs for one service."""

    def make(service: str, mode: str = "dynamic", *, config: SeccConfig | None = None, **services: Any) -> Joined:
        program = (CHARGE, DISCHARGE) if service.endswith("BPT") else (CHARGE,)
        energy: Any = (service,)
        modes: Any = (mode,)
        vehicle = SessionConfig(program=program, services=ServiceConfig(energy=energy, control_mode=modes, **services))
        charger = config or SeccConfig(services=(EnergyService[service],))
        return Joined(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=charger)

    return make


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
@pytest.mark.parametrize(
    ("service", "family"),
    [
        ("WPT", Family.WPT),
        ("DC_ACDP", Family.ACDP),
        ("DC_ACDP_BPT", Family.ACDP),
        ("MCS", Family.DC),
        ("MCS_BPT", Family.DC),
    ],
)
def test_energy_flows_and_both_sides_agree_on_it(join: Join, service: str, family: Family, mode: str) -> None:
    joined = join(service, mode)
    joined.complete()
    assert joined.secc.family is joined.evcc.family is family
    assert joined.vehicle_saw("service", "selected")[0]["service"] == service
    battery = joined.plant.battery.state
    assert 200_000 <= battery.charged_mwh < 220_000
    efficiency = AIR if service == "WPT" else 1.0
    assert joined.imported_mwh() * efficiency == pytest.approx(battery.charged_mwh, abs=3_000)
    assert joined.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_000)
    assert (battery.discharged_mwh >= 100_000) == service.endswith("BPT")


def test_a_pantograph_is_home_again_however_it_ends(join: Join) -> None:
    joined = join("DC_ACDP")
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    assert joined.device.connected
    joined.evcc.abort("driver", joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    moves = [each.to_vehicle for each in joined.secc_actions if isinstance(each, se.MoveDevice)]
    assert moves == [True, False]


@pytest.mark.parametrize(
    ("where", "position", "reason"),
    [("ACDP_ConnectRes", "Moving", "device_not_connected"), ("ACDP_DisconnectRes", "EndPosition", "device_not_home")],
)
def test_a_device_that_has_stopped_elsewhere_ends_the_session(
    join: Join, where: str, position: str, reason: str
) -> None:
    joined = join("DC_ACDP")

    def elsewhere(data: bytes) -> bytes:
        (record,) = Framer().feed(data)
        message = exi.decode(record.payload, SCHEMAS[record.payload_type])
        if type(message).__name__ != where or message.evse_processing is not Processing.Finished:  # type: ignore[attr-defined]
            return data
        status = MechanicalChargingDeviceStatus(position)
        changed = msgspec.structs.replace(message, evse_mechanical_charging_device_status=status)
        return frame(record.payload_type, exi.encode(changed))

    joined.wire_to_evcc = elsewhere
    joined.run()
    assert joined.evcc_reason == reason
    assert bool(joined.plant.battery.state.charged_mwh) == (where == "ACDP_DisconnectRes")


def test_states_of_device_and_vehicle_are_exchanged_beside(join: Join) -> None:
    joined = join("DC_ACDP")
    joined.run()
    assert joined.charger_saw("acdp", "vehicle_status")
    assert joined.vehicle_saw("place", "device_status")


def test_a_vehicle_above_another_chargers_coil_goes_there(join: Join) -> None:
    rating = WptRating(device_id=9, neighbours=(NeighbourDevice(device_id=1, ssid="bay-1"),))
    joined = join("WPT", config=SeccConfig(services=(EnergyService.WPT,), wpt=rating))
    joined.run()
    assert joined.evcc_reason == "other_charger"
    assert joined.vehicle_saw("place", "other_charger")[0]["ssid"] == "bay-1"


@pytest.mark.parametrize("pairing", ["LPE", "Optical", "LF_TxPrimaryDevice", "LF_TxEV", "External confirmation"])
def test_the_vehicle_pairs_by_the_method_that_was_agreed(pki: PkiTree, pairing: Any) -> None:
    """The charger's preference decides; each side observes only what the method has it observe."""
    vehicle = SessionConfig(
        program=(CHARGE,),
        services=ServiceConfig(energy=("WPT",)),
        wireless=WirelessConfig(pairing=("Proprietary", pairing), positioning=("LPE", "Manual")),
    )
    charger = SeccConfig(services=(EnergyService.WPT,), wpt=WptRating(pairing=(pairing, "Proprietary")))
    joined = Joined(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=charger)
    joined.run()
    assert joined.evcc_reason == "finished"
    asked = [each.method for each in joined.evcc_actions if isinstance(each, ev.ObserveDevice)]
    reported = [each.device_id for each in joined.evcc_actions if isinstance(each, ev.TransmitId)]
    assert asked == ([pairing] if pairing in OBSERVED_BY_VEHICLE else [])
    assert reported == ([1] if pairing == "LF_TxEV" else [])
    drives = {each.method for each in joined.evcc_actions if isinstance(each, ev.DriveIn)}
    assert drives == {"Manual"}
    assert joined.vehicle_saw("place", "paired")[0]["method"] == pairing


@pytest.mark.parametrize(
    ("service", "command", "stage"),
    [
        ("WPT", ev.DriveIn, "FindingPlace"),
        ("WPT", ev.ObserveDevice, "Pairing"),
        ("DC_ACDP", ev.DriveIn, "FindingPlace"),
    ],
)
def test_a_driver_may_stop_on_the_way_to_the_device(join: Join, service: str, command: type, stage: str) -> None:
    joined = join(service)
    obey = joined.obey_vehicle
    joined.obey_vehicle = lambda each: None if isinstance(each, command) else obey(each)  # type: ignore[method-assign]
    joined.run(lambda: type(joined.evcc.stage).__name__ == stage and joined.evcc.pending is None)
    joined.evcc.fact(ev.StopRequested("driver"), joined.now, joined.utc_ms)
    stopped = joined.now
    joined.complete()
    assert joined.now - stopped < 1
    assert joined.vehicle_saw("stop", "stopping")[0]["cause"] == "driver"


def test_a_device_that_detects_the_vehicle_in_the_next_bay_is_not_paired(pki: PkiTree) -> None:
    vehicle = SessionConfig(
        program=(CHARGE,), services=ServiceConfig(energy=("WPT",)), wireless=WirelessConfig(pairing=("LF_TxEV",))
    )
    charger = SeccConfig(services=(EnergyService.WPT,), wpt=WptRating(pairing=("LF_TxEV",)))
    joined = Joined(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=charger)
    joined.transmitted_id = 2
    joined.run()
    assert joined.evcc_reason == "pairing_timeout"
    assert not joined.vehicle_saw("parameters", "exchanged")


def test_a_foreign_object_stops_power_and_its_removal_lets_it_go_on(join: Join) -> None:
    joined = join("WPT")
    joined.run(lambda: joined.plant.flow()[1] > 1_000)

    def trouble(word: str) -> None:
        device = msgspec.structs.replace(joined.device, trouble=word)
        joined.secc.fact(se.DeviceChanged(device), joined.now, joined.utc_ms)
        joined.settle()

    trouble("SPCFODDetected")
    assert joined.plant.flow()[1] == 0
    joined.run(lambda: any(each["trouble"] for each in joined.vehicle_saw("loop", "flow")))
    trouble("")
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.plant.battery.state.charged_mwh >= 200_000


@pytest.mark.parametrize("service", ["WPT", "DC_ACDP"])
def test_parking_and_place_go_together(join: Join, service: str) -> None:
    from secc.session.config import ParkingSpace

    config = SeccConfig(services=(EnergyService[service],), parking=ParkingSpace(space=1))
    joined = join(service, config=config, parking="AutoParking")
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.charger_saw("parking", "check_in")[-1]["status"] == "Completed"
    assert joined.vehicle_saw("parking", "left")
