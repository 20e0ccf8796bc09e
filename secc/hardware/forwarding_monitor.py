"""A charger's safety monitor that passes its inputs on to a control board, which runs the rule once more."""

from collections.abc import Callable
from typing import Any, Final

from v2g.hardware.board import inputs
from v2g.hardware.board.inputs import FOREVER_MS, UNBOUNDED, Input
from v2g.hardware.interfaces import BoardMonitor
from v2g.safety import ChargerMonitor, ChargerRating, Output, Request
from v2g.safety.charger import Discharge
from v2g.typed_json import Fields

MEASURED_S: Final = 0.05
"""Shortest time between two measurements for the board: power stages report faster than a serial line carries."""


class ForwardingMonitor(ChargerMonitor):
    """See ChargerMonitor. The board switches the contactor and reads its auxiliary contact itself."""

    def __init__(self, rating: ChargerRating, clock: Callable[[], float]) -> None:
        super().__init__(rating)
        self._clock = clock
        self._board: BoardMonitor | None = None
        self._sent_limits: dict[str, dict[str, object]] = {}
        self._measured_at = float("-inf")

    def forward_to(self, board: BoardMonitor) -> None:
        """Pass on everything from now on, and to each board that takes its place what outlasts a session."""
        self._board = board
        board.on_new(self._introduce)

    def _introduce(self) -> None:
        now = self._clock()
        rating = self._rating
        times = {
            each: _ms(getattr(rating, f"{each}_s"))
            for each in ("follow", "excess", "open", "close", "grace", "stop", "voltage")
        }
        powers = {each: _most(getattr(rating, each)) for each in ("charge_w", "discharge_w")}
        self._forward(inputs.BoardRating(**powers, **{f"{name}_ms": value for name, value in times.items()}))
        if min(rating.charge_ma, rating.discharge_ma) < UNBOUNDED:  # a line has no room for it
            self._forward_limit("rating", now, {"charge_ma": rating.charge_ma, "discharge_ma": rating.discharge_ma})
        for source, bounds in self._sent_limits.items():
            self._forward_limit(source, now, bounds)
        for word in self._faults:
            self._forward(inputs.Fault(word=word, active=True))

    def begin(self, now: float) -> None:
        self._forward(inputs.Begin())
        super().begin(now)

    def forget_paused(self) -> None:
        self._forward(inputs.Forget())
        super().forget_paused()

    def authorise(self, now: float, *, allowed: bool, paused: bool = False) -> None:
        self._forward(inputs.Authorise(allowed=allowed, paused=paused))
        super().authorise(now, allowed=allowed, paused=paused)

    def stop(self, now: float) -> None:
        self._forward(inputs.Stop())
        super().stop(now)

    def fault(self, word: str, now: float, *, active: bool) -> None:
        self._forward(inputs.Fault(word=word, active=active))
        super().fault(word, now, active=active)

    def request(self, request: Request, now: float) -> None:
        if self._board is not None:
            if request.bears is not None:
                self._forward(inputs.Bears(**_output(request.bears)))
            self._forward(
                inputs.Request(
                    phase=None if request.phase is None else request.phase.value,
                    power_ms=_ms(request.power_s),
                    closed_ms=_ms(request.closed_s),
                    ready=request.ready,
                    target_mv=None if request.target_mv is None else _most(request.target_mv),
                    notice_ms=None if request.notice_s is None else _ms(request.notice_s),
                )
            )
        super().request(request, now)

    def limit(self, source: str, now: float, **bounds: Any) -> None:
        self._sent_limits[source] = bounds
        self._forward_limit(source, now, bounds)
        super().limit(source, now, **bounds)

    def _forward_limit(self, source: str, now: float, bounds: Fields) -> None:
        self._forward(
            inputs.Limit(
                source=source,
                charge_w=_most(bounds.get("charge_w", UNBOUNDED)),
                discharge_w=_most(bounds.get("discharge_w", UNBOUNDED)),
                charge_ma=_bounded(bounds.get("charge_ma", UNBOUNDED)),
                discharge_ma=_bounded(bounds.get("discharge_ma", UNBOUNDED)),
                from_ms=_from_now(bounds.get("from_s", 0.0), now),
                until_ms=_from_now(bounds.get("until_s", float("inf")), now),
            )
        )

    def discharge(self, rule: Discharge, now: float) -> None:
        self._forward(inputs.Discharge(rule=rule))
        super().discharge(rule, now)

    def signed(self, power_w: int, until_s: float, now: float) -> None:
        self._forward(inputs.Signed(power_w=_most(power_w), until_ms=_from_now(until_s, now)))
        super().signed(power_w, until_s, now)

    def drive(self, output: Output, now: float) -> Output:
        """See ChargerMonitor. What passes is forwarded."""
        passed = super().drive(output, now)
        if self._board is not None:
            self._forward(inputs.Drive(**_output(passed)))
        return passed

    def measured(self, voltage_mv: int, current_ma: int, now: float) -> None:
        if self._takes(now):
            self._forward(inputs.Measured(voltage_mv=voltage_mv, current_ma=current_ma))
        super().measured(voltage_mv, current_ma, now)

    def drawn(self, power_w: int, now: float, line_ma: tuple[int, int, int] | None = None) -> None:
        if self._takes(now):
            self._forward(inputs.Drawn(power_w, *(line_ma or (None, None, None))))
        super().drawn(power_w, now, line_ma)

    def _takes(self, now: float) -> bool:
        """Return whether there is a board that gets a measurement now; the next one is due `MEASURED_S` later."""
        if self._board is None or now - self._measured_at < MEASURED_S:
            return False
        self._measured_at = now
        return True

    def _forward(self, what: Input) -> None:
        if self._board is not None:
            self._board.tell(what)


def _ms(seconds: float) -> int:
    return round(min(FOREVER_MS, seconds * 1000))


def _from_now(at_s: float, now: float) -> int:
    return round(max(-FOREVER_MS, min(FOREVER_MS, (at_s - now) * 1000)))


def _most(value: int) -> int:
    return max(0, min(UNBOUNDED, value))


def _bounded(value: int) -> int | None:
    """Return a maximum, None for none: a board of an earlier version gets what it knows."""
    return None if value >= UNBOUNDED else _most(value)


def _output(output: Output) -> dict[str, int]:
    return {each: _most(getattr(output, each)) for each in Output.__struct_fields__}
