"""Simulated vehicles of commuters: they drive to work and back, feed back in the evening, and charge at night.

Their telemetry is what their batteries and schedules say; it reaches the back end by the gateway's own code (records,
outbox, delivery), also after an hour without a connection on the way. Each is always the same for one seed.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from evcc.hardware.pack import PackConfig, SensedPack
from evcc.policy.battery import Battery, BatteryConfig
from v2g.errors import TransportError
from v2g.io.runtime.supervision import wait_at_most
from v2g.io.storage.outbox import Outbox, OutboxEntry
from v2g.telemetry.batch import Band, Bands, Batcher
from v2g.telemetry.cells import with_imbalance
from v2g.telemetry.mapping import normalised
from v2g.telemetry.priority import Prioritiser
from v2g.telemetry.signals import Record, encode_record
from v2g.units import DAY_MS, HOUR_MS
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.uplink import OnMarks, Uplink

_CITY: Final = (48.137, 11.575)
"""Work is around here, degrees north and east."""

_BANDS: Final = Bands(
    parked=Band(60.0, max_age=60.0),
    driving=Band(10.0, max_age=10.0),
    charging=Band(60.0, max_age=60.0),
    fast_charging=Band(10.0, max_age=10.0),
)
_DRAIN_S: Final = 60.0
_TURN_S: Final = 0.05
"""Real interval of the simulation."""


class Commuter:
    """One vehicle: `advance` to a time, and read what its gateway would read then. Times are ms since 1970, UTC."""

    def __init__(self, seed: int, begin_ms: int, weak_mv: float = 0.0) -> None:
        """`weak_mv`: by which its first cell is below the others."""
        chance = random.Random(seed)  # noqa: S311 - a simulation
        self._home = tuple(place + chance.uniform(-0.25, 0.25) for place in _CITY)
        self._work = tuple(place + chance.uniform(-0.05, 0.05) for place in _CITY)
        minutes = {
            "leaves": chance.uniform(6.5, 8.5), "returns": chance.uniform(15.5, 17.5), "way": chance.uniform(0.4, 1.0)
        }  # fmt: skip
        self._leaves, self._returns, self._way = (round(each * HOUR_MS) for each in minutes.values())
        self._charger_w = chance.choice((7_400, 11_000, 22_000))
        self._bidirectional = chance.random() < 0.6
        self._target = chance.uniform(75, 95)
        ambient = chance.uniform(5, 15)
        config = BatteryConfig(
            capacity_wh=chance.choice((42_000, 60_000, 77_000)), soc=chance.uniform(45, 70), ambient_c=ambient,
            temperature_c=ambient + 5,
        )  # fmt: skip
        if 2 * HOUR_MS <= begin_ms % DAY_MS < self._leaves + self._way:  # it has charged at night
            config = msgspec.structs.replace(config, soc=self._target)
        self._config, self._battery = config, Battery(config, at_ms=begin_ms)
        self._pack = SensedPack(
            PackConfig(seed=seed, health_percent=chance.uniform(88, 99), weak_mv=weak_mv), ambient_c=ambient
        )

    def lost(self, at_ms: int) -> bool:
        """Return whether the vehicle has no connection: on the way home, and half an hour after."""
        return self._returns <= at_ms % DAY_MS < self._returns + self._way + HOUR_MS // 2

    def advance(self, at_ms: int) -> tuple[dict[str, float], str]:
        """Return the signals at a time, and the drive-cycle context."""
        context, power_w, share, speed = self._doing(at_ms)
        state = self._battery.state
        amps = power_w / (state.voltage_mv / 1000)
        amps = max(-state.max_discharge_ma / 1000, min(state.max_charge_ma / 1000, amps))
        self._battery.advance(at_ms, round(amps * 1000))
        state = self._battery.state
        measured = self._pack.measure(state, self._config.resistance_ohm)
        power = state.voltage_mv * state.current_ma / 1_000_000
        latitude, longitude = (a + (b - a) * share for a, b in zip(self._home, self._work, strict=True))
        values = {
            "battery.soc": state.soc,
            "battery.soh": measured.health_percent,
            "battery.voltage": state.voltage_mv / 1000,
            "battery.current": state.current_ma / 1000,
            "battery.power": power,
            "battery.temperature.min": min(measured.temperatures_c),
            "battery.temperature.max": max(measured.temperatures_c),
            "battery.cell_voltage.min": min(measured.cells_v),
            "battery.cell_voltage.max": max(measured.cells_v),
            "battery.energy.charged": state.charged_mwh // 1000,
            "battery.energy.discharged": state.discharged_mwh // 1000,
            "charging.power": power if context in ("charging", "discharging") else 0.0,
            "ambient.temperature": self._config.ambient_c,
            "motor.speed": speed,
            "location.latitude": latitude,
            "location.longitude": longitude,
        }
        return with_imbalance(normalised(values)), context

    def _doing(self, at_ms: int) -> tuple[str, float, float, float]:
        """Return context, battery power (W), share of the way to work, and motor speed (rpm)."""
        clock, soc = at_ms % DAY_MS, self._battery.state.soc
        for begin, towards in ((self._leaves, True), (self._returns, False)):
            if begin <= clock < begin + self._way:
                gone = (clock - begin) / self._way
                fast = 0.25 < gone < 0.75
                share = gone if towards else 1 - gone
                return ("highway", -18_000, share, 9000) if fast else ("city", -7_000, share, 3500)
        if self._leaves <= clock < self._returns:
            return "parked", 0.0, 1.0, 0.0
        evening = self._returns + self._way <= clock < 21 * HOUR_MS
        if evening and self._bidirectional and soc > 40:
            return "discharging", -min(self._charger_w, 10_000), 0.0, 0.0
        if (clock >= 23 * HOUR_MS or clock < 5 * HOUR_MS) and soc < self._target:
            return "charging", self._charger_w, 0.0, 0.0
        return "parked", 0.0, 0.0, 0.0


class Reception:
    """An uplink that fails while `lost` says so: see `v2g_gateway.uplink.Uplink`."""

    parallel, low_rate = 1, False

    def __init__(self, uplink: Uplink, lost: Callable[[], bool]) -> None:
        self._uplink, self._lost = uplink, lost
        self.name = uplink.name

    @property
    def max_bytes(self) -> int:
        return self._uplink.max_bytes

    def start(self) -> None:
        self._uplink.start()

    async def ready(self) -> None:
        if self._lost():
            await asyncio.sleep(_TURN_S)
            raise TransportError("no reception")
        await self._uplink.ready()

    async def send(self, delivery: bytes) -> None:
        await self.ready()
        await self._uplink.send(delivery)

    def poll(self) -> None:
        self._uplink.poll()

    async def close(self) -> None:
        await self._uplink.close()


class CommutersConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`count` vehicles named `prefix` and a number; `hours` of theirs until `end_ms` pass at `speed`, in `step_s`."""

    folder: Path
    """Where their outboxes are."""
    end_ms: int
    count: int = 10
    prefix: str = "EV-"
    hours: float = 24.0
    speed: float = 3600.0
    step_s: float = 10.0
    seed: int = 1
    weak_mv: float = 0.0
    """By which the first cell of the first vehicle is below the others."""


class Progress(msgspec.Struct):
    """Simulated time (ms since 1970, UTC), and records made and stored by the back end so far."""

    at_ms: int
    made: int = 0
    stored: int = 0


class Commuters:
    """The fleet: `run` it once."""

    def __init__(self, config: CommutersConfig, uplink: Callable[[OnMarks], Uplink]) -> None:
        """`uplink` makes the uplink of a vehicle, which is called with the back end's marks."""
        self.config, self._uplink = config, uplink
        self._begin_ms = config.end_ms - round(config.hours * HOUR_MS)
        self.progress = Progress(self._begin_ms)

    async def run(self, look: Callable[[Progress], None]) -> Progress:
        """Simulate, deliver what remains (all have a connection then; at most a minute), and return the counts.

        Raises StoreError.
        """
        config = self.config
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            fleet = [await self._vehicle(number, stack, group) for number in range(1, config.count + 1)]
            loop = asyncio.get_running_loop()
            began = loop.time()
            while self.progress.at_ms < config.end_ms:
                await asyncio.sleep(_TURN_S)
                passed_ms = round((loop.time() - began) * config.speed * 1000)
                until_ms = min(config.end_ms, self._begin_ms + passed_ms)
                for each in fleet:
                    self.progress.made += await each.advance(until_ms)
                self.progress.at_ms = until_ms
                self._count(fleet, look)
            await wait_at_most(_DRAIN_S, asyncio.gather(*(each.delivery.drain() for each in fleet)))
            self._count(fleet, look)
            await stack.aclose()
        return self.progress

    def _count(self, fleet: "Sequence[_Sender]", look: Callable[[Progress], None]) -> None:
        self.progress.stored = sum(each.delivery.stored for each in fleet)
        look(self.progress)

    async def _vehicle(self, number: int, stack: contextlib.AsyncExitStack, group: asyncio.TaskGroup) -> "_Sender":
        """Start a vehicle and its delivery."""
        config, ev = self.config, f"{self.config.prefix}{number}"
        box = await Outbox.open(config.folder / f"{ev}.sqlite3", ev, self._begin_ms // 1000)
        stack.push_async_callback(box.close)
        vehicle = Commuter(config.seed * 1_000_003 + number, self._begin_ms, config.weak_mv if number == 1 else 0.0)
        delivery = UplinkDelivery(ev, box, lambda _event: None)
        uplink = Reception(
            self._uplink(delivery.on_marks),
            lambda: self.progress.at_ms < config.end_ms and vehicle.lost(self.progress.at_ms),
        )
        stack.push_async_callback(uplink.close)
        uplink.start()
        stack.callback(group.create_task(delivery.run(uplink), name=f"telemetry of {ev}").cancel)
        return _Sender(ev, vehicle, box, delivery, self._begin_ms, config.step_s)


class _Sender:
    """A vehicle whose records go to its outbox."""

    def __init__(
        self, ev: str, vehicle: Commuter, box: Outbox, delivery: UplinkDelivery, begin_ms: int, step_s: float
    ) -> None:
        self.delivery = delivery
        self._vehicle, self._box, self._at_ms, self._step_ms = vehicle, box, begin_ms, round(step_s * 1000)
        self._batcher, self._priorities = Batcher(ev, box.boot, bands=_BANDS, keyframe_s=900.0), Prioritiser()

    async def advance(self, until_ms: int) -> int:
        """Go on to a time, and return how many records were made. Raises StoreError."""
        made = [
            OutboxEntry(each.seq, encode_record(each), self._priorities.priority(each), each.utc_ms)
            for each in self._records(until_ms)
        ]
        if made:
            await self._box.put_all(made)
            self.delivery.wake()
        return len(made)

    def _records(self, until_ms: int) -> Iterator[Record]:
        while self._at_ms + self._step_ms <= until_ms:
            self._at_ms += self._step_ms
            values, context = self._vehicle.advance(self._at_ms)
            self._batcher.offer(values, self._at_ms / 1000, self._at_ms, context)
            if (due := self._batcher.flush(self._at_ms / 1000)) is not None:
                yield due
