"""Judges a run by what really happened, and says so in figures."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from cli.demo.conductor import Conductor
from cli.demo.folder import COMMAND_MS, EMAID, EVCC_ID, LOWERED_LIMIT_W
from cli.demo.processes import Event
from v2g.errors import V2GError
from v2g.iso15118.metering import read_confirmation
from v2g.net.journal_file import read_files
from v2g.pki.credentials import load_chain
from v2g.settlement.bundle import verify_bundle
from v2g.settlement.report import Report

TOLERANCE_W: Final = 60
"""Measured power may exceed a limit by rounding of current to mA and one step of the simulated battery."""


class Check(msgspec.Struct, frozen=True):
    """One thing that had to happen, whether it did, and by which evidence."""

    name: str
    passed: bool
    evidence: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to. `facts` are (label, text) for people, `figures` the same for machines."""

    scenario: str
    folder: str
    passed: bool
    checks: tuple[Check, ...]
    facts: tuple[tuple[str, str], ...]
    figures: dict[str, Any]


class _Run:
    """The events of a run, by name, and the settlement bundles that it left."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.events = sorted(conductor.events, key=lambda event: event.t)
        self.bundles = sorted((conductor.folder.path / "secc" / "settlements").glob("*"))
        self.report: Report | None = None
        self.report_error = "no bundle was written"
        if self.bundles:
            pki = conductor.folder.pki
            anchors = [der for root in ("v2g", "mo") for der in load_chain(pki.path(f"{root}/root.pem"))]
            try:
                self.report = verify_bundle(
                    read_files(self.bundles[-1]), anchors=anchors, confirmations=read_confirmation
                )
            except V2GError as error:
                self.report_error = str(error)

    def all(self, process: str, stage: str, name: str) -> list[Event]:
        return [e for e in self.events if (e.process, e.stage, e.name) == (process, stage, name)]

    def first(self, process: str, stage: str, name: str) -> Event | None:
        return next(iter(self.all(process, stage, name)), None)

    def last(self, process: str, stage: str, name: str) -> Event | None:
        return next(reversed(self.all(process, stage, name)), None)

    @property
    def energy_wh(self) -> tuple[float, float]:
        """Import and export by the journal, Wh."""
        if self.report is None:
            return 0.0, 0.0
        begin, end = self.report.settlement.begin, self.report.settlement.end
        return (end.import_mwh - begin.import_mwh) / 1000, (end.export_mwh - begin.export_mwh) / 1000


def summarise(conductor: Conductor) -> Summary:
    """Return the verdict on a run that has ended."""
    run = _Run(conductor)
    scenario = conductor.scenario
    checks = [*_seen(run), *_by_ending(run)]
    if scenario.lower_limit:
        checks.append(_limit_obeyed(run))
    return Summary(
        scenario=scenario.name,
        folder=str(conductor.folder.path),
        passed=all(check.passed for check in checks),
        checks=tuple(checks),
        facts=tuple(_facts(run)),
        figures=_figures(run),
    )


def _seen(run: _Run) -> Iterable[Check]:
    """Check the events that the scenario promises."""
    for process, stage, name, fields in run.conductor.scenario.sees:
        found = [
            e
            for e in run.all(process, stage, name)
            if all(str(e.data.get(key)) == want for key, want in fields.items())
        ]
        wanted = f"{process} {stage} {name} {' '.join(fields.values())}".strip()
        evidence = (
            f"{len(found)} times" if found else f"not among {[e.data for e in run.all(process, stage, name)][:3]}"
        )
        yield Check(wanted, bool(found), evidence)


def _by_ending(run: _Run) -> Iterable[Check]:
    match run.conductor.scenario.ending:
        case "whole":
            yield from _whole(run)
        case "no_session":
            power = run.first("secc", "power", "started")
            yield Check("no power flowed", power is None and run.energy_wh == (0, 0), f"{run.energy_wh} Wh")
            evcc = run.conductor.programs["evcc"]
            yield Check("the vehicle ended by itself and said so", (evcc.exit_code or 0) > 0, f"exit {evcc.exit_code}")
        case "no_export":
            yield from _no_export(run)
        case "stopped":
            yield from _stopped(run)


def _settled(run: _Run) -> Iterable[Check]:
    yield Check(
        "the settlement bundle verifies",
        run.report is not None,
        run.report_error if run.report is None else f"{run.report.settlement.journal_entries} journal entries",
    )
    settled = run.last("csms", "settlement", "settled")
    yield Check(
        "the back end settled its own copy of the journal", settled is not None, "" if settled is None else "yes"
    )
    if run.report is not None and settled is not None and "balance" in settled.data:
        balance = sum(total.balance for total in run.report.settlement.totals)
        yield Check("both come to the same balance", settled.data["balance"] == balance, f"{balance} micro-units")


def _transactions(run: _Run) -> Iterable[Check]:
    started = run.all("csms", "ocpp", "transaction_started")
    ended = run.all("csms", "ocpp", "transaction_ended")
    yield Check(
        "one transaction, begun once and ended once",
        (len(started), len(ended)) == (1, 1),
        f"{len(started)} begun, {len(ended)} ended",
    )


def _whole(run: _Run) -> Iterable[Check]:
    for words, process, stage, name in (
        ("powerline matched by SLAC", "evcc", "link", "matched"),
        ("charger found by SDP", "evcc", "sdp", "found"),
        ("TLS 1.3 on both sides", "evcc", "tls", "connected"),
        ("contract authorised by the back end", "csms", "authorization", "authorize"),
        ("offer made by the charger", "secc", "offer", "offered"),
        ("signed discharge command accepted", "secc", "offer", "command_accepted"),
        ("meter reading signed by the vehicle", "secc", "metering", "confirmed"),
        ("welding detection", "secc", "stop", "welding_detection"),
    ):
        event = run.first(process, stage, name)
        yield Check(words, event is not None, "" if event is None else f"at {event.t - run.events[0].t:.2f} s")
    decided = [e for e in run.all("evcc", "offer", "decided") if e.data["accepted"]]
    slowest = max((e.data["decision_ms"] for e in decided), default=0)
    yield Check("offer accepted within 500 ms", bool(decided) and slowest < 500, f"slowest {slowest:.1f} ms")
    energy = run.energy_wh
    yield Check("energy flowed both ways", min(energy) > 0, f"{energy[0]:.0f} Wh in, {energy[1]:.0f} Wh out")
    intervals = len(run.report.settlement.intervals) if run.report else 0
    yield Check("at least two settlement intervals", intervals >= 2, f"{intervals} intervals")
    evcc = run.conductor.programs["evcc"]
    yield Check("the session ended in good order", evcc.exit_code == 0, f"vehicle's exit code {evcc.exit_code}")
    yield from _transactions(run)
    yield from _settled(run)
    stopped = run.last("evcc", "telemetry", "stopped")
    sent, stored = (stopped.data["sent"] if stopped else 0), run.conductor.stored()
    yield Check("telemetry stored as sent", 0 < sent == stored, f"{sent} sent, {stored} stored")


def _no_export(run: _Run) -> Iterable[Check]:
    energy = run.energy_wh
    accepted = run.all("secc", "offer", "command_accepted")
    # what commands that were accepted allow, W times their validity; 1 % for the meter's steps
    allowed = sum(e.data["effective_w"] * e.data["valid_ms"] / 3_600_000 for e in accepted) * 1.01
    rejected = len(run.all("secc", "offer", "command_rejected"))
    yield Check(
        "nothing was fed back beyond what accepted commands allow",
        energy[1] <= allowed,
        f"{energy[1]:.1f} Wh out, {allowed:.1f} Wh allowed by {len(accepted)} commands, {rejected} rejected",
    )
    yield Check("charging was not disturbed", energy[0] > 0, f"{energy[0]:.0f} Wh in")
    yield from _settled(run)


def _stopped(run: _Run) -> Iterable[Check]:
    flows = run.all("evcc", "loop", "flow")
    yield Check("power flowed before", any(e.data["power_w"] for e in flows), f"{len(flows)} charge loops")
    evcc = run.conductor.programs["evcc"]
    yield Check("the vehicle stopped by itself and said so", (evcc.exit_code or 0) > 0, f"exit {evcc.exit_code}")
    yield from _transactions(run)
    yield from _settled(run)


def _limit_obeyed(run: _Run) -> Check:
    """After the lowered limit has arrived, the very next charge loop keeps it."""
    changed = [e for e in run.all("secc", "power", "limit_changed") if e.data["discharge_w"] == LOWERED_LIMIT_W]
    if not changed:
        return Check("lowered export limit obeyed in the next charge loop", passed=False, evidence="it never arrived")
    after = [e for e in run.all("secc", "loop", "response") if e.t > changed[0].t and e.data["power_w"] < 0]
    before = [e for e in run.all("secc", "loop", "response") if e.t < changed[0].t and e.data["power_w"] < 0]
    worst = min((e.data["power_w"] for e in after), default=0)
    return Check(
        "lowered export limit obeyed in the next charge loop",
        bool(after) and bool(before) and worst >= -(LOWERED_LIMIT_W + TOLERANCE_W),
        f"{before[-1].data['power_w'] if before else 0} W before, at most {worst} W in {len(after)} loops after",
    )


def _facts(run: _Run) -> Iterable[tuple[str, str]]:
    tls = run.first("evcc", "tls", "connected")
    if tls is not None:
        yield "TLS", f"{tls.data['version']}, {tls.data['cipher']}, {tls.data['group']}, OCSP {tls.data['ocsp']}"
        yield "authenticated", f"charger {tls.data['peer']}, vehicle {EVCC_ID}, contract {EMAID}"
    decided = run.all("evcc", "offer", "decided")
    if decided:
        times = ", ".join(
            f"{e.data['decision_ms']:.1f} ms {'yes' if e.data['accepted'] else 'no'}" for e in decided[:6]
        )
        yield "offers decided", times
    plugged, power = run.first("evcc", "link", "plugged_in"), run.first("secc", "power", "started")
    if plugged is not None and power is not None:
        yield "plug-in to power", f"{power.t - plugged.t:.3f} s"
    if run.report is not None:
        settlement = run.report.settlement
        yield "energy", f"{run.energy_wh[0] / 1000:.3f} kWh in, {run.energy_wh[1] / 1000:.3f} kWh out"
        prices = sorted({line.price for line in settlement.lines if line.price is not None})
        currency = settlement.lines[0].currency if settlement.lines else ""
        yield "prices", ", ".join(f"{price / 1e6:.2f}" for price in prices) + f" {currency}/kWh"
        for total in settlement.totals:
            words = f"{len(settlement.lines)} lines in {len(settlement.intervals)} intervals: "
            words += f"costs {total.import_cost / 1e6:.2f}, earns {total.export_credit / 1e6:.2f}, "
            yield "settlement", words + f"to pay {total.balance / 1e6:.2f} {total.currency}"
        yield "verified", "every signature, register, interval and price of the bundle"
    else:
        yield "not settled", run.report_error
    stopped = run.last("evcc", "telemetry", "stopped")
    if stopped is not None:
        yield (
            "telemetry",
            f"{stopped.data['sent']} records by {run.conductor.transport}, {run.conductor.stored()} stored",
        )
    for name, each in run.conductor.programs.items():
        yield name, f"{each.cpu_s:.2f} s CPU, {each.rss_mib:.0f} MiB peak"
    yield "files", str(run.conductor.folder.path)


def _figures(run: _Run) -> dict[str, Any]:
    plugged, power = run.first("evcc", "link", "plugged_in"), run.first("secc", "power", "started")
    return {
        "plug_in_to_power_s": None if plugged is None or power is None else round(power.t - plugged.t, 4),
        "decision_ms": [e.data["decision_ms"] for e in run.all("evcc", "offer", "decided")],
        "import_wh": run.energy_wh[0],
        "export_wh": run.energy_wh[1],
        "command_validity_ms": COMMAND_MS,
        "telemetry_stored": run.conductor.stored(),
        "transport": run.conductor.transport,
        "bundle": str(run.bundles[-1]) if run.bundles else None,
        "programs": {
            name: {"cpu_s": round(each.cpu_s, 3), "rss_mib": round(each.rss_mib, 1), "exit_code": each.exit_code}
            for name, each in run.conductor.programs.items()
        },
    }
