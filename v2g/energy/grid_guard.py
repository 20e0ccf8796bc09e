"""A grid code at a connection: when its units may connect, when they must disconnect, and how much may flow (R209).

Pure: measurements come with their time (s, on a clock that only rises); `due` returns the next change without one.
It acts without a back end, and only lowers: what a back end's controls demand beyond it is theirs. Positive power flows
into the vehicle.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

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


class _Stage:
    """One stage of protection. Voltages are percent of the nominal one."""

    def __init__(self, stage: ProtectionStage) -> None:
        self.stage = stage
        self.quantity = "rms_voltage" if stage.rms else stage.of, stage.side
        limit = stage.limit * 100 if stage.of in ("voltage", "mean_voltage") else stage.limit
        self.watch = CurveWatch(((limit, stage.seconds),), high=stage.side == "over")


class _Rate:
    """The rate of change of frequency, Hz/s, over the shortest time that is at least RATE_WINDOW_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._from: tuple[float, float] | None = None

    def feed(self, hertz: float, now: float) -> float | None:
        """Return the magnitude with this measurement, None before there is one that is old enough."""
        self._seen.append((now, hertz))
        while self._seen[0][0] <= now - RATE_WINDOW_S:
            self._from = self._seen.popleft()
        if self._from is None:
            return None
        at, before = self._from
        return abs(hertz - before) / (now - at)


class GridProtection:
    """The protection of a connection with a nominal voltage in V, which all units share. It begins disconnected."""

    def __init__(self, code: GridCode, *, nominal_v: float, tripped: str) -> None:
        """`tripped`: the stage that disconnected it before a restart, empty: none; the code may no longer have it."""
        self._code, self.nominal_v = code, nominal_v
        self._wide = self._stages = tuple(_Stage(each) for each in code.protection)
        self._means: dict[int, TenMinutes] = {}
        self._squares: dict[int, TenMinutes] = {}
        self._rate = _Rate()
        self.hertz: float | None = None
        self.volts: tuple[float, ...] = ()
        """Of the phases that are measured, percent of the nominal voltage."""
        self._lost = Since()
        self._service = GridService()
        self._service.leave()
        self.tripped = tripped
        """The stage that disconnected it; empty: none did."""
        self._left_at = -math.inf
        self.ramped_in = False
        """Whether power returns by a ramp in both directions."""

    def select(self, *, narrow: bool) -> None:
        """From the next measurement on, let the narrow stages act as well, or no longer."""
        self._stages = (*self._wide, *(_Stage(each) for each in self._code.narrow_stages if narrow))

    def measured(self, hertz: float | None, volts: Sequence[float], now: float) -> None:
        """Take the frequency (Hz, None: not measured) and the voltages of the phases (V, as many as are measured)."""
        self.hertz, self.volts = hertz, tuple(each / self.nominal_v * 100 for each in volts)
        lost_s = self._lost.lasts(now, holds=self.unknown)
        if lost_s is not None and lost_s > LOST_S:
            self._service.leave()
        values: dict[tuple[str, str], float | None] = {}
        if hertz is not None:
            values["frequency", "over"] = values["frequency", "under"] = hertz
            values["rocof", "over"] = self._rate.feed(hertz, now)
        if self.volts:
            values["voltage", "over"], values["voltage", "under"] = max(self.volts), min(self.volts)
            means = (self._means.setdefault(n, TenMinutes(100.0)).feed(v, now) for n, v in enumerate(self.volts))
            values["mean_voltage", "over"] = max(means)
            squares = (
                self._squares.setdefault(n, TenMinutes(100.0**2)).feed(v * v, now) for n, v in enumerate(self.volts)
            )
            values["rms_voltage", "over"] = math.sqrt(max(squares))
        for each in self._stages:
            if (value := values.get(each.quantity)) is not None:
                each.watch.feed(value, now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Disconnect or return where due."""
        acting = [(due, each.stage) for each in self._stages if (due := each.watch.due()) is not None and due <= now]
        if acting:
            if not self.tripped:
                self.tripped, self._left_at = min(acting, key=lambda each: each[0])[1].name, now
            self._service.leave()
        beyond = any(each.watch.beyond for each in self._stages)
        rule = self._rule(now)
        good = not beyond and not self.unknown and all(rule.allows(self.hertz, each) for each in self.volts)
        if self._service.out:
            self.ramped_in = bool(self.tripped)
        self._service.tick(rule, good=good, now=now, random=lambda: 0.0)
        if not self._service.out:
            self.tripped = ""

    def _rule(self, now: float) -> ReturnToService:
        """Return when it connects. How long it waits is settled once the grid is good."""
        code, short = self._code, self._code.short_interruption
        rule = code.reconnection if self.tripped else code.connection
        wait_s = rule.wait_s
        if self.tripped and short is not None and now - self._left_at <= short.lasting_s:
            wait_s = short.wait_s
        return ReturnToService(
            low_hz=rule.low_hz,
            high_hz=rule.high_hz,
            low_v=rule.low_v * 100,
            high_v=rule.high_v * 100,
            delay_s=wait_s,
            ramp_s=6000 / rule.ramp if rule.ramp else 0.0,
        )

    @property
    def out(self) -> bool:
        """Whether its units are disconnected, or may not feed back yet."""
        return self._service.out

    @property
    def unknown(self) -> bool:
        """Whether frequency or voltage are not measured."""
        return self.hertz is None or not self.volts

    def share(self, now: float) -> float:
        """Return the part of their ratings that units may use while power returns."""
        return self._service.share(now)

    def due(self, now: float) -> float | None:
        """Return when `tick` is due without a measurement."""
        times = [] if self.tripped else [each.watch.due() for each in self._stages]
        times.append(self._service.due(now))
        return min((at for at in times if at is not None), default=None)


class GridGuard:
    """A unit behind a protection that may feed back and draw so many W."""

    def __init__(self, protection: GridProtection, support: GridSupport, *, most_out_w: int, most_in_w: int) -> None:
        """`support`: the code's functions for this unit."""
        self._protection, self._most_out_w, self._most_in_w = protection, most_out_w, most_in_w
        over, under = support.over_frequency_watt, support.under_frequency_watt
        self._over = None if over is None else FrequencyLimit(over, over=True)
        self._under = None if under is None else FrequencyLimit(under, over=False)
        self._volt_watt, self._lag = support.volt_watt, ResponseLag(1.0)
        self._flow_w = 0
        self._leaves_w = self._enters_w = math.inf

    def measured(self, flow_w: int, now: float) -> None:
        """Take the unit's power, after the protection was given what is measured of the grid."""
        self._flow_w = flow_w
        self.tick(now)

    def tick(self, now: float) -> None:
        """Let frequency and voltage limit what may leave and enter. What is not measured changes nothing here."""
        leaves_w = enters_w = math.inf
        hertz, volts = self._protection.hertz, self._protection.volts
        if hertz is not None and self._over is not None:
            leaves_w = self._over.at(max(0, -self._flow_w), self._most_out_w, hertz, now)
        if hertz is not None and self._under is not None:
            enters_w = self._under.at(max(0, self._flow_w), self._most_in_w, hertz, now)
        if self._volt_watt is not None and volts:
            share = self._volt_watt.share_at(max(volts) / 100 * self._protection.nominal_v)
            lagging = self._lag.follow(share, self._volt_watt.response_s * _LN10, now)
            leaves_w = min(leaves_w, self._most_out_w * (share if self._lag.settled else lagging))
        self._leaves_w, self._enters_w = leaves_w, enters_w

    @property
    def limited(self) -> bool:
        """Whether frequency or voltage leave less than the rating."""
        below = self._leaves_w < self._most_out_w or self._enters_w < self._most_in_w
        return below and not self._protection.out

    def response(self, now: float) -> GridResponse:
        """Return what may flow. Without a measured frequency, and voltage, nothing leaves."""
        held = self._protection
        if held.tripped:
            return GridResponse(floor_w=0, ceiling_w=0, trip=True)
        share = held.share(now)
        leaves_w = 0 if held.unknown else int(min(self._leaves_w, share * self._most_out_w))
        enters_w = int(min(self._enters_w, share * self._most_in_w if held.ramped_in else self._most_in_w))
        return GridResponse(
            floor_w=-leaves_w if leaves_w < self._most_out_w else None,
            ceiling_w=enters_w if enters_w < self._most_in_w else None,
        )

    def due(self, now: float) -> float | None:
        """Return when `tick` is due without a measurement."""
        return now + SETTLING_S if self.limited or not self._lag.settled else None
