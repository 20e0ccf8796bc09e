"""`make soak`: an hour of churn, in which no program may grow, and no record be lost: `python -m benchmarks.soak 3600`.

Vehicles of all editions come and go at every EVSE, one after the other and at a time at all of them. Some end their
session, others vanish, send garbage, stay silent, come without TLS, or trust nobody. One charger is connected to the
back end, the other, without one, also serves DIN 70121. After a quarter of the time (warm-up) memory, file descriptors,
threads and the chargers' folders must stay what they are. Bundles of sessions are evidence: they grow until retention
(`secc/retention.py`) removes them, and so does the back end's database; their size is shown for each session.

Beside them a fleet of simulated stations, with drivers, faults and offline spells, is at a back end on PostgreSQL, to
which a telemetry gateway delivers what is on a CAN bus, over a broker that is away now and then. `PAUSE` seconds after
each vehicle, the second argument, make the load light; caches of databases (32 MiB a connection of a back end) then
fill for hours, which is growth, too.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from sqlalchemy import text

from benchmarks.load.charging_vehicles import Fleet, Plan
from benchmarks.telemetry import SNAPSHOT
from csms.db.store import Store
from csms.grid.config import Grid
from csms.tokens.rules import TokenEntry
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from evcc.session.ports import StopRequested
from pki_tools.tree import make_pki
from tests.csms.databases import running_cluster
from tests.csms.program import write_config
from tests.csms.support import make_config
from tests.telemetry.brokers import files, source
from v2g.errors import V2GError
from v2g.io.can import CanConfig
from v2g.iso15118.select import EditionName
from v2g_cli import init
from v2g_cli.demo.broker import find_mosquitto, start_broker
from v2g_cli.demo.processes import Event, EventFile, Program, free_port, program, wait_for
from v2g_cli.output import print_table
from v2g_station.simulator.behaviour import Behaviour

SECONDS: Final = 3600.0
START_S: Final = 120.0
WARM_UP: Final = 0.25
EVSES: Final = 3
EMAID: Final = "DEV2GC00000001"

_HARDWARE: Final = """[hardware]
backend = "bench"
[log]
level = "error"
max_mib = 1
keep = 1
"""
_EVSE: Final = """
[[evses]]
evse_id = "DEV2GE{number:05d}"
meter = {{ chain = "{folder}/meter-{number}.pem", key = "{pki}/meter/leaf.key" }}
"""

STATIONS: Final = 20
PASSWORD: Final = "a password of all"  # of simulated stations
BEHAVIOUR: Final = """
arrivals_per_hour = 60.0
energy_kwh = [0.1, 0.5]
vehicle_kw = [20.0, 100.0]
linger_minutes = [0.0, 0.3]
plug_and_charge = 0.0
tokens = 20
offline_per_day = 24.0
offline_minutes = [0.1, 1.0]
faults_per_day = 24.0
fault_minutes = [0.1, 0.5]
"""
GATEWAY: Final = """ev = "EV-1"
outbox = "outbox.db"
[can]
interface = "udp_multicast"
channel = "{can.channel}"
port = {can.port}
[mqtt]
host = "127.0.0.1"
port = {port}
ca = "{ca}"
chain = "{chain}"
key = "{key}"
[log]
max_mib = 1
keep = 1
"""
WAL_KIB: Final = 4200.0
"""A write-ahead log of SQLite counts as this, to which it grows before its pages are written back (1000 pages)."""
AWAY_S: Final = 20.0
"""How long the broker is away, once in `EVERY_S`."""
EVERY_S: Final = 600.0

MISSING: Final = {
    "events of transactions": "SELECT max(seq_no) + 1 - count(*) FROM transaction_events "
    "GROUP BY station_id, transaction_id",
    "lines of journals": "SELECT max(sequence) + 1 - count(*) FROM journal_lines GROUP BY station_id, session_id",
    "records": "SELECT max(seq) - count(*) FROM telemetry GROUP BY ev, boot",
}
"""What a back end does not have of what it knows to be there."""


class Sample(NamedTuple):
    """What a program uses: KiB of memory, descriptors, threads, KiB of its folder without evidence, KiB of evidence."""

    rss: float
    descriptors: float
    threads: float
    folder: float
    evidence: float


class Measured:
    """One program and its samples."""

    def __init__(self, process: Program, *folders: Path) -> None:
        self.process, self._folders, self._samples = process, folders, list[Sample]()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process.process is not None
        return self.process.process.pid

    def sample(self) -> None:
        """Take a sample."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if ":" in line
        )
        folder, evidence = map(sum, zip(*map(_sizes, self._folders), strict=True))
        self._samples.append(
            Sample(
                rss=int(status["VmRSS"].split()[0]),
                descriptors=sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir()),
                threads=int(status["Threads"]),
                folder=folder,
                evidence=evidence,
            )
        )

    def rows(self, sessions: int, most: float) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Yield name, figure, before, after, growth and verdict; `most` is the growth permitted, 0.02 for 2 %."""
        late = self._samples[int(len(self._samples) * WARM_UP) :]
        before, after = late[: len(late) // 2], late[len(late) // 2 :]
        for name, unit in (("rss", "KiB"), ("folder", "KiB"), ("descriptors", ""), ("threads", "")):
            one, two = (median(getattr(each, name) for each in part) for part in (before, after))
            allowed = most * one if unit else 2.0  # what is open when a sample is taken varies
            if name == "folder":
                allowed = max(allowed, 1024.0)  # logs fill, and are rotated
            verdict = "flat" if two - one <= allowed else "grows"
            growth = f"{100 * (two - one) / one:+.1f} %" if unit and one else f"{two - one:+.0f}"
            yield self.process.name, f"{name} {unit}".strip(), f"{one:.0f}", f"{two:.0f}", growth, verdict
        kept = (self._samples[-1].evidence - self._samples[0].evidence) / max(1, sessions)
        yield self.process.name, "evidence, KiB a session", "", f"{kept:.1f}", "", "kept"


class Churn:
    """The vehicles at the EVSEs of one charger."""

    def __init__(self, fleet: Fleet, chance: random.Random, pause_s: float) -> None:
        self._fleet, self._chance, self._pause_s = fleet, chance, pause_s
        self.ends: Counter[str] = Counter()

    async def at(self, tls_port: int, plain_port: int, names: tuple[EditionName, ...], until: float) -> None:
        """Let one vehicle after the other come to an EVSE."""
        while time.monotonic() < until:
            name = self._chance.choice(names)
            port = plain_port if name == "din" else tls_port
            fate = self._chance.choices(("ends", "vanishes", "garbage", "silent", "no TLS"), (55, 20, 10, 5, 10))[0]
            try:
                async with asyncio.timeout(60):
                    word = await self._one(port, name, fate)
            except (OSError, V2GError, TimeoutError) as error:
                word = type(error).__name__
            self.ends[f"{name}: {fate}, {word}"] += 1
            await asyncio.sleep(min(self._pause_s * self._chance.uniform(0.5, 1.5), until - time.monotonic()))

    async def _one(self, port: int, name: EditionName, fate: str) -> str:
        if fate == "no TLS":
            _, writer = await asyncio.open_connection("::1", port)
            writer.write(self._chance.randbytes(200))
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()
            return ""
        if fate == "silent":
            stream = await self._fleet.connect(port, name)
            await asyncio.sleep(1)
            await stream.close()
            return ""
        vehicle = await self._fleet.arrive(port, name, lambda _: None)
        if fate == "vanishes":
            await asyncio.sleep(self._chance.uniform(0, 2))
            await vehicle.stream.close()
        elif fate == "garbage":
            await asyncio.sleep(self._chance.uniform(0, 1))
            with contextlib.suppress(OSError, V2GError):
                await vehicle.stream.write(self._chance.randbytes(200))
        else:
            await vehicle.loops()
            await asyncio.sleep(self._chance.uniform(0.2, 2))
            vehicle.runner.fact(StopRequested("driver"))
        return await vehicle.running


def run(folder: Path, seconds: float, *, most: float, pause_s: float = 0) -> list[tuple[str, str, str, str, str, str]]:
    """Run the programs for so long; return the rows of the table. `most`: permitted growth of memory, 0.02 is 2 %."""
    with ExitStack() as stack:
        chargers, ports, plan = _chargers(folder, stack)
        field = Field(folder / "field", stack)
        churn = Churn(Fleet(plan), random.Random(1), pause_s)
        asyncio.run(_churn(churn, ports, field, [*chargers, *field.programs], seconds))
        url = f"sqlite:///{folder / 'csms/csms/csms.sqlite3'}"
        bundles = _undelivered(folder / "online" / "secc", url)
        for each in (*chargers[1:], *field.programs[1:]):  # before their back ends
            each.process.stop()
        lost = [bundles, *missing("csms", url), *field.lost()]
    sessions = sum(count for end, count in churn.ends.items() if "no TLS" not in end and "silent" not in end)
    for end, count in sorted(churn.ends.items()):
        sys.stderr.write(f"{count:6} {end}\n")
    sys.stderr.write(f"{sessions} sessions in {seconds:.0f} s; at stations {field.sessions}\n")
    rows = [row for each in chargers for row in each.rows(sessions, most)]
    return [*rows, *(row for each in field.programs for row in each.rows(field.sessions, most)), *lost]


def _start(process: Program, stack: ExitStack) -> None:
    process.start()
    stack.callback(process.stop, signal.SIGTERM)


def _chargers(folder: Path, stack: ExitStack) -> tuple[list[Measured], list[list[dict[str, int]]], Plan]:
    """Start a back end and the chargers; return them, the ports of the chargers, and what their vehicles need."""
    port = free_port()
    pki = folder / "csms" / "pki"
    with contextlib.redirect_stdout(sys.stderr):
        init.csms_init(
            folder / "csms",
            host=["localhost"],
            station="CS-1",
            contract="DEV2GC00000001",
            port=port,
            api_port=free_port(),
        )
    back_end = program("csms", folder, folder / "csms" / "csms.toml")
    programs = [Measured(back_end, folder / "csms" / "csms")]
    ports: list[list[dict[str, int]]] = []
    _start(back_end, stack)
    wait_for(back_end, "ocpp", "ready", [], seconds=START_S)
    for name, url in {"online": f"wss://localhost:{port}/ocpp", "alone": ""}.items():
        charger = program(name, folder, charger_config(folder / name, pki, url), module="secc")
        _start(charger, stack)
        seen: list[Event] = []
        wait_for(charger, "session", "ready", seen, seconds=START_S)
        ports.append([each.data for each in seen if each.name == "listens"])
        programs.append(Measured(charger, folder / name / "secc"))
    return programs, ports, Plan(pki=str(pki), pki_2=str(pki / "iso15118-2"), ports=[], seconds=0, patience_s=60)


class Field:
    """A back end on PostgreSQL, a fleet of stations, and a telemetry gateway with its bus and broker."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start all; they stop with `stack`."""
        mosquitto = find_mosquitto()
        if mosquitto is None:
            pytest.skip("mosquitto is not installed")
        pki = make_pki(folder / "pki", now=datetime.now(UTC))
        cluster = stack.enter_context(running_cluster(fsync=True))
        self._url = cluster.url(cluster.create())
        self._broker = start_broker(mosquitto, folder / "broker", pki)
        stack.callback(lambda: self._broker.stop())  # the one that runs then
        drivers = msgspec.toml.decode(BEHAVIOUR, type=Behaviour)
        config = make_config(
            folder,
            pki,
            ocpp={"port": free_port(), "security_profile": 2},
            grid=Grid(),
            store_url=self._url,
            mqtt=source(self._broker, pki),
            unknown_stations="accept",
            onboarding_password=PASSWORD,
            tokens=tuple(TokenEntry(id_token=drivers.card(each), type="ISO14443") for each in range(drivers.tokens)),
        )
        back_end = program("csms-postgresql", folder, write_config(folder / "csms.yaml", config), module="csms")
        _start(back_end, stack)
        wait_for(back_end, "ocpp", "ready", [], seconds=START_S)
        behaviour, self._report = folder / "behaviour.toml", folder / "report.json"
        behaviour.write_text(BEHAVIOUR)
        (folder / "stations").mkdir()
        words = ("station", "--url", f"wss://localhost:{config.ocpp.port}/ocpp", "--ca", str(pki.path("csms/root.pem")),
                 "--count", str(STATIONS), "--behaviour", str(behaviour), "--store", str(folder / "stations"),
                 "--report", str(self._report))  # fmt: skip
        stations = Program(
            "stations", [sys.executable, "-m", "v2g_cli", *words], folder / "stations.log",
            EventFile(folder / "stations.events"), secrets={"V2G_STATION_PASSWORD": PASSWORD},
        )  # fmt: skip
        _start(stations, stack)
        self._can = CanConfig(interface="udp_multicast", channel="239.74.163.7", port=free_port(socket.SOCK_DGRAM))
        path = folder / "gateway" / "gateway.toml"
        path.parent.mkdir()
        path.touch(mode=0o600)
        path.write_text(GATEWAY.format(can=self._can, port=self._broker.port, **files(pki, "EV-1")))
        self._gateway = program("gateway", folder, path, module="v2g_gateway")
        _start(self._gateway, stack)
        wait_for(self._gateway, "telemetry", "started", [], seconds=START_S)
        self.programs = [
            Measured(back_end, config.data_dir, Path(cluster.folder, "data", "base")),
            Measured(stations, folder / "stations"),
            Measured(self._gateway, path.parent),
        ]

    async def run(self) -> None:
        """Send frames, and let the broker be away now and then, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(BatteryEcu(self._can, _snapshot, rate=2).run())
            while True:
                await asyncio.sleep(EVERY_S)
                self._broker.stop()
                await asyncio.sleep(AWAY_S)
                self._broker = self._broker.again()

    @property
    def sessions(self) -> int:
        """How many there were at the stations, once these have ended."""
        return int(json.loads(self._report.read_bytes())["sessions"])

    def lost(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Yield rows of what is lost, once all but the back end have ended."""
        yield from missing("csms-postgresql", self._url)
        report = json.loads(self._report.read_bytes())
        yield _lost("stations", "given up", report["given_up"], f"{report['waiting']} wait")
        end = wait_for(self._gateway, "telemetry", "stopped", [], seconds=1).data
        yield _lost("gateway", "records dropped", end["dropped"], f"{end['waiting']} wait")


def _undelivered(folder: Path, url: str) -> tuple[str, str, str, str, str, str]:
    """Return the row of bundles at a charger whose journals a back end does not get: none of them for a minute."""
    left, store, until = {each.name for each in folder.glob("*/settlements/*")}, Store(url), time.monotonic() + 60
    of = len(left)
    while left and time.monotonic() < until:
        if delivered := left.intersection(_column(store, "SELECT session_id FROM journals WHERE ended")):
            left -= delivered
            until = time.monotonic() + 60
        time.sleep(1)
    store.close()
    return _lost("online", "bundles", len(left), f"of {of}")


def _column(store: Store, query: str) -> Sequence[Any]:
    return store.do(lambda connection: connection.execute(text(query)).scalars().all())


def missing(name: str, url: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield rows of what a back end's database does not have."""
    store = Store(url)
    for what, query in MISSING.items():
        gaps = _column(store, query)
        yield _lost(name, what, sum(map(int, gaps)), f"{len(gaps)} series")
    store.close()


def _lost(name: str, what: str, number: int, note: str) -> tuple[str, str, str, str, str, str]:
    return name, f"lost {what}", "", str(number), note, "lost" if number else "whole"


def _snapshot() -> BatterySnapshot:
    """Return a battery whose values move all the time."""
    turn = time.monotonic() / 300 % 1
    return msgspec.structs.replace(SNAPSHOT, current_a=-20 - 10 * turn, soc_percent=50 + 10 * turn)


async def _churn(
    churn: Churn, ports: list[list[dict[str, int]]], field: Field, programs: list[Measured], seconds: float
) -> None:
    until = time.monotonic() + seconds
    kinds: tuple[tuple[EditionName, ...], ...] = (("20", "2"), ("20", "2", "din"))
    async with asyncio.TaskGroup() as tasks:
        bus = tasks.create_task(field.run())
        for places, names in zip(ports, kinds, strict=True):
            for place in places:
                tasks.create_task(churn.at(place["tls_port"], place.get("plain_port", 0), names, until))
        while time.monotonic() < until:
            await asyncio.sleep(min(10.0, seconds / 60))
            for each in programs:
                each.sample()
        bus.cancel()


def charger_config(folder: Path, pki: Path, url: str, *, evses: int = EVSES) -> Path:
    """Write secc.toml of a charger on the bench with several EVSEs; without a URL it has no back end, and DIN 70121."""
    with contextlib.redirect_stdout(sys.stderr):
        init.secc_init(folder, csms=url, pki=pki, station="CS-1", kind="dc", contract=EMAID)
    path = folder / "secc.toml"
    text = path.read_text()
    for table in ("link", "link.slac", "hardware", "status_page"):
        text = re.sub(rf"^\[{re.escape(table)}\].*\n(?:(?!\[).*\n)*", "", text, flags=re.MULTILINE)
    changes = [
        ('editions = ["20", "2"]', 'editions = ["20", "2"]\nservices = [6, 2]'),
        ("[sdp]\n", "[sdp]\nport = 0\n"),
    ]
    if not url:
        changes += [
            ('editions = ["20", "2"]', 'editions = ["20", "2", "din"]\nauthorization = ["PnC", "EIM"]'),
            ("without_tls = false", "without_tls = true"),
            ("[site]\n", "[site]\nfree = true\n"),
        ]
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    for number in range(1, evses + 1):  # one certificate for all meters
        shutil.copy(pki / "meter" / "chain.pem", folder / f"meter-{number}.pem")
        text += _EVSE.format(number=number, folder=folder, pki=pki)
    path.write_text(text + _HARDWARE)
    return path


def _sizes(folder: Path) -> tuple[float, float]:
    """Return KiB on the disk: of what must stay, and of evidence (bundles, and the back ends' databases)."""
    sizes = [0.0, 0.0]
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                kept = re.search("settlements|/base/", place) is not None or name.startswith("csms.sqlite3")
                size = Path(place, name).stat().st_blocks / 2
                sizes[kept] += max(size, WAL_KIB) if name.endswith("-wal") and not kept else size
    return sizes[0], sizes[1]


COLUMNS: Final = ("program", "figure", "before", "after", "growth", "verdict")


def main() -> None:
    """Run for the seconds of the command line, print the table, and exit with 1 if anything grows or is lost."""
    given = [float(each) for each in sys.argv[1:]]
    seconds, pause_s = [*given, *(SECONDS, 0.0)[len(given) :]]
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = run(Path(folder), seconds, most=0.02, pause_s=pause_s)
    except pytest.skip.Exception as reason:
        sys.exit(f"soak: {reason}")
    print_table(f"{seconds:.0f} s of churn, {datetime.now(UTC):%Y-%m-%d}", COLUMNS, rows)
    sys.exit(any(row[-1] in ("grows", "lost") for row in rows))


if __name__ == "__main__":
    main()
