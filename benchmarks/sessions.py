"""1,000 charging sessions at once (R175): which are lost, what each journal proves, and its energy beside the truth.

Four chargers with 250 EVSEs each, and all vehicles in one process: TLS, EXI, sessions, limits, meters, journals,
settlement. All clocks and timers of both run in slow motion (`benchmarks.load.slow_charger`): so two cores hold 1,000
vehicles at the pace of the standard, a charge loop each 0.25 s at least (V2G20-1501), within its time limits. Every
vehicle charges with a power of its own, so that energy of another session shows. The truth is what the vehicles' inlets
saw: voltage times current from one charge loop to the next. What a site needs in real time follows from the CPU time.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks import charging
from benchmarks.figures import Figure, cpu_s, percentile
from benchmarks.load.charging_vehicles import Inlet, Plan, Report
from benchmarks.load.slow_charger import SLOW
from pki_tools.tree import PkiOptions, make_pki
from v2g.energy.settlement.bundle import verify_bundle
from v2g.errors import TransportError, VerificationError
from v2g.io.storage.journal_file import read_files
from v2g.iso15118.signed_requests import read_confirmation
from v2g_cli.demo.processes import Event, Program, program, wait_for

ABOUT = "1,000 charging sessions at once: sessions and journals lost, energy beside the vehicles', cost of a session"
REQUIREMENTS = ("R175",)

VEHICLES: Final = 1000
CHARGERS: Final = 4
PAUSE_S: Final = 0.25
ARRIVE_S: Final = 10.0
"""All arrive, and all leave, within that time."""
SECONDS: Final = 15.0
TOLERANCE: Final = 0.03
"""Of a session's energy: the vehicle sees its current only with each loop."""

_SLOW: Final = "[hardware]\nwatch = { hung_s = 60 }"
"""The watchdog is a thread, which keeps real time."""


class Proved(NamedTuple):
    """What is wrong with sessions, by kind; and how far energies are from what vehicles saw, in proportion."""

    wrong: Counter[str]
    off: list[float]


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield what was lost, the error of energies, and the chargers' cost of a session."""
    vehicles = 4 if quick else VEHICLES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if quick:
            report, loop_s, memory_mib = run(folder, vehicles, 2, seconds=5.0, arrive_s=0.2, speed=0.5)
        else:
            report, loop_s, memory_mib = run(folder, vehicles, CHARGERS)
        proved = prove(folder, report.inlets)
    lost = Counter(word for word in report.ended if word != "finished")
    note = "; ".join(f"{count} {what}" for what, count in (lost + proved.wrong).most_common(4))
    note = f"load {os.getloadavg()[0]:.1f}" + (f"; {note}" if note else "")
    yield Figure(f"sessions lost of {vehicles}", lost.total(), "sessions", target=1, note=note)
    yield Figure("journals that are missing, incomplete or of other energy", proved.wrong.total(), "journals", target=1)
    if proved.off:
        yield Figure("energy of a session beside the vehicle's, p99", 100 * percentile(proved.off, 0.99), "%")
    loops = report.answers_ms.get("DC_ChargeLoopReq", [])
    note = f"{len(loops)} loops; {len(loops) / (report.over - report.began):.0f} a second of the machine's clock"
    yield Figure("response time of DC_ChargeLoopReq, p99", percentile(loops, 0.99), "ms", target=500, note=note)
    cost_ms = 1000 * loop_s / len(loops)
    note = f"with all that EVSEs do between; at a loop each 0.25 s a core has {250 / cost_ms:.0f} sessions"
    yield Figure("CPU of the chargers per charge loop", cost_ms, "ms", note=note)
    yield Figure("memory of an EVSE", memory_mib / vehicles, "MiB", note=f"{memory_mib:.0f} MiB together")


def run(
    folder: Path,
    vehicles: int,
    chargers: int,
    *,
    seconds: float = SECONDS,
    arrive_s: float = ARRIVE_S,
    speed: float = SLOW,
) -> tuple[Report, float, float]:
    """Return what vehicles measured at so many chargers, CPU time of these (s) in the loops, and their memory (MiB)."""
    pki = make_pki(folder / "pki", now=datetime.now(UTC), options=PkiOptions())
    each, programs, ports = vehicles // chargers, list[Program](), list[int]()
    with ExitStack() as stack:
        for number in range(chargers):
            home = folder / f"charger-{number}"
            home.mkdir()
            (home / "pki").symlink_to(pki.directory)
            config = charging.charger_config(home, pki, each)
            config.write_text(config.read_text().replace("[hardware]", _SLOW))
            charger = program("secc", home, config, module="benchmarks.load.slow_charger", arguments=(str(speed),))
            seen: list[Event] = []
            charger.start()
            stack.callback(charger.stop)
            wait_for(charger, "session", "ready", seen, seconds=charging.START_S + each)
            ports += [event.data["tls_port"] for event in seen if event.name == "listens"]
            programs.append(charger)
        plan = Plan(
            pki=str(pki.directory),
            ports=ports,
            seconds=seconds,
            patience_s=charging.PATIENCE_S + 2 * vehicles,
            arrive_s=arrive_s,
            leave_s=arrive_s,
            pause_s=PAUSE_S,
            speed=speed,
            powers_w=[3000 + 5 * number for number in range(len(ports))],
        )
        fleet = charging.start_vehicles(folder, plan)
        pids = [one.process.pid for one in programs if one.process is not None]
        used, output = charging.watch(fleet, lambda: sum(map(cpu_s, pids)))
    if fleet.returncode:
        raise TransportError("the vehicles did not finish", hint="is the machine very busy?")
    report = msgspec.json.decode(output, type=Report)
    spent_s = charging.between(used, report.began, report.over)
    return report, spent_s, sum(one.rss_mib for one in programs)


def prove(folder: Path, inlets: dict[str, Inlet]) -> Proved:
    """Verify each session's bundle, and compare its energy with what the vehicle's inlet saw."""
    wrong, off = Counter[str](), list[float]()
    bundles = {each.name: each for each in folder.glob("charger-*/secc/**/settlements/*")}
    for session_id, inlet in inlets.items():
        if (bundle := bundles.pop(session_id, None)) is None:
            wrong["journal missing"] += 1
            continue
        try:
            settlement = verify_bundle(read_files(bundle), confirmations=read_confirmation).settlement
        except VerificationError as error:
            wrong[str(error)[:60]] += 1
            continue
        energy_mwh = settlement.end.import_mwh - settlement.begin.import_mwh
        off.append(abs(energy_mwh / inlet.energy_mwh - 1) if inlet.energy_mwh else 1.0)
        wrong["journal open"] += settlement.state != "closed"
        wrong["other energy"] += off[-1] > TOLERANCE
    wrong["journal of nobody"] += len(bundles)
    return Proved(+wrong, off)
