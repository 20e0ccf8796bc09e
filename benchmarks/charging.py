"""Many vehicles at one charger process, and one complete session compared with the peer's.

One `python -m secc` with as many EVSEs as vehicles, on one core: TLS, EXI, session, limits, journal on disk, meter and
settlement of each; on another core `benchmarks.load.charging_vehicles`. Their charge loops run every 100 ms. Response
times are measured at the vehicles, and include the kernel, both ends of TLS and their own event loop. The complete
session is that of `benchmarks.session`: ours with back end, telemetry and an hour of simulated time, the peer's with
ten charge loops.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks import session
from benchmarks.figures import Figure, cpu_s, percentile
from benchmarks.load.charging_vehicles import Plan, Report
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.errors import TransportError
from v2g.iso15118.select import EditionName
from v2g.pki.profile import Generation, KeyKind
from v2g_cli.demo.processes import Event, program, wait_for
from v2g_cli.demo.tables import CHAIN_2

ABOUT = "concurrent sessions in one charger process, response times, and a complete session compared with the peer's"
REQUIREMENTS = ("R175",)

VEHICLES: Final = 200
SECONDS: Final = 10.0
TARGET_MS: Final = 50.0
START_S: Final = 60.0
PATIENCE_S: Final = 300.0

_CONFIG: Final = """data_dir = "secc"
[sdp]
port = 0
[tls]
chain = "pki/secc/chain.pem"
key = "pki/secc/leaf.key"
ocsp = "pki/secc/ocsp.der"
v2g_roots = ["pki/v2g/root.pem"]
oem_roots = ["pki/oem/root.pem"]
mo_roots = ["pki/mo/root.pem"]
[meter]
chain = "pki/meter/chain.pem"
key = "pki/meter/leaf.key"
[hardware]
backend = "bench"
[site]
charge_w = 10000000
contracts = ["{emaid}"]
[charger]
services = [6]
[charger.rating]
max_charge_power_w = {each_w}
[log]
level = "warning"
"""
_OLDER: Final = (
    ("[sdp]\n", "[sdp]\nwithout_tls = true\n"),
    ('"pki/v2g/root.pem"', '"pki/v2g/root.pem", "pki-2/v2g/root.pem"'),
    ('"pki/mo/root.pem"', '"pki/mo/root.pem", "pki-2/mo/root.pem"'),
    ("[meter]\n", CHAIN_2 + "[meter]\n"),
    ("[site]\n", "[site]\nfree = true\n"),
    ("services = [6]", 'services = [6, 2]\neditions = ["20", "2", "din"]\nauthorization = ["PnC", "EIM"]'),
)
"""What all editions need beyond ISO 15118-20."""
_EVSE: Final = """
[[evses]]
evse_id = "DEV2GE{number:05d}"
meter = {{ chain = "meters/{number}.pem", key = "pki/meter/leaf.key" }}
"""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield response times under load, the charger's resources meanwhile, and the complete session of both."""
    vehicles = 3 if quick else VEHICLES
    with tempfile.TemporaryDirectory() as folder:
        load = many(Path(folder), vehicles, 1.0 if quick else SECONDS)
    report, rss_mib = load.report, load.rss_mib
    busy = load.cpu_s(report.began, report.over) / (report.over - report.began)
    loops = report.answers_ms.get("DC_ChargeLoopReq", [])
    if not loops:
        raise TransportError("no vehicle reached the charge loop", hint="is the machine very busy?")
    per_s = len(loops) / (report.over - report.began)
    note = words(report, per_s)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(
            f"response time of DC_ChargeLoopReq, {name}", percentile(loops, share), "ms", target=TARGET_MS, note=note
        )
    yield Figure(
        "CPU of the charger per charge loop",
        1000 * busy / per_s,
        "ms",
        note=f"TLS, EXI, session, limits, meter, events; includes hardware reports; {note}",
    )
    for request, times in report.setup_ms.items():
        yield Figure(
            f"response time of {request} while others charge, p99",
            percentile(times, 0.99),
            "ms",
            note=f"{len(times)} responses while vehicles come and go; includes waiting for hardware and back end",
        )
    yield Figure("share of one core used by the charger", max(0.1, 100 * busy), "%", note=note)
    yield Figure("peak memory of the charger", rss_mib, "MiB", note=note)
    yield from _beside_peer(quick=quick)


def words(report: Report, per_s: float) -> str:
    """Return the circumstances of a measurement with so many loops per second."""
    finished = sum(word == "finished" for word in report.ended)
    own_late = percentile(report.late_ms, 0.99)
    lost = Counter(word for word in report.ended if word != "finished")
    note = f"{len(report.ended)} vehicles, {per_s:.0f} loops/s, {finished} finished; their own event loop"
    note += f" {own_late:.1f} ms late" + "".join(f"; {count} ended with {word}" for word, count in lost.most_common(3))
    return f"{note}; load {os.getloadavg()[0]:.1f}"


def _beside_peer(*, quick: bool) -> Iterator[Figure]:
    """Yield one complete session, ours and the peer's, from the same run."""
    if not quick:
        session.run_own(quick=quick)  # from here on all byte code is cached
    own = session.run_own(quick=quick)
    peer, reason = (None, "not run in quick mode") if quick else session.run_peer()
    note = f"{own.loops} charge loops" + (f", the peer's {peer.loops}" if peer else f"; no peer: {reason}")
    names = {
        "cpu_s": "complete DC_BPT session with plug and charge: CPU of charger and vehicle",
        "energy_s": "plug-in to energy",
        "secc_mib": "peak memory of the charger in that session",
        "evcc_mib": "peak memory of the vehicle in that session",
    }
    yield from session.beside(own, peer, names, note)


class Load(NamedTuple):
    """What vehicles measured, the charger's CPU time (s) at times of CLOCK_MONOTONIC, and its peak memory (MiB)."""

    report: Report
    used: list[tuple[float, float]]
    rss_mib: float

    def cpu_s(self, began: float, over: float) -> float:
        """Return the charger's CPU time between two times."""
        return between(self.used, began, over)


def many(
    folder: Path,
    vehicles: int,
    seconds: float,
    editions: Sequence[EditionName] = ("20",),
    *,
    crowd_s: float | None = None,
    slow_disk_s: float = 0.0,
) -> Load:
    """Let vehicles of these editions by turns arrive, charge together for `seconds`, and leave; with `crowd_s` all
    arrive, and all leave, within that time (s). Each fsync of the charger takes `slow_disk_s` longer."""
    pki = make_pki(folder / "pki", now=datetime.now(UTC), options=PkiOptions())
    older = len(editions) > 1
    if older:
        options = PkiOptions(generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1)
        make_pki(folder / "pki-2", now=datetime.now(UTC), options=options)
    slow = ("benchmarks.load.slow_disk", (str(slow_disk_s),)) if slow_disk_s else ("", ())
    config = charger_config(folder, pki, vehicles, older=older)
    charger = program("secc", folder, config, module=slow[0], arguments=slow[1])
    seen: list[Event] = []
    with ExitStack() as stack:
        charger.start()
        stack.callback(charger.stop)
        assert charger.process is not None
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(charger.process.pid, {cores[0]})
        wait_for(charger, "session", "ready", seen, seconds=START_S)
        turns = [editions[number % len(editions)] for number in range(vehicles)]
        places = [event.data for event in seen if event.name == "listens"]
        plan = Plan(
            pki=str(pki.directory),
            pki_2=str(folder / "pki-2") if older else "",
            ports=[
                each["plain_port" if name == "din" else "tls_port"] for each, name in zip(places, turns, strict=True)
            ],
            editions=turns,
            seconds=seconds,
            patience_s=PATIENCE_S,
            arrive_s=crowd_s,
            leave_s=crowd_s,
        )
        fleet = start_vehicles(folder, plan)
        os.sched_setaffinity(fleet.pid, {cores[-1]})
        pid = charger.process.pid
        used, output = watch(fleet, lambda: cpu_s(pid))
    if fleet.returncode:
        raise TransportError("the vehicles did not finish", hint="is the machine very busy?")
    return Load(msgspec.json.decode(output, type=Report), used, charger.rss_mib)


def start_vehicles(folder: Path, plan: Plan) -> "subprocess.Popen[bytes]":
    """Start vehicles that write their report to stdout."""
    file = folder / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load.charging_vehicles", str(file)], stdout=subprocess.PIPE
    )


def between(used: Sequence[tuple[float, float]], began: float, over: float) -> float:
    """Return the CPU time between two times."""
    before, after = (max((each for each in used if each[0] <= at), default=used[0]) for at in (began, over))
    return after[1] - before[1]


def watch(fleet: "subprocess.Popen[bytes]", spent_s: Callable[[], float]) -> tuple[list[tuple[float, float]], bytes]:
    """Return the chargers' CPU time over time (CLOCK_MONOTONIC), and the vehicles' results."""
    used: list[tuple[float, float]] = []
    while True:
        used.append((time.monotonic(), spent_s()))
        try:
            output, _ = fleet.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        return used, output


def charger_config(folder: Path, pki: PkiTree, vehicles: int, *, older: bool = False) -> Path:
    """Write secc.toml of a charger with one EVSE for each vehicle, without a back end; `older`: of all editions."""
    (folder / "meters").mkdir()
    for number in range(1, vehicles + 1):  # one certificate for all meters
        shutil.copy(pki.path("meter/chain.pem"), folder / f"meters/{number}.pem")
    text = _CONFIG.format(emaid=PkiOptions().emaid, each_w=10_000_000 // max(vehicles, 50))
    for before, after in _OLDER if older else ():
        text = text.replace(before, after)
    path = folder / "secc.toml"
    path.touch(mode=0o600)
    path.write_text(text + "".join(_EVSE.format(number=number) for number in range(1, vehicles + 1)))
    return path
