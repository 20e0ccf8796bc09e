"""Simulated vehicles: `python -m benchmarks.load.gateway_vehicles PORT VEHICLES RECORDS ROUNDS` prints JSON.

Each has a connection to the broker (MQTT 5), publishes deliveries at QoS 1, waits for the mark that covers each, and
repeats a delivery without a mark as a gateway does. Packets are made by hand: ten thousand threads of an MQTT client
would measure themselves.
"""

import asyncio
import json
import sys
import time
from typing import Final

from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import Record, encode_record

REPEAT_S: Final = 20.0
AT_ONCE: Final = 200
"""Connections that are opened at a time: a broker's queue of new ones is short."""

_BEGIN_MS: Final = time.time_ns() // 1_000_000 - 30 * 86_400_000


def packet(kind: int, body: bytes) -> bytes:
    """Return an MQTT control packet."""
    length, left = b"", len(body)
    while True:
        left, byte = left >> 7, left & 127
        length += bytes([byte | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


def text(value: str) -> bytes:
    """Return a string with its length."""
    return len(value).to_bytes(2, "big") + value.encode()


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first byte and the body of the next packet."""
    (kind,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return kind, await reader.readexactly(length)


TEXT: Final = b"\2\1\1"
"""Properties of PUBLISH: the Payload Format Indicator says UTF-8."""


class Vehicle:
    """One vehicle. `repeated`: deliveries that it had to send again; `spans`: time until each mark, s."""

    def __init__(self, ev: str) -> None:
        self.ev = ev
        self.mark = self.repeated = 0
        self.spans: list[float] = []
        self._changed = asyncio.Event()

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer.write(packet(0x10, text("MQTT") + b"\5\2\0\0\0" + text(self.ev)))  # clean start, no keep-alive
        kind, body = await read_packet(self._reader)
        assert (kind, body[1]) == (0x20, 0), body
        topic = text(f"v2g/telemetry/vehicle/{self.ev}/marks") + b"\0"
        self._writer.write(packet(0x82, b"\0\1\0" + topic))
        assert (await read_packet(self._reader))[0] == 0x90
        self._reading = asyncio.create_task(self._read())

    async def drive(self, records: int, rounds: int) -> None:
        for number in range(rounds):
            body = self._delivery(number * records + 1, records)
            begin = time.monotonic()
            while self.mark < (number + 1) * records:
                topic = text(f"v2g/telemetry/vehicle/{self.ev}/records")
                self._writer.write(packet(0x32, topic + (number + 1).to_bytes(2, "big") + TEXT + body))
                self._changed.clear()
                try:
                    async with asyncio.timeout(REPEAT_S):
                        while self.mark < (number + 1) * records:
                            await self._changed.wait()
                            self._changed.clear()
                except TimeoutError:
                    self.repeated += 1
            self.spans.append(time.monotonic() - begin)

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        while True:
            kind, body = await read_packet(self._reader)
            if kind & 0xF0 == 0x30:
                begin = 2 + int.from_bytes(body[:2], "big")
                self.mark = max(each["contiguous"] for each in json.loads(body[begin + 1 + body[begin] :]))
                self._changed.set()

    def _delivery(self, first: int, number: int) -> bytes:
        return encode_delivery(encode_record(record(self.ev, seq)) for seq in range(first, first + number))


def record(ev: str, seq: int) -> Record:
    """Return a record of a drive: what has changed, and every 60th time all signals."""
    step = seq % 100
    signals: dict[str, float] = {
        "battery.current": -40.0 - step / 10,
        "battery.soc": 80 - step / 100,
        "motor.speed": 3000 + step,
        "location.latitude": 48.1 + step / 1e4,
    }
    if seq % 60 == 1:
        signals |= {
            "battery.voltage": 365.5,
            "battery.power": -14_600.0,
            "battery.soh": 97.5,
            "battery.temperature.min": 24.5,
            "battery.temperature.max": 25.5,
            "battery.cell_voltage.min": 3.803,
            "battery.cell_voltage.max": 3.811,
            "battery.cell_voltage.mean": 3.807,
            "charging.power": 0.0,
            "ambient.temperature": 18.5,
            "location.longitude": 11.5,
        }
    return Record(ev, 1, seq, _BEGIN_MS + seq * 1000, "city", seq % 60 == 1, dict(signals))


async def main(port: int, vehicles: int, records: int, rounds: int) -> None:
    """Connect all, then let all drive at once."""
    fleet = [Vehicle(f"EV-{number:05}") for number in range(vehicles)]
    for start in range(0, vehicles, AT_ONCE):
        await asyncio.gather(*(each.connect(port) for each in fleet[start : start + AT_ONCE]))
    begin = time.monotonic()
    await asyncio.gather(*(each.drive(records, rounds) for each in fleet))
    took = time.monotonic() - begin
    for each in fleet:
        each.close()
    spans = sorted(span for each in fleet for span in each.spans)
    p99 = spans[int(len(spans) * 0.99)]
    covered = sum(each.mark for each in fleet)
    print(json.dumps({"took_s": took, "covered": covered, "p99_s": p99, "repeated": sum(e.repeated for e in fleet)}))


if __name__ == "__main__":
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(*map(int, sys.argv[1:])))
