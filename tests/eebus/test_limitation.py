"""The published cases of LPC for the controllable system (EEBUS high-level test specification 1.0.0, 2024-04-30), for
both directions: steps and expected results are those of the document's tables, in our own words."""

import itertools
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.eebus.guard import FACTS, PRESET, START, Joined
from tests.together import together
from v2g.eebus.charger import ControllableSystem, FailsafeValues, HeldLimit, KeptValues
from v2g.eebus.limitation import CHART, LimitEvent, LimitState, LimitWrite, PowerLimitation
from v2g.eebus.spine import Moment
from v2g.observe import Observe

INIT, LIMITED, CONTROLLED = LimitState.INIT, LimitState.LIMITED, LimitState.CONTROLLED
FAILSAFE, AUTONOMOUS = LimitState.FAILSAFE, LimitState.AUTONOMOUS

MESSAGES: dict[int, str] = {
    1: "value", 2: "on", 3: "off", 4: "ended", 5: "lasts", 6: "value on", 7: "value off", 8: "value ended",
    9: "value lasts", 10: "on ended", 11: "on lasts", 12: "off ended", 13: "off lasts", 14: "value on ended",
    15: "value on lasts", 16: "value off ended", 17: "value off lasts",
}  # fmt: skip
"""Table 11 of the document."""
RANGE = (1_400, 22_000)
DELTA = 0.05 * (RANGE[1] - RANGE[0])
WATTS = (0, RANGE[0] - DELTA, RANGE[0] + DELTA, 8_000, RANGE[1] - DELTA, RANGE[1] + DELTA, -1000)
"""APCL_01 to _06, FCAPL_01 to _06, by number."""
DURATIONS = ("", "PT1H54M", "PT4H", "PT25H12M")
"""FCAPL_DUR_01 to _03; the maximum is 24 h."""


class Run(Joined):
    """A case in one direction: the words of its steps."""

    def __init__(self, way: int, *, autonomous: bool) -> None:
        super().__init__(replace(FACTS, autonomous=autonomous))
        self.way = way

    @property
    def state(self) -> LimitState:
        return self.system.states["LPC" if self.way == 0 else "LPP"]

    def apcl(self, message: int, watts: int = 3) -> int:
        said = MESSAGES[message].split()
        item: dict[str, Any] = {"limitId": self.way}
        if "on" in said or "off" in said:
            item["isLimitActive"] = "on" in said
        if "lasts" in said:
            item["timePeriod"] = {"endTime": "PT60S"}
        if "value" in said:
            item["value"] = {"number": round(WATTS[watts]) * (1 - 2 * self.way), "scale": 0}
        return self.say(self.guard.limit(item, ended="ended" in said))

    def fcapl(self, watts: int) -> int:
        return self.say(self.guard.key(self.way, {"scaledNumber": {"number": round(WATTS[watts]), "scale": 0}}))

    def lasts(self, which: int) -> int:
        return self.say(self.guard.key(2, {"duration": DURATIONS[which]}))

    def shown(self) -> dict[str, Any]:
        limits = self.read(1, "loadControlLimitListData")["loadControlLimitData"]
        return next(each for each in limits if each["limitId"] == self.way)

    def value(self) -> float:
        return abs(self.shown()["value"]["number"])

    def key(self, number: int) -> dict[str, Any]:
        data = self.read(2, "deviceConfigurationKeyValueListData")["deviceConfigurationKeyValueData"]
        return next(each["value"] for each in data if each["keyId"] == number)

    def controlled(self) -> None:
        self.connect()
        self.beat()
        assert self.apcl(16) == 0
        assert self.state is CONTROLLED

    def limited(self) -> None:
        self.controlled()
        assert self.apcl(14) == 0
        assert self.state is LIMITED

    def failsafe(self, *, connected: bool = True) -> None:
        self.controlled()
        self.lose()
        self.wait(121)
        assert self.state is FAILSAFE
        if connected:
            self.connect()

    def alone(self) -> None:
        self.connect()
        self.wait(121)
        assert self.state is AUTONOMOUS


def _heartbeat(run: Run) -> None:
    run.controlled()
    times: list[float] = []
    while len(times) < 6:
        run.guard.heard.clear()
        run.beat()
        run.wait(1)
        times += [run.at.s for each in run.guard.heard if "deviceDiagnosisHeartbeatData" in each["payload"]["cmd"][0]]
    assert max(late - early for early, late in itertools.pairwise(times)) <= 60


def _connection_1(run: Run) -> None:
    run.connect()
    assert run.apcl(16) == 7
    run.beat()
    assert run.apcl(16) == 0
    assert run.state is CONTROLLED


def _connection_2(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.fcapl(3) == 7
    assert run.apcl(16) == 0
    assert run.fcapl(3) == 0


def _connection_3(run: Run, message: int) -> None:
    run.connect()
    run.beat()
    assert run.apcl(message, 6) == 7
    assert run.state is CONTROLLED
    assert run.fcapl(6) == 7
    assert run.fcapl(3) == 0


def _connection_4(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.lasts(2) == 7
    assert run.apcl(16) == 0


def _connection_5(run: Run) -> None:
    run.controlled()
    assert run.lasts(3) == 7
    assert run.key(2) == {"duration": "PT86400S"}, "refused: its maximum"


def _connection_6(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.apcl(14, 5) == 0
    assert run.state is LIMITED
    assert run.value() == round(WATTS[5])


def _connection_7(run: Run, watts: int) -> None:
    run.controlled()
    assert run.apcl(14, watts) == 0
    assert run.state is LIMITED
    assert run.value() == round(WATTS[watts])


def _connection_8(run: Run) -> None:
    run.controlled()
    for watts in (0, 1, 2, 3, 4, 5):
        assert run.fcapl(watts) == 0
        assert run.key(run.way)["scaledNumber"]["number"] == round(WATTS[watts])
    assert run.lasts(1) == 7
    assert run.lasts(2) == 0
    assert run.key(2) == {"duration": "PT14400S"}
    assert run.lasts(3) == 7


def _connection_9(run: Run) -> None:
    run.controlled()
    run.restart()
    run.wait(90)
    run.connect()
    run.beat()
    assert run.apcl(16) == 0
    assert run.state is CONTROLLED


def _init_1(run: Run) -> None:
    run.connect()
    limits = (run.system.charge_w, run.system.discharge_w)
    assert limits == (PRESET.charge_w, PRESET.discharge_w)
    assert run.shown()["isLimitActive"] is False


def _init_2(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.shown()["isLimitActive"] is False
    assert run.key(run.way)["scaledNumber"]["number"] == (4200, 1000)[run.way]
    assert run.key(2) == {"duration": "PT7200S"}


def _init_3(run: Run) -> None:
    run.controlled()
    assert run.fcapl(3) == 0
    run.beat()
    assert run.lasts(2) == 0
    run.beat()
    run.restart()
    assert run.state is INIT
    run.connect()
    run.beat()
    assert run.apcl(16) == 0
    assert run.key(run.way)["scaledNumber"]["number"] == WATTS[3]
    assert run.key(2) == {"duration": "PT14400S"}


def _limited_1(run: Run) -> None:
    run.limited()
    before = run.shown()
    assert before["isLimitActive"] is True
    for message in (1, 6, 8, 14, 15, 16, 17):
        assert run.apcl(message, 6) == 7
        assert (run.state, run.shown()) == (LIMITED, before), "a refused write changes nothing"


def _limited_2(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.apcl(14) == 0
    run.beat()
    run.wait(90)
    assert run.apcl(14) == 0
    run.beat()
    assert run.state is LIMITED


def _controlled_1(run: Run) -> None:
    run.controlled()
    assert run.shown()["isLimitActive"] is False
    for message in (6, 14):
        assert run.apcl(message, 6) == 7
        assert run.state is CONTROLLED


def _controlled_3(run: Run) -> None:
    run.controlled()
    data = run.read(4, "electricalConnectionCharacteristicListData")["electricalConnectionCharacteristicData"]
    assert [(each["characteristicType"], each["value"]["number"]) for each in data] == [
        ("powerConsumptionNominalMax", 22_000),
        ("powerProductionNominalMax", 11_000),
    ]


def _failsafe_1(run: Run, message: int) -> None:
    run.failsafe()
    run.beat()
    run.wait(90)
    assert (run.apcl(message), run.fcapl(3), run.lasts(2)) == (7, 7, 7)
    assert run.state is FAILSAFE
    run.beat()
    assert run.apcl(message) == 0
    assert run.state is CONTROLLED
    run.beat()
    assert run.fcapl(3) == 0


def _failsafe_2(run: Run) -> None:
    run.failsafe(connected=False)
    run.wait(7200 - 10)
    assert run.state is FAILSAFE
    run.wait(20)
    assert run.state is AUTONOMOUS


def _failsafe_3(run: Run) -> None:
    run.failsafe()
    assert run.shown()["isLimitActive"] is False
    run.beat()
    assert run.lasts(2) == 7
    assert run.state is FAILSAFE


def _autonomous_1(run: Run, message: int) -> None:
    run.alone()
    run.beat()
    run.wait(90)
    assert (run.apcl(message), run.fcapl(3)) == (7, 7)
    assert run.state is AUTONOMOUS
    run.beat()
    assert run.apcl(message) == 0
    assert run.state is CONTROLLED
    run.beat()
    assert run.fcapl(3) == 0


def _autonomous_2(run: Run) -> None:
    run.alone()
    assert (run.system.charge_w, run.system.discharge_w) == (None, None)
    assert run.shown()["isLimitActive"] is False


def _transition_1(run: Run) -> None:
    run.connect()
    run.beat()
    assert run.apcl(14, 6) == 7
    assert run.state is CONTROLLED


def _transition_1_2(run: Run, message: int) -> None:
    run.connect()
    run.beat()
    assert run.apcl(message) == 0
    assert run.state is CONTROLLED


def _limited_for_a_while(run: Run, watts: int) -> None:
    assert run.apcl(15, watts) == 0
    assert (run.state, run.shown()["timePeriod"]) == (LIMITED, {"endTime": "PT60S"})


def _transition_2(run: Run, watts: int) -> None:
    run.connect()
    run.beat()
    _limited_for_a_while(run, watts)


def _transition_3(run: Run) -> None:
    run.connect()
    run.wait(130)
    assert run.state is AUTONOMOUS


def _transition_3_2(run: Run) -> None:
    run.connect()
    run.beat()
    run.wait(130)
    assert run.state is AUTONOMOUS


def _transition_4(run: Run, watts: int) -> None:
    run.controlled()
    _limited_for_a_while(run, watts)


def _transition_5(run: Run) -> None:
    run.controlled()
    run.lose()
    run.wait(119)
    assert run.state is CONTROLLED, "the loss of TCP alone changes nothing"
    run.wait(2)
    assert run.state is FAILSAFE


def _transition_6(run: Run, message: int) -> None:
    run.limited()
    assert run.apcl(message) == 0
    assert run.shown()["timePeriod"] == {"endTime": "PT60S"}
    run.wait(30)
    assert run.shown()["timePeriod"] == {"endTime": "PT30S"}, "what is left"
    run.wait(31)
    assert run.state is CONTROLLED
    assert "timePeriod" not in run.guard.last("loadControlLimitListData")["loadControlLimitData"][run.way]
    assert "timePeriod" not in run.shown()


def _transition_6_2(run: Run, message: int) -> None:
    run.limited()
    assert run.apcl(message) == 0
    assert run.state is CONTROLLED


def _transition_7(run: Run, watts: int) -> None:
    run.limited()
    assert run.fcapl(watts) == 0
    run.lose()
    run.wait(130)
    assert run.state is FAILSAFE
    limit = (run.system.charge_w, run.system.discharge_w)[run.way]
    assert limit == min(round(WATTS[watts]), WATTS[3]), "never more than before"


def _transition_8(run: Run, message: int) -> None:
    run.failsafe()
    run.beat()
    assert run.apcl(message, 6) == 7
    assert run.state is CONTROLLED


def _transition_8_2(run: Run, watts: int) -> None:
    run.failsafe()
    run.beat()
    assert run.apcl(16, watts) == 0
    assert run.state is CONTROLLED


def _transition_9(run: Run, watts: int) -> None:
    run.failsafe()
    run.beat()
    assert run.apcl(14, watts) == 0
    assert run.state is LIMITED


def _transition_10(run: Run) -> None:
    run.controlled()
    assert run.lasts(2) == 0
    run.lose()
    run.wait(130)
    assert run.state is FAILSAFE
    run.wait(14_400 - 20)
    assert run.state is FAILSAFE
    run.wait(130)
    assert run.state is AUTONOMOUS


def _transition_10_2(run: Run) -> None:
    run.failsafe()
    run.beat()
    run.wait(110)
    assert run.state is FAILSAFE, "a heartbeat alone does not end it"
    run.wait(20)
    assert run.state is AUTONOMOUS


def _transition_11(run: Run, message: int) -> None:
    run.alone()
    run.beat()
    assert run.apcl(message) == 0
    assert run.state is CONTROLLED


def _transition_11_refused(run: Run) -> None:
    run.alone()
    run.beat()
    assert run.apcl(14, 6) == 7
    assert run.state is CONTROLLED


def _transition_12(run: Run, watts: int) -> None:
    run.alone()
    run.beat()
    assert run.apcl(14, watts) == 0
    assert run.state is LIMITED


CASES: Final[dict[str, Any]] = {
    "PT_CSHeartbeat_001": _heartbeat,
    "NT_CSConnection_001": _connection_1,
    "PT_CSConnection_002": _connection_2,
    "PT_CSConnection_003": (_connection_3, (14, 16)),
    "PT_CSConnection_004": _connection_4,
    "PT_CSConnection_005": _connection_5,
    "PT_CSConnection_006": _connection_6,
    "PT_CSConnection_007": (_connection_7, (0, 1, 2, 3, 4, 5)),
    "PT_CSConnection_008": _connection_8,
    "PT_CSConnection_009": _connection_9,
    "PT_CSInit_001": _init_1,
    "PT_CSInit_002": _init_2,
    "PT_CSInit_003": _init_3,
    "NT_CSLimited_001": _limited_1,
    "PT_CSLimited_002": _limited_2,
    "NT_CSUnlCntrl_001": _controlled_1,
    "PT_CSUnlCntrl_003": _controlled_3,
    "PT_CSFS_001": (_failsafe_1, (7, 16)),
    "PT_CSFS_002": _failsafe_2,
    "PT_CSFS_003": _failsafe_3,
    "NT_CSUnlAuto_001": (_autonomous_1, (3, 16)),
    "PT_CSUnlAuto_002": _autonomous_2,
    "PT_CSTransition1_001": _transition_1,
    "PT_CSTransition1_002": (_transition_1_2, (16, 17)),
    "PT_CSTransition2_001": (_transition_2, (2, 3, 4)),
    "PT_CSTransition3_001": _transition_3,
    "PT_CSTransition3_002": _transition_3_2,
    "PT_CSTransition4_001": (_transition_4, (2, 3, 4)),
    "PT_CSTransition5_001": _transition_5,
    "PT_CSTransition6_001": (_transition_6, (9, 15)),
    "PT_CSTransition6_002": (_transition_6_2, (7, 16, 17)),
    "PT_CSTransition7_001": (_transition_7, (2, 3, 4)),
    "PT_CSTransition8_001": (_transition_8, (6, 7, 8, 9, 14, 15, 16, 17)),
    "PT_CSTransition8_002": (_transition_8_2, (2, 3, 4)),
    "PT_CSTransition9_001": (_transition_9, (2, 3, 4)),
    "PT_CSTransition10_001": _transition_10,
    "PT_CSTransition10_002": _transition_10_2,
    "PT_CSTransition11_001": _transition_11_refused,
    "PT_CSTransition11_002": (_transition_11, (7, 16)),
    "PT_CSTransition12_001": (_transition_12, (2, 3, 4)),
}
"""40 of the 43. UnlCntrl_002 and INS1_Transition1_001 are for an energy manager (CEM), and INS2_Transition1_001 for
a charger that refuses a limit for reasons that this one does not have. Beside some are their variations."""


@pytest.mark.requirement("R206")
@together(("way", "name"), [(way, name) for way in (0, 1) for name in CASES], ids=lambda case: f"{case[0]} {case[1]}")
def test_a_published_case_in_each_direction(way: int, name: str) -> None:
    case = CASES[name]
    if not isinstance(case, tuple):
        case(Run(way, autonomous=True))
        return
    steps, variations = case
    for variation in variations:
        steps(Run(way, autonomous=True), variation)


def test_without_a_guard_a_charger_that_may_not_be_autonomous_keeps_the_failsafe_limit() -> None:
    """R206: a lost source never raises power."""
    run = Run(0, autonomous=False)
    run.failsafe(connected=False)
    run.wait(200_000)
    assert (run.state, run.system.charge_w) == (FAILSAFE, 4200)
    run.connect()
    run.beat()
    assert run.apcl(14, 2) == 0, "and is left without a restart"
    assert run.system.charge_w == round(WATTS[2])


@pytest.mark.parametrize(("at", "refused"), [(60.0, False), (60.1, True)])
def test_a_limit_is_written_within_a_minute_of_a_heartbeat(at: float, refused: bool) -> None:
    limitation = PowerLimitation(failsafe_w=4200, now=0)
    limitation.heartbeat(0)
    assert bool(limitation.write(LimitWrite(value_w=1500, active=True), at)) is refused


def test_a_lower_limit_outlives_its_guard_until_its_end_and_never_comes_back() -> None:
    limitation = PowerLimitation(failsafe_w=4200, now=0)
    limitation.heartbeat(0)
    assert not limitation.write(LimitWrite(value_w=1500, active=True, lasts_s=600), 0)
    limitation.tick(120, 7200)
    assert (limitation.state, limitation.limit_w) == (FAILSAFE, 1500)
    assert limitation.due(7200) == 600
    limitation.tick(600, 7200)
    assert limitation.limit_w == 4200, "its sender wanted it for 10 minutes"
    limitation.heartbeat(601)
    assert not limitation.write(LimitWrite(active=True), 601)
    assert limitation.limit_w == 4200, "not the stale 1500 W"


def test_what_was_in_force_before_a_restart_holds_until_its_end_or_a_guards_word() -> None:
    limitation = PowerLimitation(failsafe_w=4200, now=0, held=(1500, 600))
    assert (limitation.state, limitation.limit_w, limitation.held) == (INIT, 1500, (1500, 600))
    assert limitation.due(7200) == 600
    limitation.tick(599, 7200)
    assert limitation.limit_w == 1500
    limitation.tick(600, 7200)
    assert (limitation.limit_w, limitation.held) == (4200, None)
    higher = PowerLimitation(failsafe_w=4200, now=0, held=(9000, None))
    assert higher.limit_w == 4200, "failsafe comes first"
    spoken = PowerLimitation(failsafe_w=4200, now=0, held=(1500, None))
    spoken.heartbeat(1)
    assert not spoken.write(LimitWrite(value_w=3000, active=True, lasts_s=60), 2)
    assert (spoken.limit_w, spoken.held) == (3000, (3000, 62))
    spoken.write(LimitWrite(active=False), 3)
    assert spoken.held is None
    alone = PowerLimitation(failsafe_w=4200, now=0, autonomous=True, held=(1500, None))
    alone.tick(7199, 7200)
    assert alone.limit_w == 1500, "no shorter than after a loss"
    alone.tick(7200, 7200)
    assert alone.limit_w is None


_STEPS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 9000)),
    st.tuples(st.just("beat"), st.just(0.0)),
    st.tuples(st.sampled_from(["on", "off"]), st.floats(-500, 20_000)),
)


@pytest.mark.requirement("R206")
@settings(max_examples=100)
@given(st.lists(_STEPS, max_size=30))
def test_a_guard_that_is_lost_lies_or_flaps_never_raises_power(steps: list[tuple[str, float]]) -> None:
    """What time alone changes is no more than before, but for the end of a duration; here there is none."""
    limitation, now = PowerLimitation(failsafe_w=4200, now=0.0), 0.0
    for what, value in steps:
        before, limit_w = limitation.state, limitation.limit_w
        if what == "wait":
            now += value
            limitation.tick(now, 7200)
            if limit_w is not None:
                assert limitation.limit_w is not None
                assert limitation.limit_w <= limit_w
        elif what == "beat":
            limitation.heartbeat(now)
            assert (limitation.state, limitation.limit_w) == (before, limit_w)
        else:
            limitation.tick(now, 7200)
            before = limitation.state
            limitation.write(LimitWrite(value_w=value, active=what == "on"), now)
        moves = {after for (state, _), after in CHART.items() if state is before}
        assert limitation.state in moves | {before}
        assert (limitation.limit_w is None) is (limitation.state is CONTROLLED)


def test_every_event_in_every_state_is_a_transition_of_the_chart_or_none() -> None:
    assert len(CHART) == 12
    assert set(CHART.values()) == set(LimitState) - {INIT}
    assert all(state in LimitState and event in LimitEvent for state, event in CHART)


@pytest.mark.requirement("R206")
@pytest.mark.parametrize(("later_s", "left_s"), [(100, 500), (500, 100), (-1_000_000_000, 600)])
def test_a_clock_that_was_set_back_prolongs_no_limit_from_before_a_restart(later_s: int, left_s: int) -> None:
    """Its end is a time of day; what was left of it when it was stored is the most."""
    held = HeldLimit(value_w=1500, until_ms=START.utc_ms + 600_000, left_s=600)
    at = Moment(START.s, START.utc_ms + 1000 * later_s)
    system = ControllableSystem(FACTS, PRESET, list[Observe]().append, at, KeptValues(held_charge=held))
    assert system.charge_w == 1500
    for more_s, limit_w in ((left_s - 1, 1500), (left_s, 4200)):
        system.tick(Moment(at.s + more_s, at.utc_ms + 1000 * more_s))
        assert system.charge_w == limit_w


@pytest.mark.requirement("R206")
def test_a_preset_that_no_guard_has_written_over_follows_the_configuration() -> None:
    """A limit in force is kept over a restart: the presets are not kept with it, as if a guard had written them."""
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.say(joined.guard.limit({"limitId": 0, "isLimitActive": True, "value": {"number": 9000}})) == 0
    assert joined.say(joined.guard.key(0, {"scaledNumber": {"number": 4200}})) == 0
    later = FailsafeValues(charge_w=3000, discharge_w=500, duration_s=9000)
    system = ControllableSystem(FACTS, later, list[Observe]().append, joined.at, joined.system.kept(joined.at))
    assert (system.charge_w, system.discharge_w) == (4200, 500)
    assert system.failsafe == replace(later, charge_w=4200), "what the guard has written stays, even if it was preset"
