"""What a charger's monitor forwards to its control board: each input once, in the board's units and from now on."""

from collections.abc import Callable
from typing import Any

import pytest

from secc.hardware.forwarding_monitor import ForwardingMonitor
from v2g.hardware.board import inputs
from v2g.hardware.board.inputs import FOREVER_MS, UNBOUNDED, Input
from v2g.safety import ChargerMonitor, ChargerRating, Output, Phase, Request

RATING = ChargerRating(
    charge_w=50_000,
    discharge_w=30_000,
    follow_s=0.5,
    excess_s=1.5,
    open_s=0.25,
    close_s=2.5,
    grace_s=0.125,
    stop_s=60.0,
    voltage_s=120.0,
)
BOARD_RATING = inputs.BoardRating(
    charge_w=50_000,
    discharge_w=30_000,
    follow_ms=500,
    excess_ms=1_500,
    open_ms=250,
    close_ms=2_500,
    grace_ms=125,
    stop_ms=60_000,
    voltage_ms=120_000,
)
BEARS = Output(1, 2, 3, 4, 5)
BOARD_BEARS = {"charge_w": 1, "discharge_w": 2, "charge_ma": 3, "discharge_ma": 4, "voltage_mv": 5}
LIMIT = {"source": "site", "charge_w": UNBOUNDED, "discharge_w": UNBOUNDED, "from_ms": -10_000, "until_ms": FOREVER_MS}


class Board:
    """Notes what is forwarded, and can be replaced by one that knows nothing."""

    def __init__(self) -> None:
        self.received: list[Input] = []
        self.renew: Callable[[], None] = lambda: None

    def tell(self, what: Input) -> None:
        self.received.append(what)

    def on_new(self, callback: Callable[[], None]) -> None:
        self.renew = callback
        callback()


class Place:
    """A monitor at 10 s, with its board."""

    def __init__(self, rating: ChargerRating = RATING) -> None:
        self.now = 10.0
        self.monitor, self.board = ForwardingMonitor(rating, lambda: self.now), Board()
        self.monitor.forward_to(self.board)
        self.introduction = self.board.received.copy()
        self.board.received.clear()


INPUTS: list[tuple[str, tuple[Any, ...], dict[str, Any], list[Input]]] = [
    ("begin", (10.0,), {}, [inputs.Begin()]),
    ("forget_paused", (), {}, [inputs.Forget()]),
    ("authorise", (10.0,), {"allowed": True, "paused": False}, [inputs.Authorise(allowed=True)]),
    ("authorise", (10.0,), {"allowed": False, "paused": True}, [inputs.Authorise(allowed=False, paused=True)]),
    ("stop", (10.0,), {}, [inputs.Stop()]),
    ("fault", ("stage_lost", 10.0), {"active": True}, [inputs.Fault(word="stage_lost", active=True)]),
    ("fault", ("stage_lost", 10.0), {"active": False}, [inputs.Fault(word="stage_lost", active=False)]),
    ("request", (Request(), 10.0), {}, [inputs.Request()]),
    (
        "request",
        (Request(phase=Phase.POWER, power_s=0.5, closed_s=2.0, bears=BEARS, ready=False), 10.0),
        {},
        [inputs.Bears(**BOARD_BEARS), inputs.Request(phase="power", power_ms=500, closed_ms=2_000, ready=False)],
    ),
    (
        "request",
        (Request(power_s=1e10, closed_s=1e10, ready=True, target_mv=-1, notice_s=0.25), 10.0),
        {},
        [inputs.Request(power_ms=FOREVER_MS, closed_ms=FOREVER_MS, ready=True, target_mv=0, notice_ms=250)],
    ),
    ("request", (Request(target_mv=UNBOUNDED + 1), 10.0), {}, [inputs.Request(target_mv=UNBOUNDED)]),
    ("limit", ("site", 10.0), {}, [inputs.Limit(**LIMIT)]),  # type: ignore[arg-type]
    (
        "limit",
        ("site", 10.0),
        {"charge_w": 7, "discharge_w": -1, "from_s": 9.0, "until_s": 12.5},
        [inputs.Limit(source="site", charge_w=7, discharge_w=0, from_ms=-1_000, until_ms=2_500)],
    ),
    (
        "limit",
        ("site", 10.0),
        {"from_s": float("-inf"), "until_s": float("-inf")},
        [inputs.Limit(**LIMIT | {"from_ms": -FOREVER_MS, "until_ms": -FOREVER_MS})],  # type: ignore[arg-type]
    ),
    ("discharge", ("signed", 10.0), {}, [inputs.Discharge(rule="signed")]),
    ("signed", (9_000, 11.5, 10.0), {}, [inputs.Signed(power_w=9_000, until_ms=1_500)]),
    ("signed", (-9_000, 8.5, 10.0), {}, [inputs.Signed(power_w=0, until_ms=-1_500)]),
    ("measured", (400_000, -5, 10.0), {}, [inputs.Measured(voltage_mv=400_000, current_ma=-5)]),
    ("drawn", (-5, 10.0, None), {}, [inputs.Drawn(power_w=-5)]),
    ("drawn", (-5, 10.0, (1, -2, 0)), {}, [inputs.Drawn(-5, 1, -2, 0)]),
    (
        "limit",
        ("site", 10.0),
        {"charge_ma": 6_000, "discharge_ma": 0},
        [
            inputs.Limit(**LIMIT, charge_ma=6_000, discharge_ma=0)  # type: ignore[arg-type]
        ],
    ),
]


@pytest.mark.parametrize(("name", "args", "how", "forwarded"), INPUTS)
def test_each_input_reaches_board_and_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, args: tuple[Any, ...], how: dict[str, Any], forwarded: list[Input]
) -> None:
    ruled: list[Any] = []
    place = Place()
    monkeypatch.setattr(ChargerMonitor, name, lambda _, *each, **rest: ruled.append((each, rest)))
    getattr(place.monitor, name)(*args, **how)
    assert (ruled, place.board.received) == ([(args, how)], forwarded)


def test_what_passes_is_forwarded() -> None:
    place = Place()
    assert place.monitor.drive(BEARS, 10.0) == Output(0, 0, 0, 0, 0)
    assert place.board.received == [inputs.Drive(**dict.fromkeys(BOARD_BEARS, 0))]


def test_an_authorisation_is_not_paused_unless_that_is_said() -> None:
    place = Place()
    place.monitor.stop(10.0)
    place.monitor.authorise(10.0, allowed=False)
    assert place.board.received[-1] == inputs.Authorise(allowed=False, paused=False)


def test_without_a_board_the_rule_is_enforced_alone() -> None:
    monitor = ForwardingMonitor(RATING, lambda: 10.0)
    monitor.begin(10.0)
    monitor.stop(10.0)
    assert not monitor.close(10.0)


def test_measurements_are_forwarded_twenty_times_a_second_and_all_are_ruled(monkeypatch: pytest.MonkeyPatch) -> None:
    ruled: list[Any] = []
    place = Place()
    for name in ("measured", "drawn"):
        monkeypatch.setattr(ChargerMonitor, name, lambda _, *each: ruled.append(each))
    for at_ms in (0, 49, 50, 99, 101):
        place.monitor.measured(400_000, at_ms, 8.0 + at_ms / 1024)
    place.monitor.drawn(5, 8.0 + 149 / 1024)
    place.monitor.drawn(6, 8.0 + 160 / 1024)
    shown = [each.current_ma if isinstance(each, inputs.Measured) else each for each in place.board.received]
    assert shown == [0, 99, inputs.Drawn(power_w=6)]
    assert len(ruled) == 7


def test_the_first_measurement_is_forwarded_whatever_the_time() -> None:
    place = Place()
    place.monitor.measured(400_000, 5, 0.0)
    place.monitor.measured(400_000, 6, 0.05)
    assert len(place.board.received) == 2


def test_a_board_that_knows_nothing_gets_rating_limits_and_faults_as_they_stand() -> None:
    place = Place()
    assert place.introduction == [BOARD_RATING]
    place.monitor.limit("site", 10.0, charge_w=5_000, until_s=110.0)
    place.monitor.limit("grid", 10.0, charge_w=9_000)
    place.monitor.limit("grid", 10.0, discharge_w=8_000)
    place.monitor.fault("isolation_low", 10.0, active=True)
    place.monitor.fault("stage_lost", 10.0, active=True)
    place.monitor.fault("stage_lost", 10.0, active=False)
    place.monitor.fault("over_current", 10.0, active=False)
    place.now = 12.0
    place.board.received.clear()
    place.board.renew()
    assert place.board.received == [
        BOARD_RATING,
        inputs.Limit(**LIMIT | {"charge_w": 5_000, "from_ms": -12_000, "until_ms": 98_000}),  # type: ignore[arg-type]
        inputs.Limit(**LIMIT | {"source": "grid", "discharge_w": 8_000, "from_ms": -12_000}),  # type: ignore[arg-type]
        inputs.Fault(word="isolation_low", active=True),
    ]


def test_a_rating_beyond_a_boards_range_is_its_most() -> None:
    rating = ChargerRating(charge_w=UNBOUNDED + 1, discharge_w=-1, stop_s=1e10)
    (first,) = Place(rating).introduction
    assert isinstance(first, inputs.BoardRating)
    assert (first.charge_w, first.discharge_w, first.stop_ms) == (UNBOUNDED, 0, FOREVER_MS)


def test_a_board_gets_what_each_conductor_of_the_charger_may_carry_as_a_limit() -> None:
    rating, limit = Place(ChargerRating(charge_w=22_000, discharge_w=0, charge_ma=32_000)).introduction
    assert isinstance(rating, inputs.BoardRating)
    assert limit == inputs.Limit(**LIMIT | {"source": "rating", "charge_ma": 32_000})  # type: ignore[arg-type]
