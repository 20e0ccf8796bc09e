"""Figures of sessions: injected faults are found, sound stations are not suspected, on simulated sessions."""

import math
import random
from collections.abc import Iterator, Mapping

import pytest

from csms.alerts.rules import RULES, RuleName
from csms.session_metrics.rules import REFERENCE, StationTracks, apart, drift, figures, levels, restarted, taken
from tests.together import together
from v2g.hardware.session_metrics import METRICS, MetricName, SessionMetrics, read_session_metrics

SOUND: Mapping[MetricName, tuple[float, float]] = {
    "contactor_close_s": (0.080, 0.06),
    "contactor_open_s": (0.030, 0.08),
    "cable_check_s": (4.0, 0.15),
    "pre_charge_gap_v": (2.0, 3.0),
    "heat_k_per_kw": (0.25, 0.05),
    "efficiency": (0.955, 0.004),
}
"""Of a sound station: usual value, and scatter between its sessions: of times relative."""


class Park:
    """Stations of one make, each a little different, with sessions of several kinds of vehicles."""

    def __init__(self, stations: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.states = [StationTracks() for _ in range(stations)]
        self.own = [
            {name: self.random.gauss(0, wide / 2) for name, (_, wide) in SOUND.items()} for _ in range(stations)
        ]
        self.sessions = 0

    def session(self, station: int, fault: Mapping[MetricName, float]) -> None:
        """Add a session; `fault`: factors of figures. One session in a hundred is odd in everything."""
        vehicle, odd = self.random.choice((-1, 0, 0, 1)), 3 if self.random.random() < 0.01 else 1
        values = {}
        for name, (usual, wide) in SOUND.items():
            off = self.own[station][name] + odd * self.random.gauss(vehicle * wide / 2, wide)
            value = usual * math.exp(off) if METRICS[name].ratio else usual + off
            values[name] = value * fault.get(name, 1.0)
        self.sessions += 1
        metrics = SessionMetrics(session_id=str(self.sessions), evse_id=1, at_ms=self.sessions, values=values)
        after = taken(self.states[station], metrics)
        assert after is not None
        self.states[station] = after

    def run(
        self, station: int, sessions: int, fault: Mapping[MetricName, float] | None = None
    ) -> Iterator[tuple[float, float]]:
        """Yield after each session how far the station has drifted, and how far it is from the others."""
        for _ in range(sessions):
            self.session(station, fault or {})
            others = [levels(each) for number, each in enumerate(self.states) if number != station]
            yield drift(self.states[station]).value, apart(self.states[station], others).value


def false_alarms(stations: int, sessions: int, seed: int) -> int:
    """Return how often a sound station begins to drift or to differ."""
    park, begun = Park(stations, seed), 0
    active: set[tuple[int, RuleName]] = set()
    for _ in range(sessions):
        for station in range(stations):
            (far,) = park.run(station, 1)
            for name, value in zip(("station_drifts", "station_differs"), far, strict=True):
                key: tuple[int, RuleName] = station, name
                if key in active and value <= RULES[name].clear:
                    active.remove(key)
                elif key not in active and value > RULES[name].limit:
                    active.add(key)
                    begun += 1
    return begun


@pytest.mark.long
@pytest.mark.requirement("R38", "R179")
def test_sound_stations_raise_less_than_one_alarm_in_1000_sessions() -> None:
    assert false_alarms(20, 300, seed=1) < 6


@pytest.mark.long
def test_sound_stations_raise_less_than_one_alarm_in_1000_sessions_over_years() -> None:
    assert sum(false_alarms(30, 1000, seed) for seed in range(10)) < 300


FAULTS: Mapping[str, Mapping[MetricName, float]] = {
    "a contactor sticks": {"contactor_open_s": 1.5},
    "a coil is weak": {"contactor_close_s": 1.3},
    "the isolation monitor needs repetitions": {"cable_check_s": 2.0},
    "the pre-charge overshoots": {"pre_charge_gap_v": 6.0},
    "a fan is clogged": {"heat_k_per_kw": 2.0},
    "a rectifier ages": {"efficiency": 0.985},
}


@together("name", FAULTS)
@pytest.mark.requirement("R38", "R179")
def test_injected_faults_are_found_within_20_sessions(name: str) -> None:
    for seed in range(10):
        park = Park(1, seed)
        limit = RULES["station_drifts"].limit
        assert max(moved for moved, _ in park.run(0, 60)) <= limit
        assert max(moved for moved, _ in park.run(0, 20, FAULTS[name])) > limit, seed
        (figure,) = FAULTS[name]
        assert figure in drift(park.states[0]).facts
        ended = [drift(park.states[0]).value for _ in park.run(0, 60)]
        assert min(ended) <= RULES["station_drifts"].clear, "after the repair"


@together("name", FAULTS)
def test_a_station_that_has_had_its_fault_from_the_first_session_differs_from_its_kind(name: str) -> None:
    park = Park(15, seed=3)
    for station in range(1, 15):
        list(park.run(station, 12))
    fault = {each: factor**3 for each, factor in FAULTS[name].items()}
    moved, far = list(park.run(0, 30, fault))[-1]
    assert moved <= RULES["station_drifts"].limit
    assert far > RULES["station_differs"].limit


def test_a_single_odd_session_is_no_drift() -> None:
    park = Park(1, seed=5)
    list(park.run(0, REFERENCE + 5))
    ((moved, _),) = park.run(0, 1, dict.fromkeys(SOUND, 100.0))
    assert moved <= RULES["station_drifts"].limit


def test_a_session_that_is_delivered_again_changes_nothing() -> None:
    metrics = SessionMetrics(session_id="A", evse_id=1, at_ms=5, values={"contactor_open_s": 0.1})
    once = taken(StationTracks(), metrics)
    assert once is not None
    assert taken(once, metrics) is None


def test_figures_of_other_versions_are_ignored() -> None:
    given = {"sessionId": "A", "evseId": 2, "atMs": 1, "values": {"wear": 1.0, "efficiency": 0.9}, "more": 1}
    state = taken(StationTracks(), read_session_metrics(given))
    assert state is not None
    assert list(state.tracks) == ["efficiency 2"]


def after(*values: dict[str, float], state: StationTracks | None = None, evse: int = 1) -> StationTracks:
    """Return the state after sessions with these figures."""
    state = state or StationTracks()
    for number, each in enumerate(values, 1):
        metrics = SessionMetrics(session_id=f"S{number}", evse_id=evse, at_ms=number, values=each)
        state = taken(state, metrics) or state
    return state


GAP = "pre_charge_gap_v 1"


def test_the_first_30_sessions_are_the_reference_and_what_deviates_adds_up() -> None:
    """Deviations by hand: 1 V above and below in turn is a standard deviation of 1.017 V."""
    swings = [{"pre_charge_gap_v": 2.0 + (-1) ** n} for n in range(30)]
    track = after(*swings).tracks[GAP]
    assert (track.sessions, track.reference, track.squares) == (30, pytest.approx(2.0), pytest.approx(30.0))
    assert (track.recent, track.above, track.below) == (pytest.approx(2.0), 0.0, 0.0)
    slack, wide = 0.5 + 2 / math.sqrt(30), math.sqrt(30 / 29)
    track = after(*swings, {"pre_charge_gap_v": 5.0}).tracks[GAP]
    assert (track.reference, track.recent) == (pytest.approx(2.0), pytest.approx(2.3))
    assert (track.above, track.below) == (pytest.approx(3 / wide - slack), 0.0)
    track = after(*swings, {"pre_charge_gap_v": -1.0}).tracks[GAP]
    assert (track.above, track.below) == (0.0, pytest.approx(3 / wide - slack))
    state = after(*swings, *[{"pre_charge_gap_v": 90.0}] * 1)
    assert drift(state).value == pytest.approx(4 - slack), "one session counts at most 4"
    state = after(*swings, *[{"pre_charge_gap_v": 90.0}] * 30)
    assert drift(state).value == 20.0
    assert drift(StationTracks()).value == 0.0
    even = after(*[{"pre_charge_gap_v": 2.0}] * 30, {"pre_charge_gap_v": 3.0})
    assert even.tracks[GAP].above == pytest.approx(1 / 0.5 - slack), "a scatter below the least counts as the least"


def test_a_ratio_counts_by_its_logarithm_down_to_a_millisecond() -> None:
    state = after(*[{"contactor_open_s": 0.0}] * 12)
    assert levels(state) == {"contactor_open_s": pytest.approx(math.log(0.001))}
    (figure,) = figures(state)
    assert (figure.first, figure.recent, figure.sessions) == (pytest.approx(0.001), pytest.approx(0.001), 12)


def test_figures_are_shown_by_evse_and_are_forgotten_but_not_their_sessions() -> None:
    state = after(*[{"efficiency": 0.95, "contactor_open_s": 0.03}] * 30, evse=12)
    state = after(*[{"efficiency": 0.9}] * 31, {"efficiency": 0.91}, state=state, evse=2)
    found = figures(state)
    assert [(each.evse_id, each.figure) for each in found] == [
        (2, "efficiency"), (12, "contactor_open_s"), (12, "efficiency"),
    ]  # fmt: skip
    assert (found[0].first, found[0].sessions, found[0].moved > 2) == (pytest.approx(0.9), 32, True)
    falls = after({"efficiency": 0.8}, state=StationTracks({"efficiency 2": state.tracks["efficiency 2"]}), evse=2)
    assert figures(falls)[0].moved > 2
    assert figures(StationTracks({"unknown 1": state.tracks["efficiency 2"]})) == ()
    assert restarted(state) == StationTracks(last=state.last)
    assert len(state.last) == 16
    drifted = drift(state).facts
    assert (drifted["evse"], drifted["efficiency_before"]) == (2.0, pytest.approx(0.9))
    assert drift(StationTracks({"unknown 1": state.tracks["efficiency 2"]})).facts == {}


def test_levels_are_means_over_evses_from_10_sessions_on() -> None:
    state = after(*[{"efficiency": 0.9}] * 10)
    assert levels(after(*[{"efficiency": 0.8}] * 9, state=state, evse=2)) == {"efficiency": pytest.approx(0.9)}
    assert levels(after(*[{"efficiency": 0.8}] * 10, state=state, evse=2)) == {"efficiency": pytest.approx(0.85)}


def test_a_station_is_compared_with_10_others_by_their_median_deviation() -> None:
    others = [{"pre_charge_gap_v": 2.0 + 2 * (-1) ** n} for n in range(10)]
    state = after(*[{"pre_charge_gap_v": 8.0}] * 10)
    far = apart(state, others)
    assert far.value == pytest.approx(6 / (1.4826 * 2))
    assert far.facts == {"evse": 1.0, "pre_charge_gap_v": 8.0, "pre_charge_gap_v_kind": 2.0}
    alike = [{"pre_charge_gap_v": 2.0}] * 10
    assert apart(state, alike).value == pytest.approx(6 / (2 * 0.5)), "a scatter below the least counts as the least"
    assert apart(after(*[{"pre_charge_gap_v": 8.0}] * 9), alike).value == 0.0
    assert apart(state, alike[:9]).value == 0.0
    assert apart(StationTracks({"unknown 1": state.tracks[GAP]}), alike).value == 0.0
