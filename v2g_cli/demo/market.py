"""A market beside a demo: a fleet's flexibility is forecast, bid, called by the grid operator, and paid for."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from csms.db.store import Store, address
from csms.fleets import store as fleets
from v2g.energy.dispatch.forecast import FleetQuarter
from v2g.errors import TransportError
from v2g.typed_json import Fields
from v2g.units import DAY_MS, QUARTER_MS
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.operator import Operator
from v2g_cli.demo.scenario import GATE_S
from v2g_cli.demo.story import kw

_DAYS: Final = 28
_HOUR: Final = 70
"""Quarter hours from midnight, in the simulated past, until what is the time of the run: half past five."""
_SLACK_MS: Final = 300_000
"""How long before its gate closes a bid is given."""
_KEPT: Final = 0.7
"""The part of what the fleet can do that is bid."""


def past(seed: int, begin_ms: int, days: int, vehicles: int = 40) -> list[FleetQuarter]:
    """Return the quarter hours of a simulated depot whose vehicles come back in the evening of working days, some on
    Saturdays, with what the day has cost.

    Arrivals scatter, drivers are ill or away, cold days need more, and the fleet grows: nothing of the forecast's
    assumptions is used, but that people work from Monday to Friday.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    load, most, least = ([0.0] * (96 * (days + 2)) for _ in range(3))
    cold = 0.0
    for day in range(days):
        weekday = (datetime.fromtimestamp(begin_ms / 1000, UTC).weekday() + day) % 7
        cold = 0.8 * cold + chance.gauss(0, 0.15)
        for number in range(vehicles + day // 10):
            if chance.random() > (0.9 if weekday < 5 else 0.35 if weekday == 5 else 0.08):
                continue
            arrival = day * 96 + round(chance.gauss(66 + number % 5, 3))
            leaves = (day + 1) * 96 + round(chance.gauss(26, 2))
            power_w = chance.choice((7_400, 11_000, 11_000))
            energy_wh = max(2_000.0, chance.gauss(22_000, 7_000) * (1.15 + 0.1 * math.cos(day / 58) + 0.3 * cold))
            for quarter in range(max(0, arrival), min(leaves, len(load))):
                drawn_w = min(power_w * 0.6, energy_wh * 4)
                energy_wh -= drawn_w / 4
                load[quarter] += drawn_w
                most[quarter] += power_w - drawn_w if energy_wh > 0 else 0
                least[quarter] += drawn_w + (5_000 if number % 3 == 0 else 0)
    return [
        FleetQuarter(begin_ms + n * QUARTER_MS, round(load[n]), round(least[n]), round(most[n]))
        for n in range(96 * days)
    ]


def _range(quantiles: dict[str, int]) -> str:
    low, middle, high = (f"{quantiles[name] / 1000:.1f}" for name in ("low", "middle", "high"))
    return f"{middle} kW ({low} to {high})"


def _at(utc_ms: int) -> str:
    return f"{datetime.fromtimestamp(utc_ms / 1000, UTC):%H:%M}"


class DemoMarket:
    """Bids what a fleet of the run can do, and calls it. `record` is what the back end answered."""

    def __init__(self, folder: RunFolder, fleet_id: str, say: Callable[[str, str], None]) -> None:
        self._folder, self._id, self._tell = folder, fleet_id, say
        self.record: Fields = {}
        self.operator: Operator
        self._steps: Iterator[bool] | None = None

    def remember(self) -> None:
        """Give the fleet a past, in the back end's store before that starts."""
        now_ms = self._folder.origin_utc_ms
        begin_ms = now_ms - now_ms % QUARTER_MS - (_DAYS - 1) * DAY_MS - _HOUR * QUARTER_MS
        (self._folder.path / "csms").mkdir(mode=0o700)
        store = Store(address("", self._folder.path / "csms"))
        try:
            known = [each for each in past(1, begin_ms, _DAYS, vehicles=2) if each.at_ms < now_ms - QUARTER_MS]
            store.do(fleets.put_quarters, self._id, known)
        finally:
            store.close()

    def go_on(self) -> bool:
        """Do what is to happen now; return whether the fleet has been called."""
        self._steps = self._steps or self._play()
        return next(self._steps, True)

    def _play(self) -> Iterator[bool]:
        record, ask = self.record, self.operator
        record["forecast"] = found = ask.of_fleet(self._id, "forecast")
        first = found["quarters"][0]
        load, less = (_range(first[name]) for name in ("load_w", "up_w"))
        self._say(f"forecast from {_at(first['at_ms'])} on, 10 to 90 %: {load} drawn, {less} less possible")
        late_ms = self._folder.utc_ms() + GATE_S * 500
        try:
            ask.bid(self._id, late_ms, late_ms + QUARTER_MS, 1_000, "1")
        except TransportError as error:
            record["late"] = str(error)
            self._say(f"a bid for {_at(late_ms)} is refused: its gate closed at {_at(late_ms - GATE_S * 1000)}")
        while "bid" not in record:
            with_bids = ask.of_fleet(self._id, "capability")
            start_ms = self._folder.utc_ms() + GATE_S * 1000 + _SLACK_MS
            end_ms = start_ms + QUARTER_MS
            able = [each for each in with_bids["ranges"] if each["start_ms"] < end_ms and start_ms < each["end_ms"]]
            if not (able and with_bids["bids"]):  # not planned yet, or anew
                yield False
                continue
            power_w = int(min(each["up_w"] for each in able) * _KEPT) // 1000 * 1000
            price = max(float(each["break_even_per_kwh"]["amount"]) for each in with_bids["bids"]) + 0.05
            try:
                record["bid"] = bid = ask.bid(self._id, start_ms, end_ms, power_w, f"{price:.2f}")
            except TransportError as error:  # planned anew meanwhile, or too slow
                record["again"] = str(error)
                yield False
        self._say(
            f"bid: {kw(power_w)} less from {_at(start_ms)} to {_at(end_ms)} at {bid['price_per_kwh']['amount']} "
            f"EUR/kWh, given before its gate closes at {_at(bid['gate_closure_ms'])}"
        )
        while self._folder.utc_ms() < start_ms:
            yield False
        record["called"] = ask.call_bid(self._id, bid["id"], power_w)
        record["call"] = call = ask.of_fleet(self._id, "plan")["call"]
        planned_w, asked_w = sum(call["planned_w"].values()), sum(each["setpoint_w"] for each in record["called"])
        self._say(f"the grid operator calls {kw(power_w)}: {kw(planned_w)} were planned, {kw(asked_w)} are asked for")
        yield True

    def settle(self) -> None:
        """Take note of what was delivered and paid."""
        if "bid" in self.record:
            self.record["settled"] = found = self.operator.of_fleet(self._id, "bids")[0]
            asked, delivered = (found[name] / 1000 for name in ("asked_wh", "delivered_wh"))
            self._say(
                f"settled: {asked:.3f} kWh were asked for, {delivered:.3f} kWh delivered by the meters, "
                f"{float(found['paid']['amount']):.2f} {found['paid']['currency']} paid to the fleet"
            )

    def _say(self, words: str) -> None:
        self._tell("market", words)
