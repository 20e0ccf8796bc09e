"""What a charger pays for each car after the first: sessions of one charger and one vehicle process, beside the peer's.

Both run bidirectional DC sessions of ISO 15118-20 with plug and charge over TLS, half of them with few charge loops,
half with many, without a pause; from the difference follows what a loop costs, and what a session costs without its
loops. CPU is that of all processes of a side: the peer's codec runs in Java beside its Python. Our charger also
simulates its power stage, checks its safety limits, and keeps journal, meter readings and settlement. Programs start,
and run their first sessions, before anything is counted.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final, NamedTuple

import msgspec

from benchmarks import charging
from benchmarks.figures import Figure
from benchmarks.load.charging_vehicles import Plan
from benchmarks.peers.peers import JOSEV, TreeMeter
from pki_tools.tree import PkiOptions, make_pki
from tests.interop import peer as interop
from tests.interop.cable import cable
from v2g.errors import TransportError
from v2g_cli.demo.processes import Event, Program, program, wait_for

ABOUT = "sessions after the first: CPU of charger and vehicle for a session and for a charge loop, memory"
REQUIREMENTS = ("R8", "R175")

FEW, MANY = 5, 105
SESSIONS: Final = 20
"""Counted sessions of each kind."""
BLOCKS: Final = 2
"""Few and many loops by turns: so many times."""
FIRST: Final = 3
"""Sessions before."""
KEPT: Final = 300
"""Sessions after which the charger's memory is stated."""
PEER_SESSIONS: Final = 6
PEER_FACTOR: Final = 40
START_S: Final = 60.0


class Side(NamedTuple):
    """What one program used: CPU (s) of a session without loops, CPU (s) of a loop, memory (MiB) at the end."""

    session_s: float
    loop_s: float
    rss_mib: float


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield CPU and memory of warm sessions, ours and the peer's."""
    sessions = 2 if quick else SESSIONS
    with tempfile.TemporaryDirectory() as folder:
        charger, vehicle, rss = _own(Path(folder), sessions, 0 if quick else KEPT)
    peers, reason = (None, "not run in quick mode") if quick else _peer(PEER_SESSIONS)
    note = f"{sessions} sessions of {FEW} and of {MANY} loops; load {os.getloadavg()[0]:.1f}"
    note += f"; the peer's {PEER_SESSIONS}" if peers else f"; no peer: {reason}"
    for place, (name, own) in enumerate((("charger", charger), ("vehicle", vehicle))):
        theirs = peers[place] if peers else None
        for what, field in (("a session without its loops", "session_s"), ("a charge loop", "loop_s")):
            other = getattr(theirs, field) * 1000 if theirs else None
            yield Figure(
                f"CPU of the {name} for {what}",
                max(0.01, getattr(own, field) * 1000),
                "ms",
                target=other and other / PEER_FACTOR,
                peer=JOSEV,
                peer_value=other,
                note=note,
            )
    yield Figure(
        "memory of the charger",
        charger.rss_mib,
        "MiB",
        peer=JOSEV,
        peer_value=peers[0].rss_mib if peers else None,
        note="after these sessions; the peer's with Java",
    )
    if not quick:
        yield Figure(f"memory of the charger after {KEPT} sessions", rss, "MiB", note=f"{charger.rss_mib:.1f} before")


def _own(folder: Path, sessions: int, kept: int) -> tuple[Side, Side, float]:
    """Return what our charger and vehicle used, and the charger's memory after `kept` more sessions, MiB."""
    pki = make_pki(folder / "pki", now=datetime.now(UTC), options=PkiOptions())
    charger = program("secc", folder, charging.charger_config(folder, pki, 1))
    events: list[Event] = []
    with ExitStack() as stack:
        charger.start()
        stack.callback(charger.stop)
        wait_for(charger, "session", "ready", events, seconds=START_S)
        (port,) = (event.data["tls_port"] for event in events if event.name == "listens")
        plan = folder / "plan.json"
        plan.write_bytes(
            msgspec.json.encode(Plan(pki=str(pki.directory), ports=[port], seconds=0, patience_s=60, pause_s=0))
        )
        command = [sys.executable, "-m", "benchmarks.load.repeated_vehicle", str(plan)]
        vehicle = _repeated(command, folder / "vehicle.log", stack)
        sides = _sessions(charger, vehicle, sessions)
        for _ in range(kept):
            with contextlib.suppress(TransportError):
                _one(vehicle, 1)
        assert charger.process is not None
        return *sides, _rss_mib(charger.process.pid)


def _peer(sessions: int) -> tuple[tuple[Side, Side] | None, str]:
    """Return what the peer's charger and vehicle used, or why it is missing."""
    if reason := interop.missing():
        return None, reason
    with tempfile.TemporaryDirectory() as name, cable(f"warm-{os.getpid()}") as wire, ExitStack() as stack:
        folder = Path(name)
        (folder / "peer").mkdir()
        peer = interop.make_peer(folder / "peer")
        charger = peer.charger(wire, folder / "secc.log")
        charger.start()
        stack.callback(charger.stop)
        deadline = time.monotonic() + START_S
        while "UDP server started" not in charger.log.read_text():
            if time.monotonic() > deadline:
                return None, "its charger did not start"
            time.sleep(0.1)
        script = Path(__file__).parent / "peers" / "repeated_vehicle.py"
        command = peer.vehicle(wire, folder / "evcc.log", str(script)).command
        try:
            return _sessions(charger, _repeated(command, folder / "evcc.log", stack), sessions), ""
        except TransportError as error:
            return None, str(error)


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return float(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def _repeated(command: list[str], log: Path, stack: ExitStack) -> "Popen[str]":
    with log.open("ab") as file:
        process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=file, text=True, start_new_session=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _sessions(charger: Program, vehicle: "Popen[str]", sessions: int) -> tuple[Side, Side]:
    """Run the sessions; return what charger and vehicle used."""
    assert charger.process is not None
    for _ in range(FIRST):
        with contextlib.suppress(TransportError):  # the peer's first one may exceed its own timeouts
            _one(vehicle, FEW)
    meters = [TreeMeter(process.pid, period_s=0.5) for process in (charger.process, vehicle)]
    used = {FEW: [0.0, 0.0], MANY: [0.0, 0.0]}
    for loops in (FEW, MANY) * BLOCKS:
        before = [meter.now() for meter in meters]
        for _ in range(sessions // BLOCKS):
            _one(vehicle, loops)
        used[loops] = [
            total + meter.now() - start for total, meter, start in zip(used[loops], meters, before, strict=True)
        ]
    for meter in meters:
        meter.stop()
    few, many = ([total / sessions for total in used[loops]] for loops in (FEW, MANY))
    loop = [(two - one) / (MANY - FEW) for one, two in zip(few, many, strict=True)]
    one, two = (
        Side(each - FEW * a_loop, a_loop, meter.rss_mib) for each, a_loop, meter in zip(few, loop, meters, strict=True)
    )
    return one, two


def _one(vehicle: "Popen[str]", loops: int) -> None:
    assert vehicle.stdin is not None
    assert vehicle.stdout is not None
    vehicle.stdin.write(f"{loops}\n")
    vehicle.stdin.flush()
    ended = vehicle.stdout.readline().strip() or "the program"
    if ended != "finished":
        raise TransportError(f"a session ended with {ended}", hint="is the machine very busy?")
