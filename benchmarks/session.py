"""A complete session in separate processes: time to energy, and its cost, compared with the peer's SECC and EVCC.

Ours is `v2g demo`: about an hour of simulated charging and discharging with back end, grid signals, journal,
settlement and telemetry. The peer runs a bidirectional DC session with plug and charge and ten charge loops.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.figures import Figure, median
from benchmarks.peers.peers import JOSEV, TreeMeter
from tests.interop import peer as interop
from tests.interop.cable import cable
from v2g.errors import TransportError

ABOUT = "plug-in to energy, CPU and memory of charger and vehicle, complete processes"
REQUIREMENTS = ("R8", "R168")

RUNS = 3
TARGET_START_S = 1.0
TARGET_CPU_S = 1.5
TARGET_RSS_MIB = 80.0
QUICK_SCALE = 1200
PEER_READY_S = 30.0
PEER_SESSION_S = 90.0

_STAMP = re.compile(r"^\S+\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - (.*)$", re.MULTILINE)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One session: seconds to energy and to its end, CPU (s) and peak memory (MiB) of both sides; CPU (s) of our
    back end."""

    energy_s: float
    wall_s: float
    cpu_s: float
    secc_mib: float
    evcc_mib: float
    loops: int
    csms_cpu_s: float = 0.0


def beside(own: Run, peer: Run | None, names: Mapping[str, str], note: str) -> Iterator[Figure]:
    """Yield fields of our session and the peer's, by their names."""
    for field, name in names.items():
        unit = "MiB" if field.endswith("mib") else "s"
        theirs = getattr(peer, field) if peer else None
        yield Figure(name, getattr(own, field), unit, peer=JOSEV, peer_value=theirs, note=note)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield start, CPU and memory, ours and the peer's."""
    if not quick:
        run_own(quick=quick)  # from here on all byte code is cached
    runs = [run_own(quick=quick) for _ in range(1 if quick else RUNS)]
    peer, reason = (None, "not run in quick mode") if quick else run_peer()
    if peer is None and not quick:
        peer, reason = run_peer()  # on a busy machine its own timeouts may expire
    own = f"median of {len(runs)} runs, {runs[0].loops} charge loops"
    other = f"; the peer's has {peer.loops} charge loops and no back end" if peer else ""

    def figure(name: str, field: str, unit: str, target: float | None, note: str) -> Figure:
        return Figure(
            name,
            median(getattr(run, field) for run in runs),
            unit,
            target=target,
            peer=JOSEV,
            peer_value=getattr(peer, field) if peer else None,
            note=note if peer else f"{note}; no peer: {reason}",
        )

    yield figure(
        "plug-in to first measured power", "energy_s", "s", TARGET_START_S,
        own + ("; the peer's from SDP (it has no SLAC) to its first charge loop" if peer else ""),
    )  # fmt: skip
    yield figure("CPU of charger and vehicle, whole run", "cpu_s", "s", TARGET_CPU_S, own + other)
    yield figure(
        "peak memory of the charger", "secc_mib", "MiB", TARGET_RSS_MIB, "the peer's including Java" if peer else own
    )
    yield figure(
        "peak memory of the vehicle", "evcc_mib", "MiB", TARGET_RSS_MIB, "the peer's including Java" if peer else own
    )
    yield figure(
        "plug-in to end of session", "wall_s", "s", None,
        "ours lasts as long as its simulated hour; benchmark `decision` has short sessions",
    )  # fmt: skip


def run_own(*, quick: bool, scenario: str = "discharge", checkout: Path | None = None) -> Run:
    """Run a scenario of `v2g demo`, of another checkout by its own environment, and evaluate its report."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        own = [sys.executable, "-c", "from v2g_cli.main import main; main()"]
        command = [str(checkout / ".venv" / "bin" / "v2g")] if checkout else own
        command += ["demo", "--json", "--scenario", scenario]
        command += ["--folder", str(Path(folder) / "run"), *(("--time-scale", str(QUICK_SCALE)) if quick else ())]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=checkout, check=False)
    records: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    summary = records[-1] if records and records[-1]["record"] == "summary" else {}
    failed = [check["name"] for check in summary.get("checks", ()) if not check["passed"]]
    if not summary or (failed and not quick):
        raise TransportError(
            f"the demo failed: {', '.join(failed) or done.stderr.strip()[-500:]}", hint="run `v2g demo`"
        )
    vehicle = sorted((r for r in records if r.get("process") == "evcc"), key=lambda record: record["t"])
    plugged = next(r["t"] for r in vehicle if (r["stage"], r["name"]) == ("link", "plugged_in"))
    flows = [r for r in vehicle if (r["stage"], r["name"]) == ("loop", "flow")]
    ended = next(r["t"] for r in vehicle if (r["stage"], r["name"]) == ("session", "ended"))
    programs = summary["figures"]["programs"]
    return Run(
        energy_s=next(r["t"] for r in flows if r["data"].get("power_w", r["data"].get("current_ma"))) - plugged,
        wall_s=ended - plugged,
        cpu_s=programs["secc"]["cpu_s"] + programs["evcc"]["cpu_s"],
        secc_mib=programs["secc"]["rss_mib"],
        evcc_mib=programs["evcc"]["rss_mib"],
        loops=len(flows),
        csms_cpu_s=programs["csms"]["cpu_s"],
    )


def run_peer(edition: Literal["20", "2"] = "20") -> tuple[Run | None, str]:
    """Return the peer's session with itself, or why it is missing: direct current, plug and charge over TLS."""
    service, loop = ("DC_BPT", "DC_ChargeLoopRes") if edition == "20" else ("DC", "CurrentDemandRes")
    if shutil.which("java") is None:
        return None, "needs Java (Debian package openjdk-17-jre-headless)"
    reason = interop.missing()
    if reason:
        return None, reason
    with tempfile.TemporaryDirectory() as name, cable(f"bench-{os.getpid()}") as wire, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "peer").mkdir()
        peer = interop.make_peer(folder / "peer")
        meters = []
        for program, ready, seconds in (
            (peer.charger(wire, folder / "secc.log", edition=edition), "UDP server started", PEER_READY_S),
            (
                peer.vehicle(wire, folder / "evcc.log", service=service, edition=edition),
                "SessionStopRes received",
                PEER_SESSION_S,
            ),
        ):
            program.start()
            assert program.process is not None
            stack.callback(_end, program.process)
            meters.append(TreeMeter(program.process.pid))
            stack.callback(meters[-1].stop)
            _wait_for(ready, program.log, seconds)
        log = program.log.read_text()
    if "SessionStopRes received" not in log:
        return None, f"it did not finish its session: {log.strip()[-100:]}"
    stamps = [(datetime.fromisoformat(stamp.replace(",", ".")), text) for stamp, text in _STAMP.findall(log)]

    def at(words: str) -> datetime:
        return next(stamp for stamp, text in stamps if words in text)

    begin = at("Sending SDPRequest")
    run = Run(
        energy_s=(at(f"{loop} received") - begin).total_seconds(),
        wall_s=(at("SessionStopRes received") - begin).total_seconds(),
        cpu_s=sum(meter.cpu_s for meter in meters),
        secc_mib=meters[0].rss_mib,
        evcc_mib=meters[1].rss_mib,
        loops=sum(f"{loop} received" in text for _, text in stamps),
    )
    return run, ""


def _wait_for(words: str, log: Path, seconds: float) -> None:
    """Wait for a text in a log, or for a timeout."""
    deadline = time.monotonic() + seconds
    while words not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process and the Java that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
