"""What the back end learns of a charger: current, connectors, inverters, firmware."""

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode

from pki_tools.tree import PkiTree
from secc.config import load_config
from secc.station.device import Premises, charger_machine
from secc.station.settings import evse_layout, settings_of
from secc.station_config import StationConfig
from tests.secc.backend import backend
from tests.secc.config import LEAST
from tests.secc.stand import charge, stand
from tests.station.bench import Bench
from tests.together import together
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.der.reactive import REACTIVE
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE
from v2g_station.blocks.der.vehicle_inverters import BY_ACTIVE, BY_REACTIVE
from v2g_station.blocks.firmware import ConfirmInstall, FirmwareProgress
from v2g_station.blocks.settings import StationSettings
from v2g_station.device.firmware import FirmwareState, UpdateConfig
from v2g_station.kernel.layout import EvseLayout, StationLayout, station_variables


def settings(premises: Premises, **config: Any) -> StationSettings:
    """What the core of a charger receives."""
    station = StationConfig(url="ws://csms", identity="CS-1", store=Path("s.db"), **config)
    return settings_of(
        station, "PowerUp", same_boot=False, scale=1.0, able=frozenset(), premises=premises, roots=(), chains={}
    )


@together(
    ("more", "latch", "expected"),
    [
        ('[charger]\nservices = [5]\n[hardware]\nkind = "ac"\n', True, ("sType2", False, 3)),
        ('[charger]\nservices = [5]\nac_rating = {phases = 1}\n[hardware]\nkind = "ac"\n', False, ("cType2", True, 1)),
        ("[charger]\nservices = [6]\n", False, ("cCCS2", True, 0)),
        ("[charger]\nservices = [6]\n", True, ("cCCS2", True, 0)),
        ('[charger]\nservices = [6]\n[hardware]\nplug = "type1"\n', False, ("cCCS1", True, 0)),
        ('[charger]\nservices = [5]\n[hardware]\nkind = "ac"\nplug = "type1"\n', False, ("cType1", True, 3)),
        ('[charger]\nservices = [6]\n[hardware]\nplug = "nacs"\n', False, ("cNACS", True, 0)),
        ('[charger]\nservices = [5]\n[hardware]\nkind = "ac"\nplug = "nacs"\n', True, ("cNACS", True, 3)),
        ('[hardware]\npilot = "board"\nboard = {device = "d", proximity = "type1"}\n', False, ("cCCS1", True, 0)),
        ("[charger]\nservices = [9]\n", False, ("cMCS", True, 0)),
        ('[charger]\nservices = [3]\n[hardware]\nkind = "wpt"\n', False, ("wInductive", True, 0)),
        ('[charger]\nservices = [4]\n[hardware]\nkind = "acdp"\n', False, ("Pan", True, 0)),
    ],
)
def test_connectors_and_phases_are_those_of_the_hardware(
    more: str, latch: bool, expected: tuple[str, bool, int]
) -> None:
    (place,) = load_config(LEAST + more, name="secc.toml").places
    found = evse_layout(place, rating=(11_000, 5_000), latch=latch)
    connector = found.connectors[0]
    assert (connector.connector_type, connector.fixed_cable, found.phases) == expected
    assert (found.max_power_w, found.max_discharge_w) == (11_000, 5_000)
    assert found.evse_id == place.charger.evse_id


@pytest.mark.requirement("R191")
async def test_a_charger_with_nacs_says_so_to_its_back_end_and_is_reserved_by_it(pki: PkiTree, tmp_path: Path) -> None:
    hardware = '[charger]\nservices = [6]\n[hardware]\nkind = "dc"\nplug = "nacs"\n'
    async with backend() as csms:
        csms.versions = ["ocpp2.1"]
        tables = f'[station]\nurl = "ws://127.0.0.1:{csms.port}/ocpp"\nidentity = "CS-1"\nstore = "station.db"\n'
        async with stand(tmp_path, pki, hardware, charge("DC"), tables=tables):
            await csms.wait("StatusNotification")
            component = {"name": "Connector", "evse": {"id": 1, "connectorId": 1}}
            wanted = {"component": component, "variable": {"name": "ConnectorType"}}
            answer = await csms.request("GetVariables", {"getVariableData": [wanted]})
            assert answer["getVariableResult"][0]["attributeValue"] == "cNACS"
            token = {"idToken": "A", "type": "Central"}
            for number, (kind, status) in enumerate([("cCCS2", "Rejected"), ("cNACS", "Accepted")], 1):
                order = {"id": number, "expiryDateTime": "2100-01-01T00:00:00Z", "idToken": token}
                answer = await csms.request("ReserveNow", {**order, "connectorType": kind})
                assert (kind, answer["status"]) == (kind, status)


def test_the_feeders_conductors_of_an_outlet_are_its_phase_rotation_if_they_are_configured() -> None:
    rating = '[charger]\nservices = [5]\nac_rating = {{feeder_phases = {}}}\n[hardware]\nkind = "ac"\n'
    places = ["", rating.format('["L2", "L3", "L1"]'), rating.format('["L1", "L3", "L2"]')]
    read = [load_config(LEAST + each, name="secc.toml").places[0] for each in places]
    evses = tuple(evse_layout(each, rating=(11_000, 0), latch=True) for each in read)
    found = station_variables(StationLayout(evses=evses))
    assert {each.evse.id: each.default for each in found if each.name == "PhaseRotation" and each.evse} == {
        2: "STR",
        3: "RTS",
    }


def test_each_evse_has_the_name_that_vehicles_and_journals_know() -> None:
    reported = settings(
        Premises(evses=(EvseLayout(evse_id="DE*V2G*E1"), EvseLayout(), EvseLayout(evse_id="DE*V2G*E3")))
    )
    assert {name: value for name, value in reported.values.items() if "EvseId" in name} == {
        "EVSE#1.EvseId": "DE*V2G*E1",
        "EVSE#3.EvseId": "DE*V2G*E3",
    }


def test_amperes_are_taken_where_the_current_alternates_and_are_those_of_its_voltage() -> None:
    """K08.FR.07: three phases of 240 V and 10 A are 7.2 kW; the other EVSE has direct current."""
    alternating = EvseLayout(max_power_w=22_000, phases=3, line_v=240.0)
    reported = settings(Premises(evses=(alternating, EvseLayout(max_power_w=50_000))))
    found = Bench("2.1", evses=reported.layout.evses, managed=True)
    period = [{"startPeriod": 0, "limit": 10.0}]
    schedule = [{"id": 1, "startSchedule": "2026-01-01T00:00:00Z", "chargingRateUnit": "A",
                 "chargingSchedulePeriod": period}]  # fmt: skip
    profile = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
               "chargingProfileKind": "Absolute", "chargingSchedule": schedule}  # fmt: skip
    for evse_id, status in ((1, "Accepted"), (2, "Rejected")):
        profile["id"] = evse_id
        assert found.ask("SetChargingProfile", evseId=evse_id, chargingProfile=profile)["status"] == status
    assert found.station.smart_charging.limits_of(found.station.evses[1]).charge_w == 7_200


@pytest.mark.parametrize(
    ("premises", "expected"),
    [
        (Premises(grid_voltage=False), {*BY_FREQUENCY}),
        (Premises(), {*BY_FREQUENCY, *BY_VOLTAGE}),
        (Premises(max_var=5_000), {*BY_FREQUENCY, *BY_VOLTAGE, *REACTIVE}),
        (Premises(max_var=5_000, grid_voltage=False), {*BY_FREQUENCY, *REACTIVE} - {"VoltVar"}),
    ],
)
def test_controls_are_supported_as_far_as_the_hardware_can_follow_them(premises: Premises, expected: set[str]) -> None:
    from secc.energy_manager.grid_frequency import FrequencyConfig

    assert settings(premises).der_controls == ()
    assert set(settings(premises, frequency=FrequencyConfig()).der_controls) == expected


@pytest.mark.requirement("R221")
def test_controls_for_vehicles_are_those_that_messages_can_say_at_the_voltage_of_their_outlets() -> None:
    """Those by SAE have no power factor by power; without a source of frequency the outlets' own figures count."""
    iec = settings(Premises(der="iec", nominal_hz=60, nominal_v=240))
    sae = settings(Premises(der="sae", nominal_hz=60, nominal_v=240))
    assert set(iec.vehicle_controls) == {*BY_ACTIVE, *BY_REACTIVE}
    assert set(iec.vehicle_controls) - set(sae.vehicle_controls) == {"WattPF"}
    assert settings(Premises()).vehicle_controls == ()
    assert [("der" in each.able, "frequency" in each.able) for each in (iec, sae)] == [(True, False)] * 2
    assert "der" not in settings(Premises()).able
    assert (iec.nominal_hz, iec.nominal_v) == (60, 240)


def test_the_version_of_the_firmware_is_that_of_the_image_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "version"
    assert settings(Premises()).layout.firmware == version("v2g-engine")
    assert settings(Premises(), firmware="1.0").layout.firmware == "1.0"
    for written in ("2.0.1", "1.9"):
        file.write_text(f"{written}\nbuilt on a Friday\n")
        found = settings(Premises(), firmware="1.0", firmware_file=file)
        assert (found.layout.firmware, found.inverter.sw_version) == (written, written)
    for text in ("", "x" * 51):
        file.write_text(text)
        with pytest.raises(ConfigError, match="contains no version"):
            settings(Premises(), firmware_file=file)
    with pytest.raises(ConfigError):
        settings(Premises(), firmware_file=tmp_path / "none")


@pytest.mark.requirement("R135")
async def test_firmware_in_a_folder_that_did_not_start_is_not_started_again_on_the_same_boot_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restart of a slot in a folder is that of the program."""
    monkeypatch.setattr("os.kill", lambda *_: None)
    station = StationConfig(
        url="ws://csms", identity="CS-1", store=tmp_path / "s.db", update=UpdateConfig(slots=tmp_path, folder=tmp_path)
    )
    (tmp_path / "update.json").write_bytes(
        encode(FirmwareState(request_id=7, phase="activated", old="a", boot_id="boot"))
    )
    clock, progress = Clock(ClockConfig()), list[Fact]()
    firmware = charger_machine(
        station,
        Premises(),
        clock=clock,
        notify=progress.append,
        accepted=asyncio.Event,
        observe=lambda _: None,
        boot_id="boot",
        roots=lambda: (),
    ).firmware
    assert firmware is not None
    firmware.command(ConfirmInstall(request_id=7))
    await firmware.finished()
    assert progress == [FirmwareProgress(status="InstallationFailed")]
