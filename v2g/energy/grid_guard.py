"""A grid code at one unit: when it may connect, when it must disconnect, and how much may flow meanwhile (R209).

Pure: measurements come with their time (s, on a clock that only rises); `due` returns the next change without one.
It acts without a back end, and only lowers: what a back end's controls demand beyond it is theirs. Positive power flows
into the vehicle.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from v2g.energy.curves import ResponseLag
from v2g.energy.frequency_limit import FrequencyLimit, Since
from v2g.energy.grid_code import GridCode, ProtectionStage
from v2g.energy.grid_support import GridSupport
from v2g.energy.limits import GridResponse
from v2g.energy.ride_through import CurveWatch, GridService, ReturnToService, TenMinutes

SETTLING_S: Final = 0.5
"""Interval at which a lagging limit is followed."""
RATE_WINDOW_S: Final = 0.1
"""The rate of change of frequency is that over at least this time (IEEE 1547-2018, 6.5.2.5)."""
LOST_S: Final = 3.0
"""A unit that did not know the grid for longer connects anew: what happened meanwhile is not known."""
_LN10: Final = math.log(10)  # ResponseLag counts to 90 %


class GridState(msgspec.Struct, frozen=True):
    """What a grid code does to a unit now."""

    out: bool = False
    """It is disconnected, or may not feed back yet."""
    stage: str = ""
    """The stage of protection that disconnected it; empty: it has not connected since its start."""
    limited: bool = False
    """Frequency or voltage leave less than the rating."""


class _Stage:
    """One stage of protection. Voltages are percent of the nominal one."""

    def __init__(self, stage: ProtectionStage) -> None:
        self.stage = stage
        limit = stage.limit * 100 if stage.of in ("voltage", "mean_voltage") else stage.limit
        self.watch = CurveWatch(((limit, stage.seconds),), high=stage.side == "over")


class _Rate:
    """The rate of change of frequency, Hz/s, over the shortest time that is at least RATE_WINDOW_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=1000)

    def feed(self, hertz: float, now: float) -> float:
        """Return the magnitude with this measurement, 0 before there are two."""
        self._seen.append((now, hertz))
        while len(self._seen) > 1 and self._seen[1][0] <= now - RATE_WINDOW_S:
            self._seen.popleft()
        at, before = self._seen[0]
        return abs(hertz - before) / (now - at) if now - at >= RATE_WINDOW_S else 0.0


class GridGuard:
    """A unit that may feed back and draw so many W, at a nominal voltage in V. It begins disconnected."""

    def __init__(
        self, code: GridCode, support: GridSupport, *, nominal_v: float, most_out_w: int, most_in_w: int
    ) -> None:
        """`support`: the code's functions for this unit."""
        self._code, self._nominal_v = code, nominal_v
        self._most_out_w, self._most_in_w = most_out_w, most_in_w
        self._stages = tuple(_Stage(each) for each in code.protection)
        self._means: dict[int, TenMinutes] = {}
        self._rate = _Rate()
        over, under = support.over_frequency_watt, support.under_frequency_watt
        self._over = None if over is None else FrequencyLimit(over, over=True)
        self._under = None if under is None else FrequencyLimit(under, over=False)
        self._volt_watt, self._lag = support.volt_watt, ResponseLag(1.0)
        self._hertz: float | None = None
        self._lost = Since()
        self._volts: tuple[float, ...] = ()
        self._flow_w = 0
        self._service = GridService()
        self._service.leave()
        self._tripped: ProtectionStage | None = None
        self._left_at = 0.0
        self._ramped_in = False
        self._leaves_w = self._enters_w = math.inf

    # -- what happens

    def measured(self, hertz: float | None, volts: Sequence[float], flow_w: int, now: float) -> None:
        """Take the frequency (Hz, None: not measured), the voltages of the phases (V, as many as are measured), and the
        unit's power."""
        self._hertz, self._flow_w = hertz, flow_w
        self._volts = tuple(each / self._nominal_v * 100 for each in volts)
        lost_s = self._lost.lasts(now, holds=hertz is None or not volts)
        if lost_s is not None and lost_s > LOST_S:
            self._service.leave()
        values: dict[tuple[str, str], float] = {}
        if hertz is not None:
            values["frequency", "over"] = values["frequency", "under"] = hertz
            values["rocof", "over"] = self._rate.feed(hertz, now)
        if self._volts:
            values["voltage", "over"], values["voltage", "under"] = max(self._volts), min(self._volts)
            means = (self._means.setdefault(n, TenMinutes(100.0)).feed(v, now) for n, v in enumerate(self._volts))
            values["mean_voltage", "over"] = max(means)
        for each in self._stages:
            if (value := values.get((each.stage.of, each.stage.side))) is not None:
                each.watch.feed(value, now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Disconnect or return where due."""
        acting = [(due, each.stage) for each in self._stages if (due := each.watch.due()) is not None and due <= now]
        if acting:
            if self._tripped is None:
                _, self._tripped = min(acting, key=lambda each: each[0])
                self._left_at = now
            self._service.leave()
        beyond = any(each.watch.beyond for each in self._stages)
        rule = self._rule(now)
        good = not beyond and rule.allows(self._hertz, self._worst())
        if self._service.out:
            self._ramped_in = self._tripped is not None
        self._service.tick(rule, good=good, now=now, random=lambda: 0.0)
        if not self._service.out:
            self._tripped = None
        self._limit(now)

    def _limit(self, now: float) -> None:
        """Let frequency and voltage limit what may leave and enter. What is not measured changes nothing here."""
        leaves_w = enters_w = math.inf
        if self._hertz is not None and self._over is not None:
            leaves_w = self._over.at(max(0, -self._flow_w), self._most_out_w, self._hertz, now)
        if self._hertz is not None and self._under is not None:
            enters_w = self._under.at(max(0, self._flow_w), self._most_in_w, self._hertz, now)
        if self._volt_watt is not None and self._volts:
            share = self._volt_watt.share_at(max(self._volts) / 100 * self._nominal_v)
            lagging = self._lag.follow(share, self._volt_watt.response_s * _LN10, now)
            leaves_w = min(leaves_w, self._most_out_w * (share if self._lag.settled else lagging))
        self._leaves_w, self._enters_w = leaves_w, enters_w

    def _worst(self) -> float | None:
        """Return the voltage that is farthest from the nominal one, percent; None if none is measured."""
        return max(self._volts, key=lambda each: abs(each - 100.0), default=None)

    def _rule(self, now: float) -> ReturnToService:
        """Return when it connects. How long it waits is settled once the grid is good."""
        code, short = self._code, self._code.short_interruption
        rule = code.connection if self._tripped is None else code.reconnection
        is_short = self._tripped is not None and short is not None and now - self._left_at <= short.lasting_s
        return ReturnToService(
            low_hz=rule.low_hz,
            high_hz=rule.high_hz,
            low_v=rule.low_v * 100,
            high_v=rule.high_v * 100,
            delay_s=short.wait_s if short is not None and is_short else rule.wait_s,
            ramp_s=6000 / rule.ramp if rule.ramp else 0.0,
        )

    # -- what follows

    @property
    def state(self) -> GridState:
        """What it does now."""
        stage = "" if self._tripped is None else self._tripped.name
        limited = self._leaves_w < self._most_out_w or self._enters_w < self._most_in_w
        return GridState(out=self._service.out, stage=stage, limited=limited and not self._service.out)

    def response(self, now: float) -> GridResponse:
        """Return what may flow. Without a measured frequency, and voltage, nothing leaves."""
        if self._tripped is not None:
            return GridResponse(floor_w=0, ceiling_w=0, trip=True)
        share, unknown = self._service.share(now), self._hertz is None or not self._volts
        leaves_w = 0 if unknown else int(min(self._leaves_w, share * self._most_out_w))
        enters_w = int(min(self._enters_w, share * self._most_in_w if self._ramped_in else self._most_in_w))
        return GridResponse(
            floor_w=-leaves_w if leaves_w < self._most_out_w else None,
            ceiling_w=enters_w if enters_w < self._most_in_w else None,
        )

    def due(self, now: float) -> float | None:
        """Return when `tick` is due without a measurement."""
        times = [] if self._tripped is not None else [each.watch.due() for each in self._stages]
        times.append(self._service.due(now))
        if self.state.limited or not self._lag.settled:
            times.append(now + SETTLING_S)
        return min((at for at in times if at is not None), default=None)
