"""The charger's configuration: what it refuses, and in which words."""

from pathlib import Path

import pytest

from secc.app import enabled
from secc.config import check_config, load_config
from tests.secc.config import LEAST
from tests.together import together
from v2g.errors import ConfigError


@pytest.mark.parametrize(("service", "kind"), [(3, "wpt"), (4, "acdp"), (7, "acdp")])
@pytest.mark.parametrize("place", ["charger", "evses.charger"])
def test_services_go_with_the_hardware_that_serves_them_and_with_no_other(service: int, kind: str, place: str) -> None:
    """A session that waits for a device that is not there helps nobody."""
    head = "[[evses]]\nevse_id = 'DEV2GE00001'\n" if place.startswith("evses") else ""
    alone, mixed = (f"{LEAST}{head}[{place}]\nservices = {each}\n" for each in ([service], [2, service]))
    hardware = f"[{place.removesuffix('charger')}hardware]\nkind = '{kind}'\n"
    for text, said in (
        (alone, f'which needs hardware.kind = "{kind}"'),
        (mixed, f'which needs hardware.kind = "{kind}"'),
        (mixed + hardware, 'has 2 \\(DC\\), which needs hardware.kind = "dc"'),
        (alone + hardware + f"[{place.removesuffix('charger')}link]\nslac = {{}}\n", "remove link.slac"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(text, name="secc.toml")
    (found,) = load_config(alone + hardware, name="secc.toml").places
    assert (found.hardware.kind, found.charger.services) == (kind, (service,))


@pytest.mark.parametrize(("kind", "services"), [("dc", [2, 6, 8, 9]), ("ac", [1, 5])])
def test_services_of_plugs_are_taken_by_their_kind_of_current_only(kind: str, services: list[int]) -> None:
    text = f"{LEAST}[charger]\nservices = {services}\n[hardware]\nkind = "
    assert load_config(f"{text}'{kind}'\n", name="secc.toml").charger.services == tuple(services)
    other = {"dc": "ac", "ac": "dc"}[kind]
    with pytest.raises(ConfigError, match=f'which needs hardware.kind = "{kind}"') as refused:
        load_config(f"{text}'{other}'\n", name="secc.toml")
    assert f'hardware.kind = "{other}" provides' in refused.value.hint


@pytest.mark.parametrize("twice", ["editions = ['2', '2']", "services = [2, 2]", "authorization = ['EIM', 'EIM']"])
def test_what_is_offered_twice_is_refused(twice: str) -> None:
    with pytest.raises(ConfigError, match=f"{twice.split()[0]} lists one twice"):
        load_config(f"{LEAST}[charger]\n{twice}\n", name="secc.toml")


@pytest.mark.parametrize("providers", [["p"] * 129, ["p" * 81], [""]])
def test_providers_are_those_that_a_message_can_name(providers: list[str]) -> None:
    """Of more, or longer ones, no AuthorizationSetupRes could be made: every vehicle was left without a response."""
    with pytest.raises(ConfigError, match="supported_providers"):
        load_config(f"{LEAST}[charger]\nsupported_providers = {providers}\n", name="secc.toml")


@pytest.mark.parametrize(
    ("keys", "said", "hint"),
    [
        ("[charger]\nrating = {max_discharge_power_w = 0}", "charger.rating.max_discharge_power_w is 0", "[2], or set"),
        ('[hardware]\nstage = "infypower"', 'stage = "infypower" gives energy to vehicles only', "services = [2]"),
        ('[charger]\nservices = [6]\n[hardware]\nstage = "infypower"', "has 6", "remove it"),
        (
            '[charger]\nservices = [1, 5]\nac_rating = {max_discharge_power_w = 0}\n[hardware]\nkind = "ac"',
            "charger.ac_rating.max_discharge_power_w is 0",
            "services = [1], or set",
        ),
    ],
)
def test_hardware_that_takes_no_energy_has_no_service_that_would(keys: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        load_config(f"{LEAST}{keys}\n", name="secc.toml")
    assert hint in refused.value.hint
    alone = (
        keys.replace("[1, 5]", "[1]")
        .replace("[6]", "[2]")
        .replace("[charger]\nrating", "[charger]\nservices = [2]\nrating")
    )
    alone = alone if "charger" in alone else f"[charger]\nservices = [2]\n{alone}"
    assert not load_config(f"{LEAST}{alone}\n", name="secc.toml").charger.services[0].bidirectional


def test_an_edition_is_named_once_and_only_one_that_is_here_is_served() -> None:
    assert [*enabled(load_config(LEAST, name="secc.toml").charger)] == ["20"]
    for editions, said in (
        ('["2", "2"]', "twice"),
        ('["20", "din"]', "sdp.without_tls"),
        ('["15118"]', "editions"),
        ("[]", "editions"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(f"{LEAST}[charger]\neditions = {editions}\n", name="secc.toml")
    every = load_config(
        f'{LEAST}[charger]\neditions = ["din", "20", "2"]\n[sdp]\nwithout_tls = true\n', name="secc.toml"
    ).charger
    assert [*enabled(every)] == ["din", "20", "2"]


METER = LEAST + '[hardware]\nmeter = "modbus"\n[hardware.modbus]\n'


OWN_MAP = "[hardware.modbus.registers]\nimport_wh = { address = 0 }\nexport_wh = { address = 2 }"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "needs either device"),
        ('device = "/dev/ttyUSB0"\nhost = "meter"', "needs either device"),
        ('device = "/dev/ttyUSB0"\nunit = 0', "unit must be 1 to 247"),
        (f'host = "meter"\nmap_file = "m.toml"\n{OWN_MAP}', "give one of them"),
    ],
)
def test_a_meter_has_one_way_to_it_and_one_map(keys: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(f"{METER}{keys}\n", name="secc.toml")


def test_a_meter_as_configured_before_maps_were_files_is_still_taken() -> None:
    keys = 'device = "/dev/ttyUSB0"\nmap = "generic"\nunit = 7\n'
    own = "[hardware.modbus.registers]\nimport_wh = { address = 0, scale = 1000.0 }\nexport_wh = { address = 2 }\n"
    meter = load_config(f"{METER}{keys}{own}", name="secc.toml").hardware.modbus
    assert meter is not None
    assert (meter.place, meter.register_map().import_wh.scale) == ("/dev/ttyUSB0", 1000.0)


def test_an_own_map_is_checked_with_the_configuration(tmp_path: Path) -> None:
    """Its path is relative to the configuration, and its wrong key is named with file and line."""
    (tmp_path / "meter.toml").write_text("[import_wh]\naddress = 0\n[export_wh]\naddres = 2\n")
    keys = 'host = "meter"\nmap_file = "meter.toml"\n'
    found = [str(each) for each in check_config(f"{METER}{keys}", name=str(tmp_path / "secc.toml"))]
    (said,) = [each for each in found if "map_file" in each]
    assert f"{tmp_path / 'meter.toml'}:4: unknown key 'export_wh.addres'" in said


BANK = '[evses.hardware]\nstage = "can"\ncan = {{ channel = "{}", modules = [{}], isolation = "{}" }}'
BOARD = '[evses.hardware]\npilot = "board"\nboard = {{ device = "{}" }}'
MODBUS = '[evses.hardware]\nmeter = "modbus"\nmodbus = {{ host = "meters", unit = {} }}'
PINS = (
    '[evses.hardware]\npilot = "linux"\n[evses.hardware.drivers.linux]\npilot = {{ channel = "voltage{0}" }}\n'
    "pwm = {{ channel = {0} }}\ncontactor = {{ line = {1} }}\ncontactor_feedback = {{ line = {2} }}"
)


@together(
    ("own", "first", "second", "said"),
    [
        (BOARD, ("/dev/ttyACM0",), ("/dev/ttyACM0",), "pilot: /dev/ttyACM0 is that of EVSE 1"),
        (BOARD, ("/dev/ttyACM0",), ("/dev/ttyACM1",), ""),
        (BANK, ("can0", "1, 2", ""), ("can0", "2, 3", ""), "stage: socketcan can0 module 2 is that of EVSE 1"),
        (BANK, ("can0", "1, 2", ""), ("can0", "3, 4", ""), ""),
        (BANK, ("can0", "1", "Isolation"), ("can0", "2", "Isolation"), "can0 message Isolation is that of EVSE 1"),
        (BANK, ("can0", "1", "Isolation"), ("can1", "1", "Isolation"), ""),
        (MODBUS, (1,), (1,), "meter: meters:502 unit 1 is that of EVSE 1"),
        (MODBUS, (1,), (2,), ""),
        (PINS, (0, 1, 2), (1, 1, 3), "pilot: /dev/gpiochip0 line 1 is that of EVSE 1"),
        (PINS, (0, 1, 2), (1, 3, 4), ""),
    ],
)
def test_two_evses_have_no_board_bank_or_meter_in_common(
    own: str, first: tuple[object, ...], second: tuple[object, ...], said: str
) -> None:
    evses = (f"[[evses]]\nevse_id = 'DEV2GE0000{n}'\n{own.format(*each)}\n" for n, each in enumerate((first, second)))
    text = LEAST + "".join(evses)
    shared = [str(each) for each in check_config(text, name="secc.toml") if "is that of EVSE" in str(each)]
    assert bool(shared) is bool(said)
    assert all("evses" in each for each in shared)
    assert said in "".join(shared)


def test_evses_that_inherit_a_board_would_share_it() -> None:
    text = LEAST + '[hardware]\npilot = "board"\nboard = { device = "/dev/ttyS1" }\n'
    assert not [each for each in check_config(text, name="secc.toml") if "is that of" in str(each)]
    text += "[[evses]]\nevse_id = 'DEV2GE00001'\n[[evses]]\nevse_id = 'DEV2GE00002'\n"
    with pytest.raises(ConfigError, match="/dev/ttyS1 is that of EVSE 1"):
        load_config(text, name="secc.toml")


RELAY = "phase_relay = { line = 3 }\nphase_relay_feedback = { line = 4 }\n"


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("kind", "phases", "said"),
    [("ac", 3, False), ("ac", 1, True), ("dc", 3, True)],
)
def test_a_relay_of_phases_needs_an_outlet_of_three(kind: str, phases: int, said: bool) -> None:
    charger = f"[charger]\nservices = [{2 if kind == 'dc' else 1}]\nac_rating = {{ phases = {phases} }}\n"
    hardware = PINS.format(0, 1, 2).replace("evses.", "").replace("pilot =", f'kind = "{kind}"\npilot =', 1)
    text = f"{LEAST}{charger}{hardware}\n{RELAY}"
    found = [str(each) for each in check_config(text, name="secc.toml")]
    assert any("phase_relay" in each and "three phases" in each for each in found) is said, found


def test_folders_and_files_that_could_not_be_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program would end with them at its start, or at the first vehicle."""
    locked, store = tmp_path / "locked", tmp_path / "station.db"
    locked.mkdir()
    store.touch()
    monkeypatch.setattr("os.access", lambda path, _: Path(path) not in (locked, store))
    text = LEAST.replace('data_dir = "data"', f'data_dir = "{locked}/charger/data"')
    text += f'[station]\nurl = "ws://csms"\nidentity = "CS"\nstore = "{store}"\n'
    found = [str(each) for each in check_config(text, name=str(tmp_path / "secc.toml"))]
    assert [each for each in found if f"data_dir: {locked}: this user may not write there" in each]
    assert [each for each in found if f"station.store: {store}: this user may not write there" in each]
