"""`make soak`: an hour of churn at two chargers and a back end, which must not grow (`python -m benchmarks.soak 3600`).

Vehicles of all editions come and go at every EVSE, one after the other and at a time at all of them. Some end their
session, others vanish, send garbage, stay silent, come without TLS, or trust nobody. One charger is connected to the
back end, the other, without one, also serves DIN 70121. After a quarter of the time (warm-up) memory, file descriptors,
threads and the chargers' folders must stay what they are. Bundles of sessions are evidence: they grow until retention
(`secc/retention.py`) removes them, and so does the back end's database; their size is shown for each session.
"""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks.load.charging_vehicles import Fleet, Plan
from evcc.session.ports import StopRequested
from v2g.errors import V2GError
from v2g.iso15118.select import EditionName
from v2g_cli import init
from v2g_cli.demo.processes import Event, Program, free_port, program, wait_for
from v2g_cli.output import print_table

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


class Sample(NamedTuple):
    """What a program uses: KiB of memory, descriptors, threads, KiB of its folder without evidence, KiB of evidence."""

    rss: float
    descriptors: float
    threads: float
    folder: float
    evidence: float


class Measured:
    """One program and its samples."""

    def __init__(self, process: Program, folder: Path) -> None:
        self.process, self._folder, self._samples = process, folder, list[Sample]()

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
        folder, evidence = _sizes(self._folder)
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

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self._fleet, self._chance = fleet, chance
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


def run(folder: Path, seconds: float, *, most: float) -> list[tuple[str, str, str, str, str, str]]:
    """Run the programs for so long; return the rows of the table. `most`: permitted growth of memory, 0.02 is 2 %."""
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
    init_s = {"online": f"wss://localhost:{port}/ocpp", "alone": ""}
    with ExitStack() as stack:
        back_end = program("csms", folder, folder / "csms" / "csms.toml")
        programs = [Measured(back_end, folder / "csms" / "csms")]
        ports: list[list[dict[str, int]]] = []
        _start(back_end, stack)
        wait_for(back_end, "ocpp", "ready", [], seconds=START_S)
        for name, url in init_s.items():
            charger = program(name, folder, charger_config(folder / name, pki, url), module="secc")
            _start(charger, stack)
            seen: list[Event] = []
            wait_for(charger, "session", "ready", seen, seconds=START_S)
            ports.append([each.data for each in seen if each.name == "listens"])
            programs.append(Measured(charger, folder / name / "secc"))
        plan = Plan(pki=str(pki), pki_2=str(pki / "iso15118-2"), ports=[], seconds=0, patience_s=60)
        churn = Churn(Fleet(plan), random.Random(1))
        asyncio.run(_churn(churn, ports, programs, seconds))
    sessions = sum(count for end, count in churn.ends.items() if "no TLS" not in end and "silent" not in end)
    for end, count in sorted(churn.ends.items()):
        sys.stderr.write(f"{count:6} {end}\n")
    sys.stderr.write(f"{sessions} sessions in {seconds:.0f} s\n")
    return [row for each in programs for row in each.rows(sessions, most)]


def _start(process: Program, stack: ExitStack) -> None:
    process.start()
    stack.callback(process.stop, signal.SIGTERM)


async def _churn(churn: Churn, ports: list[list[dict[str, int]]], programs: list[Measured], seconds: float) -> None:
    until = time.monotonic() + seconds
    kinds: tuple[tuple[EditionName, ...], ...] = (("20", "2"), ("20", "2", "din"))
    async with asyncio.TaskGroup() as tasks:
        for places, names in zip(ports, kinds, strict=True):
            for place in places:
                tasks.create_task(churn.at(place["tls_port"], place.get("plain_port", 0), names, until))
        while time.monotonic() < until:
            await asyncio.sleep(min(10.0, seconds / 60))
            for each in programs:
                each.sample()


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
    """Return KiB on the disk: of what must stay, and of evidence (bundles, and the back end's database)."""
    sizes = [0.0, 0.0]
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                kept = "settlements" in place or name.startswith("csms.sqlite3")
                sizes[kept] += Path(place, name).stat().st_blocks / 2
    return sizes[0], sizes[1]


COLUMNS: Final = ("program", "figure", "before", "after", "growth", "verdict")


def main() -> None:
    """Run for the seconds of the command line, print the table, and exit with 1 if anything grows."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), seconds, most=0.02)
    print_table(f"{seconds:.0f} s of churn, {datetime.now(UTC):%Y-%m-%d}", COLUMNS, rows)
    sys.exit(any(row[-1] == "grows" for row in rows))


if __name__ == "__main__":
    main()
