"""Delta and batch: sends changes, as often as the vehicle's mode asks for (R66, R76, R87, R210).

A change of at least its signal's dead band makes a record due at once; smaller ones wait until the oldest is 500 ms old
(`max_age`), and until the mode's `min_interval` after the record before is over. In the mean there are no more records
than one in `min_interval`, but up to `burst` beyond that, `PROMPT_S` apart: a vehicle that moves after a quiet time is
shown moving. Unchanged signals are omitted; after `keyframe_s` all known signals are sent, so that a receiver that lost
something is complete again.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.settlement.checkpoints import Copy
from v2g.rates import Bucket, spend, take
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.signals import LATITUDE, LONGITUDE, SCHEMA_5, SIGNALS, CellSamples, Record, Value

KEYFRAME_S: Final = 60.0

PROMPT_S: Final = 0.05
"""Least interval of records, of commits to disk and of deliveries for changes of the dead band or more, where the rate
of the mode is lower."""

_LEAST_S: Final = 0.001

BURST: Final = 1000
"""Records, and deliveries, that may be sent beyond their mean rate."""

_SET_BACK_MS: Final = 1000
"""A time that is earlier by more means that the clock was set."""

CONTEXT_S: Final = 2.0
"""How long the first records wait for the vehicle's context: until it is known they could only say `parked`."""

DRIVING: Final = frozenset({"city", "highway"})


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often records are made in one mode of the vehicle, s."""

    min_interval: Annotated[float, Meta(ge=0, le=60, description="minimum interval of records, s")] = 0.5
    max_age: Annotated[float, Meta(ge=0, le=60, description="how long a change below the dead band waits, s")] = 0.5


class Bands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates of records by mode."""

    parked: Annotated[Band, Meta(description="at rest")] = Band(1.0)
    driving: Annotated[Band, Meta(description="city and highway")] = Band(0.5)
    charging: Annotated[Band, Meta(description="charging and discharging below `fast_w`")] = Band(0.5)
    fast_charging: Annotated[Band, Meta(description="the same from `fast_w` on")] = Band(0.02, max_age=0.05)
    fast_w: Annotated[float, Meta(ge=0, le=10**7, description="charging power at which fast charging begins, W")] = (
        22_000.0
    )

    burst: Annotated[
        int,
        Meta(
            ge=0, le=100_000, description="records, and deliveries, for changes beyond dead bands above the mean rate"
        ),
    ] = BURST

    def of(self, context: str, power_w: float) -> Band:
        """Return the band of a context and charging power."""
        if context == "parked":
            return self.parked
        if context not in ("charging", "discharging"):
            return self.driving
        return self.fast_charging if abs(power_w) >= self.fast_w else self.charging


class Batcher:
    """Collects samples and determines when a record is due. `now` is monotonic seconds, `utc_ms` stamps the record."""

    def __init__(
        self,
        ev: str,
        boot: int,
        *,
        dead_bands: Mapping[str, float] | None = None,
        keyframe_s: float = KEYFRAME_S,
        bands: Bands = Bands(),  # noqa: B008 - it is immutable
        awaits_context: bool = False,
    ) -> None:
        """`dead_bands`: of some signals, in their units; others have those of the registry. `awaits_context`: the
        vehicle reports its context, for which the first records wait."""
        self._ev, self._boot, self._seq = ev, boot, 0
        self._keyframe_s, self._bands = keyframe_s, bands
        self._dead_bands = {name: each.dead_band for name, each in SIGNALS.items()} | dict(dead_bands or {})
        self._state: dict[str, float] = {}
        self._sent: dict[str, float] = {}
        self._changed: set[str] = set()
        self._due: float | None = None
        self._at_once = False
        self._prompt_at: float | None = None
        """When a record with a change of its dead band is due, if the rate has room for it."""
        self._bucket: Bucket | None = None
        self.prompt = False
        """Whether the record made last was due at once."""
        self._last_flush = self._last_keyframe = float("-inf")
        self._utc_ms = 0
        self._trips = 0
        self.context = "parked"
        self.least_s = 0.0
        """Minimum interval of records whatever the mode: above 0 while the processor is hot (R130)."""
        self._awaits_context = awaits_context
        self._values_by = self._reports_by = float("-inf")

    @property
    def _band(self) -> Band:
        return self._bands.of(self.context, self._state.get("charging.power", self._state.get("battery.power", 0.0)))

    def offer(self, values: Mapping[str, float], now: float, utc_ms: int, context: str | None = None) -> None:
        """Add new values, at `now`, measured at `utc_ms`. A new context flushes at once."""
        self._stamp(utc_ms)
        if self._awaits_context and not self._state:
            self._values_by = now + CONTEXT_S
        self._awaits_context &= context is None
        if context is not None and context != self.context:
            self._trips += context in DRIVING and self.context not in DRIVING
            self.context = context
            self._due, self._at_once = now, True
        for name, value in values.items():
            self._state[name] = value
            if value == self._sent.get(name):
                self._changed.discard(name)  # changed and returned: the receiver's state is already right
                continue
            self._changed.add(name)
            step = self._is_step(name, value)
            self._let(now if step else now + self._band.max_age)
            if (
                step
                and self._prompt_at is None
                and take(self._bucket, now, per_s=self._per_s, burst=self._bands.burst)[1] == 0
            ):
                self._prompt_at = max(now, self._last_flush + min(PROMPT_S, self._band.min_interval))
        if self._state:
            self._let(self._last_keyframe + self._keyframe_s)

    def _stamp(self, utc_ms: int) -> None:
        """Keep the newest time, unless the clock was set back: else all records would have its former time."""
        if utc_ms > self._utc_ms or utc_ms < self._utc_ms - _SET_BACK_MS:
            self._utc_ms = utc_ms

    def _let(self, due: float) -> None:
        self._due = due if self._due is None else min(self._due, due)

    def _is_step(self, name: str, value: float) -> bool:
        sent = self._sent.get(name)
        if sent is None:
            return True
        if SIGNALS[name].derived:
            return False
        change = abs(value - sent)
        if name in (LATITUDE, LONGITUDE):
            # the way from the position that was sent last to the one with a new coordinate, degrees of a circle
            there = {each: self._state.get(each, 0.0) - self._sent.get(each, 0.0) for each in (LATITUDE, LONGITUDE)}
            latitude = value if name == LATITUDE else self._state.get(LATITUDE, 0.0)
            east = (there[LONGITUDE] + 180) % 360 - 180
            change = math.hypot(there[LATITUDE], east * math.cos(math.radians(latitude)))
        return change > self._dead_bands[name] - SIGNALS[name].resolution / 2

    @property
    def _per_s(self) -> float:
        return 1 / max(self._band.min_interval, _LEAST_S)

    def deadline(self) -> float | None:
        """Return when `flush` is due (s, monotonic), or None while nothing is pending."""
        if self._due is None or self._at_once:
            return self._due
        due = max(self._due, self._last_flush + max(self._band.min_interval, self.least_s))
        if self._prompt_at is not None and not self.least_s:
            due = min(due, self._prompt_at)
        return max(due, self._values_by) if self._awaits_context else due

    def reports_due(self, now: float) -> float:
        """Return when a report that waits at `now` may become a record (s, monotonic)."""
        if not self._awaits_context:
            return now
        if self._reports_by == float("-inf"):
            self._reports_by = now + CONTEXT_S
        return self._reports_by

    def flush(self, now: float, *, all_changes: bool = False) -> Record | None:
        """Return the record that is due at `now`, or None; with `all_changes` one of them, due or not."""
        deadline = now if all_changes and (self._changed or self._at_once) else self.deadline()
        if deadline is None or now < deadline:
            if all_changes:
                self._due = None  # of a full record, which comes with later values
            return None
        self.prompt = self._at_once or (self._prompt_at is not None and now >= self._prompt_at)
        self._bucket = spend(self._bucket, now, per_s=self._per_s, burst=self._bands.burst)
        self._due, self._at_once, self._prompt_at = None, False, None
        keyframe = bool(self._state) and now >= self._last_keyframe + self._keyframe_s
        self._last_flush = now
        if keyframe:
            self._last_keyframe = now
        names = self._state if keyframe else self._changed
        signals = {name: self._state[name] for name in sorted(names)}
        self._sent.update(signals)
        self._changed.clear()
        return self._record(keyframe=keyframe, signals=dict(signals))

    def begin(self, boot: int) -> None:
        """Begin a boot: numbers from 1 again, and a keyframe first."""
        self._boot, self._seq = boot, 0
        self._last_keyframe = float("-inf")

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Forget all other signals: they are in no later record."""
        self.forget([name for name in self._state if not wanted(name)])

    def forget(self, names: Iterable[str]) -> None:
        """Forget signals that have no value any more: no later record has them until they have one again."""
        for name in names:
            self._state.pop(name, None)
            self._sent.pop(name, None)
            self._changed.discard(name)

    def checkpoint(self, copy: Copy, utc_ms: int) -> Record:
        """Return a record of its own for a checkpoint, at once."""
        self._stamp(utc_ms)
        return msgspec.structs.replace(self._record(), checkpoint=copy)

    def event(self, event: LocalEvent, utc_ms: int) -> Record:
        """Return a record of its own for an event of a program beside the gateway, at once."""
        self._stamp(utc_ms)
        return msgspec.structs.replace(self._record(), event=event)

    def cells(self, samples: CellSamples, utc_ms: int) -> Record:
        """Return a record of its own for samples of single cells."""
        self._stamp(utc_ms)
        return msgspec.structs.replace(self._record(), cells=samples)

    def finding(self, event: LocalEvent, now: float) -> Record:
        """Return a record of its own for what was found in the values offered last, with all values, at once."""
        self._stamp(event.utc_ms)
        self._due, self._at_once, self._prompt_at = None, False, None
        self._last_flush = self._last_keyframe = now
        self._sent = dict(self._state)
        self._changed.clear()
        signals: dict[str, Value] = {name: self._state[name] for name in sorted(self._state)}
        return msgspec.structs.replace(self._record(keyframe=True, signals=signals), event=event)

    def _tag(self, name: str) -> float | None:
        value = self._state.get(name)
        return None if value is None else float(value)

    def _record(self, *, keyframe: bool = False, signals: dict[str, Value] | None = None) -> Record:
        self._seq += 1
        return Record(
            ev=self._ev,
            boot=self._boot,
            seq=self._seq,
            utc_ms=self._utc_ms,
            context=self.context,
            keyframe=keyframe,
            signals=signals or {},
            schema=SCHEMA_5,
            trip=f"{self._boot}-{self._trips}",
            ambient_c=self._tag("ambient.temperature"),
            charging_w=self._tag("charging.power"),
        )
