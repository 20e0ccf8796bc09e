"""What holds while an energy manager sends, and when not: by the limits of the station, as its CSMS receives them."""

import pytest

from secc.energy_manager.facts import STATION, EnergyManagerWatch
from tests.station.bench import Bench
from tests.station.vehicles import charging, own
from v2g.hardware.energy_manager.commands import CommandStep, EnergyCommand
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import UpstreamLoad
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.kernel.layout import EvseLayout

FALLBACK = EnergyCommand(limit_w=4_200, discharge_w=0)


class Site:
    """A station that charges, and its energy manager."""

    def __init__(self, found: Bench) -> None:
        self.station = found
        self.watch = EnergyManagerWatch("EMS", evses=1, timeout_s=60, fallback=FALLBACK)
        self.pass_on(self.watch.begin())

    def pass_on(self, facts: "tuple[Fact, ...] | list[Fact] | object") -> None:
        for fact in facts:  # type: ignore[attr-defined]
            self.station.fact(fact)

    def say(self, word: EnergyCommand, evse_id: int = 0) -> None:
        self.pass_on(self.watch.take(evse_id, word, self.station.now))

    def wait(self, seconds: float) -> None:
        self.station.wait(seconds)
        self.pass_on(self.watch.tick(self.station.now))

    @property
    def allowed(self) -> tuple[float | None, float | None, float | None]:
        reported = [each for each in self.station.commands if isinstance(each, ProfileLimits)][-1]
        return reported.charge_w, reported.discharge_w, reported.setpoint_w


class Words:
    """The limits that the station received, by place."""

    def __init__(self, facts: object) -> None:
        self.limits: dict[int, float | None] = {}
        self.seen: list[tuple[int, float | None]] = []
        self.take(facts)

    def take(self, facts: object) -> None:
        for fact in facts:  # type: ignore[attr-defined]
            if isinstance(fact, ExternalLimit) and not fact.generation:
                self.limits[fact.evse_id] = fact.limit_w
                self.seen.append((fact.evse_id, fact.limit_w))


def test_the_fall_back_holds_until_the_first_word_and_after_silence() -> None:
    site = Site(charging())
    assert site.allowed == (4_200, 0, None)
    site.say(EnergyCommand(limit_w=9_000, discharge_w=5_000, setpoint_w=-3_000))
    assert site.allowed == (9_000, 5_000, -3_000)
    site.wait(59)
    site.say(EnergyCommand(limit_w=9_000, discharge_w=5_000, setpoint_w=-3_000))
    site.wait(59)
    assert site.allowed == (9_000, 5_000, -3_000)
    assert site.watch.alive
    site.wait(2)
    assert site.allowed == (0, 0, None), "nobody was to draw"
    assert site.watch.instead == "fall-back, and the last command below it: 0 W in, 0 W out"
    assert not site.watch.alive
    site.say(EnergyCommand())
    assert site.allowed == (None, None, None), "it is there and wants nothing (K13.FR.01)"
    site.station.expect("ClearedChargingLimit", chargingLimitSource="EMS")


def test_a_limit_of_one_evse_ends_with_its_energy_manager() -> None:
    site = Site(charging())
    site.say(EnergyCommand(limit_w=2_000), evse_id=1)
    assert site.allowed == (2_000, None, None), "the fall-back of the station has ended"
    site.wait(61)
    assert site.allowed == (2_000, 0, None), "silence raises nothing"


def test_a_word_may_say_how_long_it_stands_alone() -> None:
    site = Site(charging())
    site.say(EnergyCommand(limit_w=9_000, valid_s=3_600))
    site.wait(3_599)
    assert site.allowed == (9_000, None, None)
    site.wait(2)
    assert site.allowed == (4_200, 0, None)


def test_each_place_falls_back_for_itself() -> None:
    """A word that may stand alone keeps up no older one of another place."""
    site = Site(charging())
    site.say(EnergyCommand(limit_w=9_000, valid_s=3_600))
    site.say(EnergyCommand(setpoint_w=1_000), evse_id=1)
    assert site.allowed == (9_000, None, 1_000)
    site.wait(61)
    assert site.allowed == (1_000, 0, None)
    assert not site.watch.alive
    site.say(EnergyCommand(), evse_id=1)
    assert site.allowed == (9_000, None, None)
    assert site.watch.alive


def test_an_evse_with_a_long_word_keeps_up_no_limit_of_the_station() -> None:
    watch = EnergyManagerWatch("EMS", evses=2, timeout_s=60, fallback=FALLBACK)
    words = Words(watch.begin())
    words.take(watch.take(STATION, EnergyCommand(limit_w=50_000), 0))
    words.take(watch.take(1, EnergyCommand(limit_w=20_000, valid_s=3_600), 0))
    assert words.limits == {0: 50_000, 1: 20_000}
    words.take(watch.tick(60))
    assert words.limits == {0: 4_200, 1: 20_000}
    words.take(watch.tick(3_600))
    assert words.limits == {0: 4_200, 1: 20_000}


def test_evses_that_were_not_spoken_of_stay_at_the_fall_back() -> None:
    watch = EnergyManagerWatch("EMS", evses=3, timeout_s=60, fallback=FALLBACK)
    words = Words(watch.begin())
    assert words.limits == {0: 4_200}
    words.take(watch.take(2, EnergyCommand(limit_w=11_000), 0))
    assert words.limits == {0: None, 1: 4_200, 2: 11_000, 3: 4_200}
    assert words.seen.index((1, 4_200)) < words.seen.index((0, None)), "nobody is without a limit in between"
    words.take(watch.tick(60))
    assert words.limits == {0: 4_200, 1: None, 2: 11_000, 3: None}
    assert words.seen.index((0, 4_200), 1) < words.seen.index((3, None))


def test_a_later_word_at_a_place_says_anew_how_long_it_stands_alone() -> None:
    """A limit of the night must not keep up the one of the day that came after it."""
    site = Site(charging())
    site.say(EnergyCommand(limit_w=3_000, valid_s=3_600))
    site.say(EnergyCommand(limit_w=9_000))
    site.wait(59)
    assert site.allowed[0] == 9_000
    site.wait(2)
    assert site.allowed == (4_200, 0, None)


def test_a_schedule_that_is_said_again_goes_on() -> None:
    site = Site(charging())
    word = EnergyCommand(
        schedule=(CommandStep(start_s=0, limit_w=8_000), CommandStep(start_s=300, limit_w=3_000)), valid_s=600
    )
    site.say(word)
    assert site.allowed[0] == 8_000
    site.wait(200)
    site.say(word)
    site.wait(101)
    assert site.allowed[0] == 3_000, "300 s after it was said first"


@pytest.mark.parametrize(("mode", "word", "held"), [
    ("ExternalSetpoint", EnergyCommand(setpoint_w=-4_000), (8_000, 5_000, -4_000)),
    ("ExternalLimits", EnergyCommand(limit_w=6_000, discharge_w=1_000), (6_000, 1_000, None)),
])  # fmt: skip
def test_values_in_profiles_of_the_csms_end_with_the_energy_manager_too(
    mode: str, word: EnergyCommand, held: tuple[float | None, ...]
) -> None:
    """K29, Q05: the fall-back holds then, and no set point that nobody keeps up."""
    site = Site(charging())
    site.say(EnergyCommand())
    assert own(site.station, {"operationMode": mode, "limit": 8000.0, "dischargeLimit": -5000.0}, dynamic=True)
    assert site.allowed == (8_000, 5_000, None)
    site.say(word)
    assert site.allowed == held
    site.wait(61)
    assert site.allowed == (0 if word.setpoint_w else 4_200, 0, None)
    site.say(EnergyCommand())
    assert site.allowed == (8_000, 5_000, None), "as the CSMS left it"


def test_power_never_rises_while_generation_takes_turns_with_a_limit() -> None:
    site = Site(charging())
    for word in (
        EnergyCommand(limit_w=1_000, discharge_w=0, generation_w=5_000),
        EnergyCommand(limit_w=6_000, discharge_w=0),
        EnergyCommand(limit_w=1_000, discharge_w=0, generation_w=5_000),
    ):
        site.station.commands.clear()
        site.say(word)
        reported = [each.charge_w for each in site.station.commands if isinstance(each, ProfileLimits)]
        assert reported[-1] == 6_000
        assert all(each is not None and each <= 6_000 for each in reported)


def test_local_generation_comes_on_top_and_the_load_is_passed_on() -> None:
    """K27, Q09."""
    site = Site(charging())
    assert own(site.station, {"limit": 3000.0}) == "Accepted"
    site.say(EnergyCommand(generation_w=2_000))
    assert site.allowed[0] == 5_000
    site.wait(61)
    assert site.allowed[0] == 3_000
    facts = site.watch.take(0, EnergyCommand(load_w=-500), 0)
    assert UpstreamLoad(power_w=-500) in facts
    assert ExternalLimit(source="EMS") in facts
    heartbeat = site.watch.take(0, EnergyCommand(load_w=-500, load_repeated=True), 1)
    assert not any(isinstance(each, UpstreamLoad) for each in heartbeat), "what has been obeyed is not obeyed twice"
    assert UpstreamLoad(power_w=None) in site.watch.tick(62), "it is unknown once the manager is silent"


def test_what_happens_offline_is_reported_once_the_csms_can_be_reached() -> None:
    """K12.FR.02, K13.FR.02: the last word on each limit."""
    site = Site(charging())
    site.station.drop()
    site.say(EnergyCommand(limit_w=9_000))
    site.say(EnergyCommand(limit_w=7_000))
    site.say(EnergyCommand(limit_w=2_000), evse_id=1)
    site.say(EnergyCommand(), evse_id=1)
    site.station.clear()
    site.station.accepting = lambda _: True
    site.wait(50)
    assert site.station.connected
    assert len(site.station.all("NotifyChargingLimit")) == 2, "the fall-back's before, and the last of the station"
    (cleared,) = site.station.all("ClearedChargingLimit")
    assert cleared["evseId"] == 1


@pytest.mark.requirement("R192")
def test_currents_bound_each_conductor_of_an_outlet() -> None:
    """At a station of one three-phase outlet; watts bound each conductor by their part."""
    site = Site(charging(evses=(EvseLayout(phases=3, max_power_w=22_000),)))

    def each_a() -> tuple[float | None, float | None]:
        found = [each for each in site.station.commands if isinstance(each, ProfileLimits)][-1]
        return found.charge_a, found.discharge_a

    site.say(EnergyCommand(limit_ma=16_000, discharge_ma=10_000))
    assert each_a() == (16.0, 10.0)
    assert site.allowed == (11_040, 6_900, None)
    site.say(EnergyCommand(schedule=(CommandStep(start_s=0, limit_ma=13_000), CommandStep(start_s=60, limit_ma=6_000))))
    assert each_a() == (13.0, None)
    site.wait(61)
    assert each_a() == (6.0, 0), "silent for a minute: the fall-back is 6.1 A, and the schedule ended lower"
    site.say(EnergyCommand(limit_w=6_900))
    assert each_a() == (10.0, None)


@pytest.mark.requirement("R192")
def test_a_profile_of_the_csms_in_another_unit_is_not_filled() -> None:
    """16 A must not become 16 W, nor 9,000 W 9,000 A."""
    site = Site(charging(evses=(EvseLayout(phases=3, max_power_w=22_000),)))
    own(site.station, {"operationMode": "ExternalLimits", "limit": 22_000.0})
    site.say(EnergyCommand(limit_ma=16_000))
    assert site.allowed[0] == 11_040
    site.say(EnergyCommand(limit_w=9_000))
    assert site.allowed[0] == 9_000


def test_what_is_kept_of_commands_holds_after_a_restart_until_each_place_is_spoken_of() -> None:
    def watch(kept: dict[int, EnergyCommand]) -> EnergyManagerWatch:
        return EnergyManagerWatch("EMS", evses=2, timeout_s=60, fallback=FALLBACK, kept=kept)

    before = watch({})
    assert before.kept == {}
    before.take(STATION, EnergyCommand(limit_w=3_000, discharge_w=9_000, valid_s=5), 0)
    before.take(1, EnergyCommand(setpoint_w=-1_500), 0)
    before.take(2, EnergyCommand(load_w=4), 0)
    kept = before.kept
    assert kept == {0: EnergyCommand(limit_w=3_000, discharge_w=9_000), 1: EnergyCommand(limit_w=0, discharge_w=1_500)}
    after = watch({**kept, 7: EnergyCommand(limit_w=1)})
    words = Words(after.begin())
    assert words.limits == {0: 3_000, 1: 0}
    assert words.seen[0] == (0, 3_000), "nothing higher before"
    assert (after.alive, after.silent, after.due) == (False, {0, 1}, None)
    assert after.instead == "fall-back, and the last command below it: 3000 W in, 0 W out"
    assert after.kept == kept
    words.take(after.take(STATION, EnergyCommand(limit_w=20_000), 1_000))
    assert words.limits[0] == 20_000
    assert words.limits[1] == 0, "of it nothing was said"
    assert after.instead == "fall-back, and the last command below it: 0 W in, 0 W out", "of the EVSE that is silent"
    assert not after.alive
    words.take(after.take(1, EnergyCommand(), 1_000))
    assert after.alive
    assert after.kept == {0: EnergyCommand(limit_w=20_000)}


def test_a_word_is_passed_on_each_time_and_its_expiry_is_known() -> None:
    """Values are repeated in case the station was configured to ignore them in the meantime."""
    watch = EnergyManagerWatch("EMS", evses=2, timeout_s=60, fallback=FALLBACK)
    assert (watch.alive, watch.due) == (False, None)
    for now in (0, 1):
        assert Words(watch.take(STATION, EnergyCommand(limit_w=50_000), now)).seen == [(0, 50_000)]
    watch.take(1, EnergyCommand(limit_w=20_000), 1)
    watch.take(2, EnergyCommand(limit_w=1_000, valid_s=3_600), 1)
    assert (watch.alive, watch.due) == (True, 61)
    assert Words(watch.tick(61)).seen == [(0, 4_200), (1, 4_200)], "the station first"
    assert (watch.alive, watch.due) == (False, 3_601)


def test_by_default_an_ampere_in_each_conductor_is_690_w() -> None:
    watch = EnergyManagerWatch("EMS", evses=1, timeout_s=60, fallback=FALLBACK)
    watch.take(STATION, EnergyCommand(limit_ma=32_000), 0)
    (limit,) = [each for each in watch.tick(60) if isinstance(each, ExternalLimit)]
    assert limit.limit_ma == 6_086
