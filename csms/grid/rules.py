"""How the signals of several grid sources become one: the lowest limit applies, and the first source that has a price.

A source (OpenADR VTN, price feed, IEEE 2030.5 server, SCADA system) states only what it knows.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.grid_fees import GridFees
from v2g.energy.grid_signal import ALL, ConnectionPoint, Direction, GridLimit, GridSignal, SignalSlot
from v2g.energy.limits import Watts
from v2g.units import DAY_MS, HOUR_MS, decimals_of

SITE: Final = "site"
"""The source of limits of the configuration."""

_MOST_SLOTS: Final = 3000  # of a grid signal
_SAFE: Final = "the safe state applies"
"""The end of a problem: what replaced a source that is lost."""


class SourceSignal(msgspec.Struct, frozen=True, kw_only=True):
    """What one source states; None and no slots: nothing.

    No export from `export_until_ms` (UTC) on. `setpoint_w` (W, positive into the vehicles) applies until
    `setpoint_until_ms`. `problem` says why it states less than it should.
    `emergency_until_ms`: until when the grid is in an emergency, which postpones updates of firmware.
    `connection_point`: where its limits and set-point hold, if not where those of the site do.
    """

    source: Annotated[str, Meta(min_length=1, max_length=64)]
    slots: tuple[SignalSlot, ...] = ()
    import_limit_w: Watts | None = None
    export_limit_w: Watts | None = None
    export_until_ms: int | None = None
    setpoint_w: int | None = None
    setpoint_until_ms: int = 0
    problem: str = ""
    emergency_until_ms: int = 0
    connection_point: ConnectionPoint | None = None

    def abandoned(self, safe_w: tuple[int, int], reason: str) -> "SourceSignal":
        """Return what holds once nobody writes any more, for a reason: limits of import and export that are safe, W, or
        lower ones that were written. Which of them is part of its problem."""
        instead, ways = _SAFE, zip(safe_w, (self.import_limit_w, self.export_limit_w), strict=True)
        if not self.problem.endswith(_SAFE) and any(written is not None and written < safe for safe, written in ways):
            instead = "a lower written limit stays"
            safe_w = _least(safe_w[0], self.import_limit_w), _least(safe_w[1], self.export_limit_w)
        return SourceSignal(
            source=self.source,
            import_limit_w=safe_w[0],
            export_limit_w=safe_w[1],
            problem=f"{reason}: {instead}",
            connection_point=self.connection_point,
        )

    def own_limits(self, now_ms: int) -> tuple[GridLimit, ...]:
        """Return its limits at a connection point of its own; none without one."""
        if self.connection_point is None:
            return ()
        ended = self.export_until_ms is not None and self.export_until_ms <= now_ms
        given: tuple[tuple[Direction, int | None], ...] = (
            ("import", self.import_limit_w),
            ("export", 0 if ended else self.export_limit_w),
        )
        return tuple(
            GridLimit(connection_point=self.connection_point, direction=way, limit_w=limit_w, source=self.source)
            for way, limit_w in given
            if limit_w is not None
        )


def _least(safe_w: int, written_w: int | None) -> int:
    return safe_w if written_w is None else min(safe_w, written_w)


class PriceBounds(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest and highest price that is accepted, micro-units per kWh."""

    least: int
    most: int

    def refusal(self, slots: Iterable[SignalSlot]) -> str:
        """Return which price is beyond them, empty if none is."""
        for slot in slots:
            for price in (slot.import_price, slot.export_compensation):
                if not self.least <= price <= self.most:
                    return (
                        f"the price {decimals_of(price)} per kWh is not within grid.least_price and grid.most_price,"
                        f" {decimals_of(self.least)} to {decimals_of(self.most)}"
                    )
        return ""


WIDE: Final = PriceBounds(least=-20_000_000, most=20_000_000)
"""What the configuration begins with."""


class SiteLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The site's own limits (W) and currency, its connection point, its grid fees, and its sources; the first one's
    prices come first."""

    currency: str
    import_limit_w: int
    export_limit_w: int
    connection_point: ConnectionPoint = ALL
    fees: GridFees | None = None
    sources: tuple[str, ...]


class Governing(msgspec.Struct, frozen=True, kw_only=True):
    """The sources whose limits are the lowest."""

    import_source: str
    export_source: str


def governing(site: SiteLimits, signals: Sequence[SourceSignal], now_ms: int) -> Governing:
    """Return which source sets each limit; the site itself where no source has a lower one."""
    imports = [(site.import_limit_w, 0, SITE)]
    exports = [(site.export_limit_w, 0, SITE)]
    for rank, each in enumerate(signals, 1):
        if each.connection_point is not None:
            continue
        if each.import_limit_w is not None:
            imports.append((each.import_limit_w, rank, each.source))
        if each.export_until_ms is not None and each.export_until_ms <= now_ms:
            exports.append((0, rank, each.source))
        elif each.export_limit_w is not None:
            exports.append((each.export_limit_w, rank, each.source))
    return Governing(import_source=min(imports)[2], export_source=min(exports)[2])


def combine(
    site: SiteLimits, signals: Sequence[SourceSignal], current: GridSignal | None, now_ms: int
) -> GridSignal | None:
    """Return the signal that follows from all sources; None if the one in force goes on.

    Only changes make a new version: a validity is extended when less than half of it remains. A lost source with a
    connection point of its own ends export there only, once what stations were sent before has run out.
    """
    ordered = sorted(signals, key=lambda each: site.sources.index(each.source))
    wide = [each for each in ordered if each.connection_point is None]
    untils = [
        each.export_until_ms
        for each in ordered
        if each.export_until_ms is not None and (each.connection_point is None or now_ms < each.export_until_ms)
    ]
    valid_until_ms = max(1, min(untils, default=now_ms + DAY_MS))
    names = ",".join(each.source for each in ordered) or SITE
    slots = _overlay([each.slots for each in ordered], now_ms - now_ms % HOUR_MS)
    following = GridSignal(
        version=0 if current is None else current.version + 1,
        issued_at_ms=min(now_ms, valid_until_ms - 1),
        source=names[:64],
        currency=site.currency,
        slots=slots if site.fees is None else site.fees.add_to(slots, _MOST_SLOTS),  # R206
        site_import_limit_w=min(
            [site.import_limit_w, *(each.import_limit_w for each in wide if each.import_limit_w is not None)]
        ),
        export_limit_w=min(
            [site.export_limit_w, *(each.export_limit_w for each in wide if each.export_limit_w is not None)]
        ),
        valid_until_ms=valid_until_ms,
        connection_point=site.connection_point,
        limits=tuple(limit for each in ordered for limit in each.own_limits(now_ms)),
    )
    return None if current is not None and _goes_on(current, following, now_ms) else following


def _goes_on(current: GridSignal, following: GridSignal, now_ms: int) -> bool:
    """Return whether a signal has no changes except a validity that need not be extended yet."""
    same = msgspec.structs.replace(
        current, version=following.version, issued_at_ms=following.issued_at_ms, valid_until_ms=following.valid_until_ms
    )
    if same != following or current.valid_until_ms > following.valid_until_ms:
        return False
    left_ms = current.valid_until_ms - now_ms
    return current.valid_until_ms == following.valid_until_ms or 2 * left_ms > following.valid_until_ms - now_ms


def _overlay(series: Sequence[Sequence[SignalSlot]], from_ms: int) -> tuple[SignalSlot, ...]:
    """Return the prices from an hour on: at each time those of the first series that has one."""
    lanes = [[(s.start_ms, s.start_ms + s.duration_s * 1000, s) for s in slots] for slots in series]
    cuts = sorted({edge for lane in lanes for start, end, _ in lane for edge in (start, end)})
    places = [0] * len(lanes)
    found: list[SignalSlot] = []
    for start, end in itertools.pairwise(cuts):
        if end <= from_ms:
            continue
        for number, lane in enumerate(lanes):
            while places[number] < len(lane) and lane[places[number]][1] <= start:
                places[number] += 1
            if places[number] < len(lane) and lane[places[number]][0] <= start:
                _append(found, start, end, lane[places[number]][2])
                break
    return tuple(found[:_MOST_SLOTS])


def _append(found: list[SignalSlot], start_ms: int, end_ms: int, slot: SignalSlot) -> None:
    """Add a part of a slot; one that continues the last part extends it."""
    if end_ms - start_ms < 1000:
        return
    last = found[-1] if found else None
    prices = slot.import_price, slot.export_compensation
    if (
        last is not None
        and last.start_ms + last.duration_s * 1000 == start_ms
        and slot.start_ms <= last.start_ms
        and (last.import_price, last.export_compensation) == prices
    ):
        start_ms = found.pop().start_ms
    found.append(
        SignalSlot(
            start_ms=start_ms,
            duration_s=(end_ms - start_ms) // 1000,
            import_price=prices[0],
            export_compensation=prices[1],
        )
    )
