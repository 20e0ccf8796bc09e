"""Time-variable fees of a grid operator, such as module 3 of § 14a EnWG (R206): three levels by the time of the day and
the quarter of the year. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.grid_signal import SignalSlot
from v2g.energy.settlement.pieces import zone_of
from v2g.units import QUARTER_MS, PositiveDecimals, micro_of

_LEVELS: Final = ("high", "standard", "low")
_PARTS: Final = 96
"""Quarter hours that the clock of a day shows."""
_CLOCK: Final = r"([01][0-9]|2[0-3]):(00|15|30|45)"

Windows = Annotated[tuple[Annotated[str, Meta(pattern=rf"^{_CLOCK}-({_CLOCK}|24:00)\Z")], ...], Meta(max_length=_PARTS)]


class FeeDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A day in some quarters of the year: windows of local time such as `22:00-06:00`, which together cover it."""

    quarters: Annotated[tuple[Annotated[int, Meta(ge=1, le=4)], ...], Meta(min_length=1, max_length=4)]
    """The quarters, such as `[1, 4]`."""
    high: Windows = ()
    """When the high fee applies (HT)."""
    standard: Windows = ()
    """When the standard fee applies (ST)."""
    low: Windows = ()
    """When the low fee applies (NT)."""

    def __post_init__(self) -> None:
        """Refuse windows that leave a time out, and times with two levels."""
        self.levels()

    def levels(self) -> list[str]:
        """Return the level of each quarter hour of the clock. Raises ValueError."""
        found: dict[int, str] = {}
        for level in _LEVELS:
            for window in getattr(self, level):
                begin, end = (int(text[:2]) * 4 + int(text[3:]) // 15 for text in window.split("-"))
                for part in range(begin, end if end > begin else end + _PARTS):
                    if found.setdefault(part % _PARTS, level) != level:
                        raise ValueError(f"{level}: {window} overlaps a window of {found[part % _PARTS]}")
        for part in range(_PARTS):
            if part not in found:
                raise ValueError(f"no window of high, standard or low covers {part // 4:02}:{part % 4 * 15:02}")
        return [found[part] for part in range(_PARTS)]


class GridFees(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fees of the grid operator per kWh, with the taxes that vehicles pay; they are added to prices of all sources."""

    time_zone: Annotated[str, Meta(min_length=1, max_length=64)]
    """IANA time zone of windows and quarters, such as `Europe/Berlin`."""
    high: PositiveDecimals
    """The high fee (HT)."""
    standard: PositiveDecimals
    """The standard fee (ST); all day in quarters of no day."""
    low: PositiveDecimals
    """The low fee (NT)."""
    days: Annotated[tuple[FeeDay, ...], Meta(min_length=1, max_length=4)]
    """When each of them applies."""
    from_export: bool = False
    """Deduct the fee from what a vehicle receives for export, too."""

    def __post_init__(self) -> None:
        """Refuse an unknown time zone, and a quarter with two days."""
        zone_of(self.time_zone)
        quarters = [quarter for day in self.days for quarter in day.quarters]
        if len(set(quarters)) < len(quarters):
            raise ValueError("days: a quarter of the year is named twice")

    def add_to(self, slots: Iterable[SignalSlot], most: int) -> tuple[SignalSlot, ...]:
        """Return slots with the fee in their prices, at most so many: each ends where its fee changes.

        The clock on the wall decides: an hour that it skips has no fee, and one that it shows twice has its fee twice.
        """
        zone = zone_of(self.time_zone)
        fees = {level: micro_of(getattr(self, level)) for level in _LEVELS}
        levels = {quarter: day.levels() for day in self.days for quarter in day.quarters}

        def fee_at(utc_ms: int) -> int:
            there = datetime.fromtimestamp(utc_ms // 1000, zone)
            of_day = levels.get((there.month + 2) // 3)
            return fees[of_day[there.hour * 4 + there.minute // 15] if of_day else "standard"]

        found: list[SignalSlot] = []
        for slot in slots:
            begin = slot.start_ms
            end = begin + slot.duration_s * 1000
            while begin < end and len(found) < most:
                fee, cut = fee_at(begin), begin
                while cut < end and fee_at(cut) == fee:
                    cut = min(end, cut - (cut % QUARTER_MS - QUARTER_MS) // 1000 * 1000)  # whole seconds, as slots have
                found.append(
                    SignalSlot(
                        start_ms=begin,
                        duration_s=(cut - begin) // 1000,
                        import_price=slot.import_price + fee,
                        export_compensation=slot.export_compensation - (fee if self.from_export else 0),
                    )
                )
                begin = cut
        return tuple(found)
