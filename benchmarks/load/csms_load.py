"""Load on a CSMS: thousands of stations per process; responses are counted, with their latency."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from v2g.errors import TransportError
from v2g.ocpp.times import format_time
from v2g_testkit.ocpp.minimal_client import MinimalClient, frame, upgrade

__all__ = [
    "BOOT", "BOOT_16", "HEARTBEAT", "OF_16", "START_16", "STATUS", "Load", "Station", "connect", "event", "frame",
    "run", "upgrade_of", "values_16",
]  # fmt: skip

_NUMBER: Final = re.compile(rb'"transactionId":(\d+)')
TRANSACTIONS: Final[dict[str, int]] = {}
"""Station of 1.6 -> the number of its transaction."""

_TIME = "2026-01-01T00:00:00Z"


def _now() -> str:
    """Return the time, as stations say it that have been connected all the time."""
    return format_time(int(time.time()) * 1000)


OF_16 = "16-"
"""How the names of stations of 1.6 begin."""


def upgrade_of(name: str) -> bytes:
    """Return the request that opens a station's connection."""
    return upgrade("ws://127.0.0.1/ocpp", name, "1.6" if name.startswith(OF_16) else "2.1")


BOOT = frame('[2,"b","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]')
STATUS = frame(
    f'[2,"s","StatusNotification",{{"timestamp":"{_TIME}","connectorStatus":"Available","evseId":1,"connectorId":1}}]'
)
HEARTBEAT = frame('[2,"h","Heartbeat",{}]')


BOOT_16 = frame('[2,"b","BootNotification",{"chargePointModel":"M","chargePointVendor":"V"}]')
START_16 = frame(
    f'[2,"t","StartTransaction",{{"connectorId":1,"idTag":"CARD","meterStart":1000,"timestamp":"{_TIME}"}}]'
)


def values_16(name: str, number: int) -> bytes:
    """Return the frame of values of a transaction of 1.6: the same as in an event of 2.x, about 500 octets."""
    values = ",".join(
        f'{{"value":"{value}","context":"Sample.Periodic","measurand":"{measurand}","unit":"{unit}"}}'
        for measurand, value, unit in (
            ("Energy.Active.Import.Register", 1000 + number, "Wh"),
            ("Power.Active.Import", 11000, "W"),
            ("Current.Import", 16.1, "A"),
            ("Voltage", 230.4, "V"),
        )
    )
    return frame(
        f'[2,"{number}","MeterValues",{{"connectorId":1,"transactionId":{TRANSACTIONS.get(name, 1)},'
        f'"meterValue":[{{"timestamp":"{_now()}","sampledValue":[{values}]}}]}}]'
    )


def event(name: str, seq_no: int) -> bytes:
    """Return the frame of a transaction event: four values, about 700 octets."""
    at = _now()
    kind, trigger = ("Started", "CablePluggedIn") if seq_no == 0 else ("Updated", "MeterValuePeriodic")
    values = ",".join(
        f'{{"value":{value},"context":"Sample.Periodic","measurand":"{measurand}","unitOfMeasure":{{"unit":"{unit}"}}}}'
        for measurand, value, unit in (
            ("Energy.Active.Import.Register", 1000 + seq_no, "Wh"),
            ("Power.Active.Import", 11000, "W"),
            ("Current.Import", 16.1, "A"),
            ("Voltage", 230.4, "V"),
        )
    )
    return frame(
        f'[2,"{seq_no}","TransactionEvent",{{"eventType":"{kind}","timestamp":"{at}","triggerReason":"{trigger}",'
        f'"seqNo":{seq_no},"transactionInfo":{{"transactionId":"T-{name}","chargingState":"Charging"}},'
        f'"evse":{{"id":1,"connectorId":1}},"meterValue":[{{"timestamp":"{at}","sampledValue":[{values}]}}]}}]'
    )


class Station(MinimalClient):
    """One connection: sends the `frames`, each after the response to the previous one."""

    def __init__(self, name: str, frames: Iterator[bytes], answered: Callable[[float], None]) -> None:
        super().__init__(upgrade_of(name), self._answered)
        self.name = name
        self.frames = frames
        self.answered = answered
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refused = 0
        self._sent_at = 0.0
        self._interval = 0.0

    def again(self, frames: Iterator[bytes], interval: float = 0.0) -> None:
        """Switch to other frames: one every `interval` s, with latency measured from its due time."""
        self.frames = frames
        self._interval = interval
        self.done = asyncio.get_running_loop().create_future()

    def start(self, after: float = 0.0) -> None:
        """Start sending."""
        if self._interval:
            self._sent_at = time.perf_counter() + after - self._interval
        self._next()

    def _answered(self, text: bytes) -> None:
        head = text[:3]
        if head == b"[2,":
            identifier = text[4:].partition(b'"')[0].decode()
            self.transport.write(frame(f'[3,"{identifier}",{{"status":"NotSupported"}}]'))
        elif head == b"[3,":
            if self.name.startswith(OF_16) and (number := _NUMBER.search(text)):
                TRANSACTIONS[self.name] = int(number.group(1))
            self.answered(time.perf_counter() - self._sent_at)
            self._next()
        elif head == b"[4,":
            self.refused += 1
            self._next()

    def _next(self) -> None:
        following = next(self.frames, None)
        if following is None:
            if not self.done.done():
                self.done.set_result(None)
            return
        if not self._interval:
            self._sent_at = time.perf_counter()
            self.transport.write(following)
            return
        self._sent_at += self._interval
        early = self._sent_at - time.perf_counter()
        if early <= 0:
            self.transport.write(following)
        else:
            asyncio.get_running_loop().call_later(early, self.transport.write, following)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        super().connection_lost(error)
        if not self.done.done():
            self.done.set_exception(TransportError(f"{self.name} was cut off"))
            self.done.exception()


class Load(msgspec.Struct):
    """Result: number of responses, seconds, latencies in s."""

    answers: int
    seconds: float
    latencies: list[float]


async def connect(
    port: int, names: list[str], frames: Callable[[str], Iterator[bytes]], done: list[float], *, together: int = 100
) -> list[Station]:
    """Connect stations, so many at a time."""
    loop = asyncio.get_running_loop()
    stations: list[Station] = []
    for start in range(0, len(names), together):
        group = [Station(name, frames(name), done.append) for name in names[start : start + together]]
        await asyncio.gather(*(loop.create_connection(lambda s=s: s, "127.0.0.1", port) for s in group))  # type: ignore[misc]
        await asyncio.gather(*(station.opened for station in group))
        stations += group
    return stations


async def run(stations: list[Station], latencies: list[float], spread: float = 0.0) -> Load:
    """Let every station send its frames; those with an interval start within `spread` s."""
    latencies.clear()
    begun = time.perf_counter()
    for number, station in enumerate(stations):
        station.start(number / len(stations) * spread)
    await asyncio.gather(*(station.done for station in stations))
    seconds = time.perf_counter() - begun
    refused = sum(station.refused for station in stations)
    if refused:
        raise AssertionError(f"{refused} requests were refused")
    return Load(len(latencies), seconds, list(latencies))
