"""The data collector: an EVSE's measurands at a high rate, for the DataCollectorLog (N01, 2.1).

Samples are in memory only, to spare the flash: a restart loses them, and the newest replace the oldest.
"""

from collections import deque
from functools import partial
from typing import Final

from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.provisioning import SetVariableStatus
from v2g.ocpp.times import format_time, parse_time
from v2g_station.blocks.transaction_records import meter_value
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import status_info
from v2g_station.kernel.layout import Variable

COMPONENT: Final = "DataCollector"
MAX_LINES: Final = 50_000
FASTEST_S: Final = 0.1
HEADER: Final = "timestamp,evseId,measurand,value,unit"


class DataCollector(FunctionalBlock):
    """The collectors of all EVSEs. `read` returns a meter sample."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._numbers = [number for number in self._evses if self._k.model.has(f"{COMPONENT}#{number}.Enabled")]
        self._lines: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)
        self._due: dict[int, float] = {}
        self._k.model.component_checks[COMPONENT] = _check
        self._k.model.component_after[COMPONENT] = self._changed
        self._k.on_clock_set.append(lambda _: self.start())

    def start(self) -> None:
        """Start the enabled collectors."""
        for number in self._numbers:
            self._plan(number)

    def log(self, oldest: str | None, latest: str | None) -> tuple[str, ...] | None:
        """Return the samples of a period as CSV lines, None if no collector is enabled (N01.FR.05, .24)."""
        if not self._numbers or not (self._lines or any(self._flag(number) for number in self._numbers)):
            return None
        begin = parse_time(oldest) if oldest else 0
        end = parse_time(latest) if latest else self._k.utc_ms
        return (HEADER, *(line for at, line in self._lines if begin <= at <= end))

    # -- collection

    def _flag(self, number: int) -> bool:
        return self._k.model.flag(f"{COMPONENT}#{number}.Enabled")

    def _changed(self, variable: Variable) -> None:
        if variable.evse is not None:
            self._due.pop(variable.evse.id, None)
            self._plan(variable.evse.id)

    def _plan(self, number: int) -> None:
        """Schedule the next sample, or the start of the collection."""
        name = f"collect.{number}"
        self._k.cancel(name)
        if not self._flag(number):
            return
        begin = self._time(number, "Start")
        if begin is not None and self._k.utc_ms < begin:
            self._k.at_utc(name, begin, partial(self._plan, number))
        elif not self._over(number):
            due = self._due.setdefault(number, self._k.now)
            self._k.after(name, due - self._k.now, partial(self._collect, number))

    def _time(self, number: int, which: str) -> int | None:
        text = self._k.model.text(f"{COMPONENT}#{number}.DateTime[{which}]")
        return parse_time(text) if text else None

    def _over(self, number: int) -> bool:
        end = self._time(number, "End")
        return end is not None and self._k.utc_ms >= end

    def _collect(self, number: int) -> None:
        if self._over(number):
            return
        interval = max(FASTEST_S, self._k.model.number(f"{COMPONENT}#{number}.SamplingInterval"))
        self._due[number] = max(self._due.get(number, 0.0), self._k.now - interval) + interval
        wanted = frozenset(self._k.model.members(f"{COMPONENT}#{number}.SampledMeasurands"))
        sample = self._read(number)
        if sample is not None and wanted:
            time = format_time(sample.utc_ms)
            for value in meter_value(sample, "Other", wanted, signed=False).sampled_value:
                if value.measurand in wanted:
                    unit = value.unit_of_measure.unit if value.unit_of_measure is not None else "Wh"
                    line = f"{time},{number},{value.measurand},{value.value},{unit}"
                    self._lines.append((sample.utc_ms, line))
        self._plan(number)


def _check(variable: Variable, value: str) -> StatusInfo | SetVariableStatus | None:
    too_fast = variable.name == "SamplingInterval" and float(value) < FASTEST_S
    return status_info("ValueTooLow", f"{FASTEST_S} s") if too_fast else None
