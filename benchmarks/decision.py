"""Offer to decision, and plug-in to energy, over many complete sessions between real processes.

Back end and charger are the real programs; the vehicle is `benchmarks.load.vehicle`. Every session has plug, SLAC,
SDP, TLS, ISO 15118-20 in EXI, authorisation over OCPP, an offer and a decision in signed DER, signed discharge
commands, power both ways, journal and settlement bundle on disk.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure, percentile
from benchmarks.grid import SmallCsms, connected_charger, start_vehicles
from benchmarks.load.charging_vehicles import Report
from benchmarks.load.vehicle import REFUSE
from v2g.energy.grid_signal import PriceSignal, SignalSlot
from v2g.errors import TimeoutExpired, TransportError
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.processes import Event, EventFile, Program, free_port, program, wait_for
from v2g_cli.demo.scenario import find

ABOUT = "offer to decision and plug-in to energy, complete sessions between three processes"
REQUIREMENTS = ("R6", "R8")

SESSIONS = 1000
REFUSED = 5
"""One session in so many has a vehicle that rejects every offer."""
AT_ONCE = 100
AT_ONCE_S = 30.0
SETTLE_S = 6.0
"""An offer waits a second for the rest of its grid signal, and all vehicles have decided by then."""
TARGET_MS = 50.0
AT_ONCE_TARGET_MS = 500.0
START_TARGET_S = 1.0
SCALE = 60.0
"""Simulated seconds per second: all sessions fit into the hours for which the grid signal has prices."""
SESSION_S = 30.0
LEAST = 0.9
"""Minimum share of sessions with a decision; on a busy machine the protocol's timeout of 0.5 s may expire."""
NO_PEER = "no peer: no other implementation has signed offers"


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield both sides' times of the decision, and the time from plug-in to the first power."""
    sessions = 3 if quick else SESSIONS
    with tempfile.TemporaryDirectory() as folder:
        secc, evcc, reasons, cpu_s = _run(Path(folder) / "run", sessions)
    first = _first_of_each(secc, "offer", "decided", "latency_ms")
    policy = _first_of_each(evcc, "offer", "decided", "decision_ms")
    decided = len(first)
    accepted = sum(_first_of_each(secc, "offer", "decided", "accepted"))
    first += [SESSION_S * 1000] * (sessions - decided)  # a session without a decision counts as the slowest
    if decided < sessions * LEAST:
        raise TransportError(f"{decided} of {sessions} sessions reached a decision", hint="run `v2g demo`")
    failed = Counter(reason for reason in reasons if reason != "finished")
    broken = "".join(f"; {count} sessions failed: {reason}" for reason, count in failed.items())
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(
            f"offer to decision at the charger, {name}",
            percentile(first, share),
            "ms",
            target=TARGET_MS,
            note=f"{sessions} sessions, one after the other, all count: {accepted} accepted, "
            f"{decided - accepted} rejected, {sessions - decided} without a decision; "
            "sign, journal, TLS, verify, decide, sign, TLS; "
            f"the first one, after program start, took {first[0]:.1f} ms; {NO_PEER}{broken}",
        )
    yield Figure(
        "of which in the vehicle, p99",
        percentile(policy, 0.99),
        "ms",
        note="verify the offer, decide, sign the decision",
    )
    flow = _plug_to_energy(evcc)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(
            f"plug-in to first measured power, {name}",
            percentile(flow, share),
            "s",
            target=START_TARGET_S,
            note=f"{len(flow)} sessions, without delays of simulated hardware; the first one took {flow[0]:.2f} s",
        )
    vehicles = 3 if quick else AT_ONCE
    with tempfile.TemporaryDirectory() as folder:
        each, together, note = asyncio.run(_at_once(Path(folder), vehicles))
    note += f"; {vehicles} sessions of one charger in the charge loop; load {os.getloadavg()[0]:.1f}"
    yield Figure("a changed offer each, p99", percentile(each, 0.99), "ms", target=TARGET_MS, note=note)
    yield Figure("new prices for all at once, slowest", max(together), "ms", target=AT_ONCE_TARGET_MS, note=note)
    yield Figure(
        "CPU of charger and vehicle for a short session, mean",
        cpu_s / sessions,
        "s",
        note="including the start of both programs; about 20 charge loops",
    )


async def _at_once(folder: Path, vehicles: int) -> tuple[list[float], list[float], str]:
    """Return the times (ms) of the decisions about one changed offer each, and about new prices for all at once."""
    csms = SmallCsms()
    server, port = await csms.listen()
    pki, config = connected_charger(folder, vehicles, port)
    charger = program("secc", folder, config)
    seen: list[Event] = []
    with ExitStack() as stack:
        charger.start()
        stack.callback(charger.stop)
        start = partial(start_vehicles, charger, folder, pki, AT_ONCE_S, discharge=True)
        fleet = await asyncio.to_thread(start)
        stack.callback(fleet.kill)
        await csms.wait_for(vehicles)
        await csms.call("prices-1", "DataTransfer", _prices(1, 400_000))
        await asyncio.sleep(SETTLE_S)
        alone = time.monotonic()
        for evse_id in sorted(csms.transactions):
            await csms.call(f"limit-{evse_id}", "SetChargingProfile", csms.limit(evse_id, discharge_w=5000 + evse_id))
        await asyncio.sleep(SETTLE_S)
        together = time.monotonic()
        await csms.call("prices-2", "DataTransfer", _prices(2, 0))
        output, _ = await asyncio.to_thread(fleet.communicate)
        await asyncio.to_thread(charger.stop)
        seen += charger.events.read()
    server.close()
    ended = msgspec.json.decode(output, type=Report).ended.count("finished")
    each, all_ = ({}, {})  # type: tuple[dict[str, float], dict[str, float]]
    accepted = 0
    for event in seen:
        if (event.stage, event.name) == ("offer", "decided") and event.t > alone:
            times = all_ if event.t > together else each
            if event.data["evse_id"] not in times:
                times[event.data["evse_id"]] = event.data["latency_ms"]
                accepted += event.data["accepted"]
    lost = [SESSION_S * 1000]
    note = f"{len(each)} and {len(all_)} of {vehicles} decided, {accepted} accepted; {ended} sessions finished"
    return [*each.values(), *lost * (vehicles - len(each))], [*all_.values(), *lost * (vehicles - len(all_))], note


def _prices(version: int, compensation: int) -> dict[str, Any]:
    """Return a DataTransfer with the prices of this day."""
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms - now_ms % 3_600_000
    slots = [
        SignalSlot(
            start_ms=start_ms + n * 3_600_000, duration_s=3600, import_price=300_000, export_compensation=compensation
        )
        for n in range(24)
    ]
    signal = PriceSignal(version=version, issued_at_ms=now_ms, source="benchmark", currency="EUR", slots=tuple(slots))
    return {"vendorId": VENDOR, "messageId": "GridSignal", "data": msgspec.to_builtins(signal)}


def _run(folder: Path, sessions: int) -> tuple[list[Event], list[Event], list[str], float]:
    """Return the reports of charger and vehicle, the outcome of each session, and the CPU of both (s)."""
    scenario = find("discharge")
    assert scenario is not None
    run = RunFolder(folder, scenario, SCALE)
    run.prepare()
    csms = program("csms", folder, run.csms_config())
    started = [csms]
    charger_events: list[Event] = []
    try:
        csms.start()
        ports = wait_for(csms, "ocpp", "ready", [], seconds=10).data
        sdp_port = free_port()
        secc = program("secc", folder, run.secc_config(ocpp_port=ports["ocpp_port"], sdp_ports=(sdp_port,)))
        started.append(secc)
        secc.start()
        wait_for(secc, "session", "ready", charger_events, seconds=10)
        run.can_port = free_port(socket.SOCK_DGRAM)
        config = run.evcc_config(sdp_port=sdp_port)
        vehicle_events, reasons, cpu_s = _drive(folder, config, sessions, secc, charger_events)
    finally:
        for each in reversed(started):
            each.stop()
    charger_events += secc.events.read()
    return charger_events, vehicle_events, reasons, cpu_s + secc.cpu_s


def _drive(
    folder: Path, config: Path, sessions: int, secc: Program, seen: list[Event]
) -> tuple[list[Event], list[str], float]:
    """Run so many sessions of the vehicle; each time the charger is free again, with a new key."""
    events = EventFile(folder / "evcc.events.jsonl")
    command = [sys.executable, "-m", "benchmarks.load.vehicle", "--config", str(config), "--events", str(events.path)]
    log_path = folder / "evcc.log"
    reasons: list[str] = []
    with log_path.open("ab") as log:
        vehicle = Program("evcc", command, log_path, events)
        process = vehicle.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(sessions):
            process.stdin.write((REFUSE if number % REFUSED == 1 else "go").encode() + b"\n")
            process.stdin.flush()
            reasons.append(process.stdout.readline().decode().strip())
            if not reasons[-1]:
                raise TransportError("the vehicle program crashed", hint=log_path.read_text()[-2000:])
            wait_for(secc, "link", "key_set", seen, seconds=SESSION_S)
        process.stdin.close()
        deadline = time.monotonic() + SESSION_S
        while vehicle.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutExpired("end of the vehicle", SESSION_S)
            time.sleep(0.01)
    finally:
        vehicle.stop()
    return list(events.read()), reasons, vehicle.cpu_s


def _first_of_each(events: list[Event], stage: str, name: str, field: str) -> list[float]:
    """Return a field of the first such event of each session; a session starts with `link plugged_in`."""
    values: list[Any] = []
    waiting = False
    for event in events:
        if (event.stage, event.name) == ("link", "plugged_in"):
            waiting = True
        elif waiting and (event.stage, event.name) == (stage, name):
            values.append(event.data[field])
            waiting = False
    return values


def _plug_to_energy(events: list[Event]) -> list[float]:
    """Return, for each session, the seconds from plug-in to the first charge loop with measured power."""
    spans, plugged = [], None
    for event in events:
        if (event.stage, event.name) == ("link", "plugged_in"):
            plugged = event.t
        elif plugged is not None and (event.stage, event.name) == ("loop", "flow") and event.data["power_w"]:
            spans.append(event.t - plugged)
            plugged = None
    return spans
