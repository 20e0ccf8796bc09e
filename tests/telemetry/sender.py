"""A vehicle's gateway without a CAN bus, as a process: `python -m tests.telemetry.sender FILE [forking]`.

It brings as many records into its outbox as the file says, over as many lives as it has, delivers them, and ends when
the back end has everything. After each record that is in the outbox it writes a line to its ledger.

`forking`: for each line on standard input it does so in a process of its own, and prints the number of the process; so
a life begins without the time for imports.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import Supervisor
from v2g.io.storage.outbox import Outbox
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import TOPIC_PREFIX, encode_delivery
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import Record, encode_record
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.uplink import MqttUplink

PRIORITIES: Final = {7: Priority.SETTLEMENT, 13: Priority.SAFETY, 17: Priority.DIAGNOSTIC}
"""By the last digits of a record's number, of 20."""


MOST_KEYS: Final = 50


class Order(msgspec.Struct, frozen=True):
    """What a sender has to do: `count` records of `ev`, at most `per_s` a second; its files are in `folder`."""

    ev: str
    count: int
    per_s: int
    folder: Path
    mqtt: MqttConfig
    sealed: bool = False
    """Whether its outbox is sealed, with a key more in each of the first lives."""
    compact: bool = False
    """Whether it sends the compact form, as gateways do by default, in place of JSON."""


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger: a record that is in the outbox, and the SHA-256 of its content."""

    boot: int
    seq: int
    digest: str


def ledger(folder: Path) -> list[Entry]:
    """Return what was brought into the outbox; a line that a kill has cut is left out."""
    path = folder / "ledger"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Entry(int(boot), int(seq), digest) for boot, seq, digest in (line.split() for line in lines)]


async def send(order: Order) -> None:
    """Do it."""
    done = len(ledger(order.folder))
    keys = None
    if order.sealed:
        path = order.folder / "keys"
        if not path.exists() or RecordKeys.read(path).newest < MOST_KEYS:
            RecordKeys.rotate(path)
        keys = RecordKeys.read(path)
    box = await Outbox.open(order.folder / "outbox.db", order.ev, 1, keys=keys)

    def observe(event: Observe) -> None:
        sys.stderr.write(f"{order.ev} {event.name} {event.data}\n")
        sys.stderr.flush()

    delivery = UplinkDelivery(order.ev, box, observe, encode=encode_compact if order.compact else encode_delivery)
    uplink = MqttUplink(order.mqtt, TOPIC_PREFIX, order.ev, delivery.on_marks, boot=box.boot)
    uplink.start()
    tasks = Supervisor(observe)
    tasks.keep("delivery", lambda: delivery.run(uplink))
    lines = os.open(order.folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    seq, began_ms = 0, time.time_ns() // 1_000_000  # what is from another day would be put aside
    for _ in range(order.count - done):
        seq += 1
        signals: dict[str, float | int | str] = {"battery.soc": seq % 100, "battery.voltage": 400.0}
        body = encode_record(Record(order.ev, box.boot, seq, began_ms + seq, "charging", seq % 20 == 1, signals))
        await box.put(seq, body, PRIORITIES.get(seq % 20, Priority.LIVE), seq)
        os.write(lines, f"{box.boot} {seq} {hashlib.sha256(body).hexdigest()}\n".encode())
        delivery.wake()
        if seq % 20 == 0:
            await asyncio.sleep(20 / order.per_s)
            if box.crowded:  # as the gateway's recorder
                await box.next_boot()
                seq = 0
    while await box.waiting():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(delivery.drain(), 0.2)
    await tasks.close()
    await uplink.close()
    await box.close()


def fork(order: Order) -> int:
    """Return the number of a process that does it."""
    process = os.fork()
    if process == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(send(order))
            os._exit(0)
        os._exit(1)
    return process


def main(path: str, *, forking: bool) -> None:
    """Do it in this process, or in others."""
    order = msgspec.json.decode(Path(path).read_bytes(), type=Order, dec_hook=lambda kind, text: kind(text))
    if not forking:
        asyncio.run(send(order))
    else:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        for _ in sys.stdin:
            sys.stdout.write(f"{fork(order)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], forking=len(sys.argv) > 2)
