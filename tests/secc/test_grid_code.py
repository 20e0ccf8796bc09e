"""A charger without a back end keeps its grid code: it connects, lowers, disconnects and returns (R209)."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.config import load_config
from secc.energy_manager.grid_code import CodeUnit, GridCodeWatch, TripFile, demanded
from secc.energy_manager.grid_frequency import FrequencyConfig
from secc.session.config import AcRating, SeccConfig
from secc.status import GridCodeShown
from tests.secc.stand import charge, stand
from tests.secc_toml import identity
from tests.together import together
from tests.virtual_time import in_simulated_time
from v2g.energy.frequency_trace import FrequencyTrace
from v2g.energy.grid_code import GridCode, ProtectionStage, Reactive, parse_code, preset_texts, presets
from v2g.energy.grid_support import FrequencySupport, GridSupport
from v2g.energy.limits import NO_RESPONSE, GridResponse
from v2g.errors import ConfigError, TransportError
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.grid_code_file import set_grid_code
from v2g.observe import Observe
from v2g_station.blocks.der.reactive import React
from v2g_station.blocks.smart_charging.local_control import GridFrequency

pytestmark = pytest.mark.requirement("R209")

QUICK = (
    preset_texts()["vde-ar-n-4105-2018"]
    .replace("wait_s = 60", "wait_s = 0.5")
    .replace("wait_s = 5", "wait_s = 0.5")
    .replace("ramp = 10", "ramp = 6000")
)
"""VDE-AR-N 4105, in a hurry after a disconnection."""
TABLES = """[grid_code]
file = "code.json"
frequency = { source = "trace", trace = "grid.csv", every_s = 0.05 }
"""
DC = '[charger]\nservices = [6]\npoll_hold_s = 0.05\n[hardware]\nkind = "dc"\n'
AC = '[charger]\nservices = [5]\npoll_hold_s = 0.05\n[hardware]\nkind = "ac"\n'


def keep(folder: Path, code: GridCode) -> None:
    """Put a code in force, and a good grid in its trace."""
    set_grid_code(folder / "code.json", code, "installer-7", reason="test", utc_ms=1)
    (folder / "grid.csv").write_text("0,50,230\n1000,50,230\n")


@pytest.mark.parametrize(("kind", "service"), [(DC, "DC_BPT"), (AC, "AC_BPT")], ids=["dc", "ac"])
async def test_power_is_lowered_and_mains_disconnected_as_the_code_says_and_both_return(
    kind: str, service: str, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hertz = [50.0]
    monkeypatch.setattr(FrequencyTrace, "at", lambda _trace, _seconds: hertz[-1])
    keep(tmp_path, parse_code(QUICK))
    wish = f'[services]\nenergy = ["{service}"]\n[[program]]\ndo = "discharge"\nfor_s = 3000\n'
    async with stand(tmp_path, pki, kind, wish, tables=TABLES, scale=1.0) as both:

        def power_w() -> float:
            present = both.controller.hardware.present
            return present.voltage_mv * present.current_ma / 1e6

        running = asyncio.create_task(both.run())
        await both.until(lambda: both.named("secc", "power", "started"))
        await both.until(lambda: power_w() < -1000)
        await both.until(lambda: both.controller.grid.response == NO_RESPONSE)
        flows = len(both.named("evcc", "loop", "flow"))
        await both.until(lambda: len(both.named("evcc", "loop", "flow")) > flows + 20)
        begun_w = power_w()
        hertz.append(50.95)  # 30 % less
        await both.until(lambda: both.controller.grid.response.floor_w is not None)
        await both.until(lambda: power_w() > 0.75 * begun_w)
        assert power_w() <= 0.5 * begun_w, "no more is lowered than the code says"
        hertz.append(51.6)
        await both.until(lambda: abs(power_w()) < 1)
        assert both.controller.grid.response.trip
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        hertz.append(50.0)
        await both.until(lambda: not both.controller.grid.response.trip)
        await both.until(lambda: both.controller.grid.response.floor_w is None)


async def test_nothing_is_fed_back_before_the_grid_was_good_for_a_minute(pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["vde-ar-n-4105-2018"])
    async with stand(tmp_path, pki, DC, charge("DC_BPT"), tables=TABLES, scale=1.0) as both:
        await both.until(lambda: both.controller.grid.response.floor_w is not None)
        assert both.controller.grid.response.ceiling_w is None, "a vehicle may charge meanwhile"
        assert both.controller.grid.response.floor_w == 0


async def test_no_reactive_power_flows_while_disconnected_whoever_demands_it(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, presets()["vde-ar-n-4105-2018"])
    async with stand(tmp_path, pki, DC, charge("DC_BPT"), tables=TABLES, scale=1.0) as both:
        told: list[int] = []
        monkeypatch.setattr(both.controller.hardware, "react", told.append)
        both.controller.react_by_code(700)
        both.controller.carry_out(React(evse_id=1, var=500))
        both.controller.keep_code(GridResponse(floor_w=0, ceiling_w=0, trip=True))
        both.controller.react_by_code(800)
        both.controller.keep_code(NO_RESPONSE)
        both.controller.carry_out(React(evse_id=1, var=0))
        assert told == [700, 500, 0, 0, 500, 800]


def configured(folder: Path, pki: PkiTree, extra: str) -> list[str]:
    from secc.config import check_config

    text = f'data_dir = "data"\n{identity(pki, "v2g")}\n[hardware]\nbackend = "bench"\n{extra}'
    return [str(each) for each in check_config(text, name=str(folder / "secc.toml"))]


def test_a_file_that_is_missing_or_was_edited_by_hand_is_a_fault_of_the_configuration(
    pki: PkiTree, tmp_path: Path
) -> None:
    tables = TABLES
    assert any("does not exist" in each for each in configured(tmp_path, pki, tables))
    keep(tmp_path, presets()["g98"])
    assert configured(tmp_path, pki, tables) == []
    file = tmp_path / "code.json"
    text = file.read_text()
    file.write_text(text.replace('"limit": 52.0', '"limit": 59.0'))
    assert any("not those of the last change" in each for each in configured(tmp_path, pki, tables))
    file.write_text(text)
    file.chmod(0o644)
    assert configured(tmp_path, pki, tables)


def test_what_would_end_the_start_is_a_fault_of_the_configuration(pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["g98"])
    plain = '[grid_code]\nfile = "code.json"\n'
    for tables, fault in (
        (plain, "needs the grid's frequency and voltage"),
        (f'{plain}frequency = {{ source = "trace", trace = "nothing.csv" }}\n', "nothing.csv"),
        (f'{plain}frequency = {{ source = "trace", trace = "hertz.csv" }}\n', "needs the grid's frequency and voltage"),
        (TABLES.replace("every_s", "nominal_hz = 60, every_s"), "is for 50 Hz"),
        (f'{TABLES}reactive = "volt_var"\n', "no volt_var"),
    ):
        (tmp_path / "hertz.csv").write_text("0,50\n")
        (found,) = configured(tmp_path, pki, tables)
        assert fault in found


def test_two_sources_of_the_frequency_are_refused(pki: PkiTree, tmp_path: Path) -> None:
    station = '[station]\nurl = "ws://localhost:1/ocpp"\nidentity = "CS-1"\nstore = "s.db"\n[station.frequency]\n'
    text = f'data_dir = "data"\n{identity(pki, "v2g")}\n{station}{TABLES}'
    with pytest.raises(ConfigError, match="grid_code"):
        load_config(text, name=str(tmp_path / "secc.toml"))


async def test_a_code_of_another_nominal_frequency_is_refused(pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["rule-21"])
    with pytest.raises(ConfigError, match="60 Hz"):
        async with stand(tmp_path, pki, DC, charge("DC_BPT"), tables=TABLES):
            pass  # pragma: no cover


async def test_a_code_needs_a_voltage(pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["g98"])
    (tmp_path / "grid.csv").write_text("0,50\n")
    with pytest.raises(ConfigError, match="voltage"):
        async with stand(tmp_path, pki, DC, charge("DC_BPT"), tables=TABLES):
            pass  # pragma: no cover


def test_vehicles_with_an_inverter_of_their_own_get_the_functions_of_the_code() -> None:
    charger = SeccConfig(der="iec", ac_rating=AcRating(phases=1))
    code = presets()["vde-ar-n-4105-2018"]
    found = demanded(charger, code, "volt_var").grid_support
    assert found.functions == {"over_frequency_watt", "under_frequency_watt", "volt_var"}
    assert found.volt_var is not None
    most_w = charger.ac_rating.max_discharge_power_w
    assert found.volt_var.points[0] == pytest.approx((213.9, 0.436 * most_w))
    assert demanded(SeccConfig(), code, "volt_var").grid_support.functions == frozenset()
    assert "watt_cos_phi" in demanded(charger, code, "watt_cos_phi").grid_support.functions
    rating = AcRating(nominal_frequency_hz=60, max_discharge_power_w=0)
    with pytest.raises(ConfigError, match="watt_var is a curve by discharge"):
        demanded(SeccConfig(der="iec", ac_rating=rating), presets()["ieee-1547-2018-b-iii"], "watt_var")


def stage(side: Literal["over", "under"], limit: float, seconds: float) -> ProtectionStage:
    return ProtectionStage(name="X", of="frequency", side=side, limit=limit, seconds=seconds, source="O")


@together(
    ("stages", "carried"),
    [
        ([], set()),
        ([stage("over", 62.0, 1.0)], {"over"}),
        ([stage("over", 62.0, 1.1)], set()),
        ([stage("over", 62.1, 0.2)], set()),
        ([stage("over", 62.1, 0.2), stage("over", 61.9, 0.2)], {"over"}),
        ([stage("under", 58.0, 1.0)], {"under"}),
        ([stage("under", 57.9, 0.2)], set()),
    ],
)
def test_by_sae_a_droop_may_end_where_the_unit_disconnects_within_a_second(
    stages: list[ProtectionStage], carried: set[str]
) -> None:
    """Else it would lower further than the code says: at 33.33 % per Hz all of it is gone after 3 Hz."""
    known = presets()["ieee-1547-2018-b-iii"]
    droop = FrequencySupport(start_hz=60.036, stop_hz=62.0, slope=33.33, reference="maximum")
    under = replace(droop, start_hz=59.964, stop_hz=58.0)
    charger = SeccConfig(der="sae", ac_rating=AcRating(nominal_frequency_hz=60))
    for support in (
        GridSupport(over_frequency_watt=droop, under_frequency_watt=under),
        GridSupport(over_frequency_watt=droop),
        GridSupport(under_frequency_watt=under),
        GridSupport(),
    ):
        sources = dict.fromkeys(support.functions | known.reactive.functions, "O")
        code = replace(known, protection=tuple(stages), support=support, sources=sources)
        found = demanded(charger, code, None).grid_support
        assert found.functions == {f"{each}_frequency_watt" for each in carried} & support.functions
        if found.under_frequency_watt is not None:
            assert found.under_frequency_watt.stop_hz == pytest.approx(59.964 - 100 / 33.33)


@pytest.mark.parametrize("der", ["iec", "sae"])
def test_a_code_for_another_frequency_than_the_rating_is_a_fault_of_the_configuration(
    der: str, pki: PkiTree, tmp_path: Path
) -> None:
    keep(tmp_path, presets()["rule-21"])
    (tmp_path / "grid.csv").write_text("0,60,240\n1000,60,240\n")
    tables = TABLES.replace("every_s", "nominal_hz = 60, nominal_v = 240, every_s")
    charger = f'[charger]\nservices = [1]\nder = "{der}"\n'
    (found,) = configured(tmp_path, pki, f'kind = "ac"\n{charger}{tables}')
    assert "nominal_frequency_hz is 50" in found
    rating = "[charger.ac_rating]\nnominal_frequency_hz = 60\nnominal_voltage_v = 240\n"
    assert configured(tmp_path, pki, f'kind = "ac"\n{charger}{rating}{tables}') == []


@pytest.mark.parametrize("curve", ["volt_var", "watt_cos_phi"])
def test_a_curve_by_discharge_needs_an_outlet_that_takes_some(curve: str, pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["vde-ar-n-4105-2018"])
    charger = '[charger]\nservices = [1]\nder = "iec"\nac_rating = {max_discharge_power_w = 0}\n'
    found = configured(tmp_path, pki, f'kind = "ac"\n{charger}{TABLES}reactive = "{curve}"\n')
    assert ["curve by discharge" in each for each in found] == ([] if curve == "volt_var" else [True])


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("ieee-1547-2018-b-iii", {"over_frequency_watt", "under_frequency_watt", "volt_var"}),
        ("rule-21", {"over_frequency_watt", "under_frequency_watt", "volt_var", "volt_watt"}),
        ("vde-ar-n-4105-2018", {"volt_var"}),  # its droops return by a ramp, which messages by SAE cannot say
    ],
)
def test_by_sae_vehicles_get_the_functions_that_its_messages_can_say(name: str, functions: set[str]) -> None:
    code = presets()[name]
    charger = SeccConfig(der="sae", ac_rating=AcRating(nominal_frequency_hz=round(code.nominal_hz)))
    found = demanded(charger, code, "volt_var").grid_support
    assert found.functions == functions
    droop, stages = found.over_frequency_watt, [each for each in code.protection if each.of == "frequency"]
    assert droop is None or droop.stop_hz == pytest.approx(60.036 + 100 / 33.33), "no end before all power is gone"
    assert droop is None or max(each.limit for each in stages) < droop.stop_hz, "the unit has disconnected by then"


def test_the_status_page_says_what_the_code_does() -> None:
    clock, shown = Clock(), GridCodeShown()
    steps = [
        (
            Observe("power", "grid_code", {"code": "VDE:2018", "digest": "ab"}),
            "VDE:2018: waits until the grid was",
        ),
        (Observe("power", "grid_connected", {}), "VDE:2018: connected"),
        (Observe("power", "grid_code_stages", {"narrow": True}), "VDE:2018, narrow stages: connected"),
        (Observe("power", "grid_code_stages", {"narrow": False}), "VDE:2018: connected"),
        (Observe("power", "grid_disconnected", {"stage": "f>"}), "VDE:2018: disconnected by f>"),
    ]
    for event, text in steps:
        shown = shown.after(event, clock.utc_ms())
        assert shown.line.text.startswith(text)


class Unit:
    """An EVSE that feeds back 10 kW, and notes what it is told."""

    def __init__(self, max_var: int = 6000) -> None:
        self.told: list[GridResponse] = []
        self.var: list[int] = []
        self.unit = CodeUnit(
            rating=(10_000, 10_000),
            max_var=max_var,
            power_w=lambda: -10_000,
            respond=self.told.append,
            react=self.var.append,
        )


async def test_reactive_power_follows_the_curve_that_the_operator_demands_while_connected() -> None:
    one, weak, events = Unit(), Unit(max_var=1000), list[Observe]()
    code = parse_code(QUICK.replace("response_s = 3.33", "response_s = 0"))
    watch = GridCodeWatch(
        code, FrequencyConfig(), [one.unit, weak.unit], Clock(), events.append, reactive="volt_var"
    )  # fmt: skip
    try:
        watch.measured(GridFrequency(hz=50.0, volt=246.1))
        assert (one.var, weak.var) == ([], []), "not before it has connected"
        await connected(events)
        for volt, var in ((246.1, -4360), (241.5, -2180), (230.0, 0), (213.9, 4360)):
            watch.measured(GridFrequency(hz=50.0, volt=volt))
            assert one.var[-1] == pytest.approx(var, abs=2)
        assert weak.var == [-1000, 0, 1000]
        watch.measured(GridFrequency(hz=52.0, volt=213.9))
        await disconnected(events)
        watch.measured(GridFrequency(hz=50.0, volt=213.9))
        assert (one.var[-1], weak.var[-1]) == (0, 0)
    finally:
        watch.close()
    with pytest.raises(ConfigError, match="no watt_var"):
        GridCodeWatch(code, FrequencyConfig(), [one.unit], Clock(), events.append, reactive="watt_var")


async def test_a_disconnection_outlives_a_restart_and_the_wait_is_that_after_it(tmp_path: Path) -> None:
    """Nothing flows until the time of reconnection is over, both ways; a file that cannot be read stands for one."""
    code, disk = parse_code(QUICK), DiskThread()

    async def lived(*hertz: float) -> tuple[Unit, list[Observe]]:
        one, events = Unit(), list[Observe]()
        trips = TripFile(tmp_path, disk, events.append)
        watch = GridCodeWatch(code, FrequencyConfig(), [one.unit], Clock(), events.append, reactive=None, trips=trips)
        for value in hertz:
            watch.measured(GridFrequency(hz=value, volt=230.0))
            await (connected if value == 50.0 else disconnected)(events)
        watch.close()
        await disk.do(lambda: None, lambda: None)
        return one, events

    one, _ = await lived(50.0)
    assert not any(each.trip for each in one.told)
    await lived(50.0, 52.0)
    assert (tmp_path / "grid-trip").read_text() == "f>"
    one, events = await lived(50.0)
    assert (one.told[0].trip, one.told[-1].trip) == (True, False)
    assert not (tmp_path / "grid-trip").exists()
    (tmp_path / "grid-trip").write_bytes(b"\xff")
    one, events = await lived(50.0)
    assert one.told[0].trip
    assert events[0].name == "grid_trip_not_stored"
    (tmp_path / "grid-trip").mkdir()
    trips = TripFile(tmp_path, disk, events.append)
    assert trips.load() == "unreadable"
    trips.keep("")
    await disk.do(lambda: None, lambda: None)
    assert [each.name for each in events[-2:]] == ["grid_trip_not_stored"] * 2
    await disk.close()


async def test_a_stored_stage_is_short_and_private_and_what_cannot_be_stored_is_told(tmp_path: Path) -> None:
    folder, disk, events = tmp_path / ("x" * 200), DiskThread(), list[Observe]()
    folder.mkdir()
    trips = TripFile(folder, disk, events.append)
    assert trips.load() == ""
    trips.keep("U>\u00e9" + "x" * 30)
    await disk.do(lambda: None, lambda: None)
    file = folder / "grid-trip"
    assert trips.load() == "U>?" + "x" * 17
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    file.mkdir()
    trips.load()
    trips.keep("")
    await disk.do(lambda: None, lambda: None)
    assert [(each.stage, each.name, len(str(each.data["reason"]))) for each in events] == [
        ("power", "grid_trip_not_stored", 200)
    ] * 2
    await disk.close()


async def test_a_curve_is_for_the_greater_rating_and_the_mean_of_the_phases() -> None:
    one, events = Unit(), list[Observe]()
    one.unit = replace(one.unit, rating=(10_000, 5000))
    code = parse_code(QUICK.replace("response_s = 3.33", "response_s = 0"))
    watch = GridCodeWatch(code, FrequencyConfig(), [one.unit], Clock(), events.append, reactive="volt_var")
    try:
        watch.measured(GridFrequency(hz=50.0, volt=230.0, volts=(242.1, 250.1, 246.1)))
        await connected(events)
        watch.measured(GridFrequency(hz=50.0, volt=230.0, volts=(242.1, 250.1, 246.1)))
        assert one.var[-1] == pytest.approx(-4360, abs=2)
        assert [(each.stage, each.name, each.data) for each in events] == [
            ("power", "grid_code", {"code": code.title, "digest": code.digest}),
            ("power", "grid_connected", {}),
        ]
        watch.measured(GridFrequency(hz=50.0, volt=230.0, measured=False))
        assert (one.var[-1], one.told[-1].floor_w) == (0, 0)
    finally:
        watch.close()


PLAIN = preset_texts()["vde-ar-n-4105-2018"].replace("ramp = 10\nsource", "ramp = 6000\nsource")
"""VDE-AR-N 4105, but after a connection all power returns within a second."""
AT_REST = GridResponse(floor_w=0, ceiling_w=None)


class ReadClock(Clock):
    """Counts how often it is read."""

    reads = 0

    def elapsed_ms(self) -> int:
        self.reads += 1
        return super().elapsed_ms()


class Watched:
    """A unit under a code, and when it is told what (s since it began), in simulated time."""

    def __init__(
        self, code: str = PLAIN, reactive: Reactive | None = None, power_w: int | None = -10_000, scale: float = 1
    ) -> None:
        self.clock = ReadClock(ClockConfig(scale=scale))
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self.told: list[tuple[float, GridResponse]] = []
        self.events: list[tuple[float, Observe]] = []
        self.unit = Unit()
        self.unit.unit = replace(
            self.unit.unit, power_w=lambda: power_w, respond=lambda each: self.told.append((self.at, each))
        )
        self.watch = GridCodeWatch(
            parse_code(code.replace("response_s = 3.33", "response_s = 0")),
            FrequencyConfig(),
            [self.unit.unit],
            self.clock,
            lambda each: self.events.append((self.at, each)),
            reactive=reactive,
        )

    @property
    def at(self) -> float:
        """Seconds since the beginning."""
        return round(self._now() - self._began, 2)

    def measure(self, hertz: float = 50.0, volt: float | None = 230.0) -> None:
        """Let the grid be measured."""
        self.watch.measured(GridFrequency(hz=hertz, volt=volt))

    async def connect(self) -> None:
        """Let the wait be over."""
        self.measure()
        await asyncio.sleep(62)


def virtually(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run it in simulated time."""
    in_simulated_time(story())


def test_it_connects_and_disconnects_at_the_times_of_the_code_without_a_further_measurement() -> None:
    async def story() -> None:
        one = Watched()
        assert one.told == [(0.0, AT_REST)], "from the beginning, and not as after a disconnection"
        one.measure()
        one.measure()
        await asyncio.sleep(62)
        assert [at for at, each in one.told[1:] if each == NO_RESPONSE] == [61.0]
        assert all(one.told[n][1] != one.told[n + 1][1] for n in range(len(one.told) - 1)), "each once"
        one.measure(50.3)  # a droop is followed while the stage waits
        one.measure(52.0)
        await asyncio.sleep(1)
        (at, event) = one.events[-1]
        assert (at, event.name, event.data) == (62.1, "grid_disconnected", {"stage": "f>"})
        assert one.told[-1] == (62.1, GridResponse(floor_w=0, ceiling_w=0, trip=True))

    virtually(story)


def test_a_simulation_waits_as_much_less_as_its_time_is_faster_and_nothing_is_polled() -> None:
    async def story() -> None:
        one = Watched(scale=10)
        one.measure()
        await asyncio.sleep(5)
        assert one.clock.reads < 10
        await asyncio.sleep(2)
        assert [at for at, each in one.events if each.name == "grid_connected"] == [6.0]

    virtually(story)


def test_power_returns_by_the_ramp_without_a_further_measurement() -> None:
    async def story() -> None:
        one = Watched()
        await one.connect()
        one.measure(50.7)  # 20 % less
        assert one.told[-1][1].floor_w == pytest.approx(-8000, abs=1)
        one.measure()
        await asyncio.sleep(600)
        rising = [-each.floor_w for at, each in one.told if each.floor_w is not None and at > 62]
        assert rising == sorted(rising)
        assert len(rising) > 20
        assert one.told[-1][1] == NO_RESPONSE

    virtually(story)


def test_once_closed_nothing_is_said_any_more() -> None:
    async def story() -> None:
        one = Watched()
        one.measure()
        one.measure(50.05)  # its timer takes the place of the first one's
        one.watch.close()
        await asyncio.sleep(100)
        assert one.told == [(0.0, AT_REST)]

    virtually(story)


def test_reactive_power_needs_frequency_and_voltage_and_goes_by_their_mean_and_the_power() -> None:
    async def story() -> None:
        one = Watched(reactive="volt_var")
        await one.connect()
        one.watch.measured(GridFrequency(hz=50.0, volts=(237.5, 245.5, 241.5)))
        assert one.unit.var[-1] == pytest.approx(-2180, abs=2)
        one.measure(volt=None)
        assert one.unit.var[-1] == 0
        one.measure(volt=246.1)
        one.watch.measured(GridFrequency(hz=50.0, volt=246.1, measured=False))
        assert one.unit.var[-1] == 0
        fed, unknown = (Watched(reactive="watt_cos_phi", power_w=each) for each in (-10_000, None))
        await asyncio.gather(fed.connect(), unknown.connect())
        fed.measure(51.0)
        unknown.measure(51.0)
        assert fed.unit.var[-1] < -2000, "inductive at full power"
        assert unknown.unit.var == []
        assert unknown.told[-1][1].floor_w == 0, "of no power nothing is left"

    virtually(story)


class Contact:
    """A contact of the network operator."""

    def __init__(self) -> None:
        self.active: bool | None = False

    def read(self) -> dict[str, bool]:
        if self.active is None:
            raise TransportError("no chip")
        return {"narrow": self.active}

    def write(self, name: str, *, active: bool) -> None:
        raise AssertionError(name)

    def close(self) -> None:
        """Nothing is open."""


def test_a_contact_selects_the_narrow_stages_and_one_that_cannot_be_read_does_too() -> None:
    async def story() -> None:
        one, contact = Watched(code=preset_texts()["cei-0-21"]), Contact()
        following = asyncio.create_task(one.watch.follow_contact(contact))
        one.measure()
        await asyncio.sleep(40)
        one.measure(50.25)
        await asyncio.sleep(5)
        assert one.events[-1][1].name == "grid_connected"
        contact.active = True
        await asyncio.sleep(0.25)
        contact.active = False  # it bounces
        await asyncio.sleep(5)
        assert one.events[-1][1].name == "grid_connected"
        contact.active = True
        await asyncio.sleep(0.6)
        one.measure(50.25)
        await asyncio.sleep(0.2)
        assert {each.stage for _, each in one.events} == {"power"}
        assert [(each.name, dict(each.data)) for _, each in one.events[-2:]] == [
            ("grid_code_stages", {"narrow": True}), ("grid_disconnected", {"stage": "81>.S1"}),
        ]  # fmt: skip
        for active in (False, None):
            contact.active = active
            await asyncio.sleep(0.6)
            assert one.events[-1][1].data == {"narrow": active is None}
        following.cancel()
        one.watch.close()

    virtually(story)


def test_narrow_stages_that_a_code_lacks_are_a_fault_of_the_configuration(pki: PkiTree, tmp_path: Path) -> None:
    keep(tmp_path, presets()["vde-ar-n-4105-2018"])
    for key in ("narrow = true", "narrow_contact = { line = 5 }"):
        (found,) = configured(tmp_path, pki, f'kind = "ac"\n[charger]\nservices = [1]\n{TABLES}{key}\n')
        assert "no narrow stages" in found
    keep_again = parse_code(preset_texts()["cei-0-21"])
    (tmp_path / "code.json").unlink()
    keep(tmp_path, keep_again)
    assert configured(tmp_path, pki, f'kind = "ac"\n[charger]\nservices = [1]\n{TABLES}narrow = true\n') == []


async def until(events: list[Observe], name: str) -> None:
    async with asyncio.timeout(60):
        while events[-1].name != name:
            await asyncio.sleep(0.01)


connected = partial(until, name="grid_connected")
disconnected = partial(until, name="grid_disconnected")
