"""Checks a run against what really happened, with figures."""

import base64
from collections.abc import Iterable
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec

from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCdr
from v2g.ocpi.records import volume
from v2g.typed_json import Fields
from v2g.units import payable
from v2g_cli.demo import summary_grid
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.folder import EMAID, EVCC_ID, LOWERED_LIMIT_W, SITE_LIMIT_W
from v2g_cli.demo.run import TOLERANCE_W, Check, Run
from v2g_cli.demo.scenario import happened
from v2g_cli.demo.tables import evcc_id


def billed(run: Run) -> Iterable[Check]:
    """Check that the provider has booked the CDR of what bundle and operator say, with the meter's own signatures."""
    found = run.conductor.cdrs
    words = ", ".join(f"{each['state']} {each['detail']}".strip() for each in found) or "none came"
    yield Check("the provider has booked one CDR", [each["state"] for each in found] == ["booked"], words)
    if run.report is None or len(found) != 1 or not run.report.settlement.totals:  # without energy nothing is priced
        return
    cdr = wire.read(wire.inner(wire.decode(msgspec.json.encode(found[0]["document"]))), OcpiCdr)
    settled, (total,) = run.report.settlement, run.report.settlement.totals
    said, wanted = cdr.total_cost.before_taxes, payable(Decimal(total.balance).scaleb(-6), total.currency)
    posted = run.last("csms", "settlement", "settled")
    booked = None if posted is None else payable(Decimal(int(posted.data["balance"])).scaleb(-6), total.currency)
    words = f"{wanted}, {booked} and {said} {total.currency}"
    yield Check("money is equal in the bundle, at operator and provider", said == wanted == booked, words)
    back = sum((each.volume for p in cdr.charging_periods for each in p.dimensions if each.volume < 0), Decimal(0))
    taken = volume(cdr.charging_periods, "ENERGY") - back
    meter = [Decimal(getattr(settled.end, name) - getattr(settled.begin, name)) / 10**6
             for name in ("import_mwh", "export_mwh")]  # fmt: skip
    same = abs(taken - meter[0]) < Decimal("0.001") > abs(back + meter[1])
    yield Check("its energy is the meter's, below zero where it was fed back", same, f"{taken} kWh, {back} kWh")
    signed = set() if cdr.signed_data is None else {each.signed_data for each in cdr.signed_data.signed_values}
    shown = {base64.b64encode(line).decode() for each in run.bundles[-1].glob("ocmf_*.txt")
             for line in each.read_bytes().splitlines()}  # fmt: skip
    words = f"{len(signed & shown)} of {len(signed)}"
    yield Check("the CDR has the bundle's signed readings (OCMF)", len(signed) == 2 and signed <= shown, words)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run. `facts` are (label, text) for people, `figures` the same for programs."""

    scenario: str
    folder: str
    passed: bool
    checks: tuple[Check, ...]
    facts: tuple[tuple[str, str], ...]
    figures: Fields


def summarise(conductor: Conductor) -> Summary:
    """Return the result of a completed run."""
    run = Run(conductor)
    scenario = conductor.scenario
    checks = [*_seen(run), *_by_ending(run)]
    if scenario.lower_limit:
        checks.append(_limit_obeyed(run))
    if scenario.trades:
        checks.append(_traded(run))
    if scenario.roaming:
        checks += billed(run)
    if scenario.vtn:
        checks += summary_grid.event_followed(run)
    if scenario.fleet is not None:
        checks += summary_grid.fleet_kept(run)
        checks += summary_grid.bid_kept(run)
    if scenario.prices:
        checks += summary_grid.trade_kept(run)
    if scenario.off_within_s is not None:
        # power is off soon enough after the fault, or after the vehicle has detected the lost connection
        seconds = scenario.off_within_s
        gone, off = run.first("evcc", "session", "failed"), run.first("secc", "power", "emergency_off")
        struck = run.conductor.struck_at or (gone.t if gone is not None else None)
        took = off.t - struck if off is not None and struck is not None else None
        name = f"power off within {seconds:g} s"
        checks.append(Check(name, took is not None and took <= seconds, "never" if took is None else f"{took:.2f} s"))
    return Summary(
        scenario=scenario.name,
        folder=str(conductor.folder.path),
        passed=all(check.passed for check in checks),
        checks=tuple(checks),
        facts=tuple(_facts(run)),
        figures=_figures(run),
    )


def _seen(run: Run) -> Iterable[Check]:
    """Check the events that the scenario expects."""
    for expected in run.conductor.scenario.sees:
        process, stage, name, fields = expected
        found = happened(expected, run.events)
        wanted = f"{process} {stage} {name} {' '.join(fields.values())}".strip()
        evidence = (
            f"{len(found)} times" if found else f"not among {[e.data for e in run.all(process, stage, name)][:3]}"
        )
        yield Check(wanted, bool(found), evidence)


def _by_ending(run: Run) -> Iterable[Check]:
    match run.conductor.scenario.ending:
        case "whole":
            yield from _whole(run)
        case "charged":
            yield from _happened(run, *_opening(run))
            energy = run.energy_wh
            yield Check("energy flowed into the vehicle only", energy[0] > 0 == energy[1], f"{energy[0]:.0f} Wh in")
            yield from _ended_well(run)
        case "beside":
            yield from _beside(run)
        case "no_session":
            power = run.first("secc", "power", "started")
            yield Check("no power flowed", power is None and run.energy_wh == (0, 0), f"{run.energy_wh} Wh")
            evcc = run.conductor.programs["evcc"]
            yield Check("the vehicle ended the session", (evcc.exit_code or 0) > 0, f"exit {evcc.exit_code}")
        case "no_export":
            yield from _no_export(run)
        case "stopped":
            yield from _stopped(run)
        case "interrupted":
            yield from _interrupted(run)
        case "refused":
            yield from _refused(run)


def _settled(run: Run) -> Iterable[Check]:
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
        yield Check("both balances are equal", settled.data["balance"] == balance, f"{balance} micro-units")


def _transactions(run: Run) -> Iterable[Check]:
    started = run.all("csms", "ocpp", "transaction_started")
    ended = run.all("csms", "ocpp", "transaction_ended")
    yield Check(
        "one transaction, begun once and ended once",
        (len(started), len(ended)) == (1, 1),
        f"{len(started)} begun, {len(ended)} ended",
    )


MATCHED: Final = ("powerline matched by SLAC", "evcc", "link", "matched")
FOUND: Final = ("charger found by SDP", "evcc", "sdp", "found")
TLS: Final = MappingProxyType({"20": "TLS 1.3 on both sides", "2": "TLS 1.2 of the charger"})
AUTHORIZED: Final = ("contract authorised by the back end", "csms", "authorization", "authorize")
STARTED: Final = ("started by the back end", "csms", "ocpp", "remote_start_matched")
CONFIRMED: Final = ("meter reading signed by the vehicle", "secc", "metering", "confirmed")
GIVEN: Final = (
    ("offer made by the charger", "secc", "offer", "offered"),
    ("signed discharge command accepted", "secc", "offer", "command_accepted"),
)


def _happened(run: Run, *wanted: tuple[str, str, str, str]) -> Iterable[Check]:
    for words, process, stage, name in wanted:
        event = run.first(process, stage, name)
        yield Check(
            words, event is not None, "" if event is None else f"at {event.t - run.conductor.timeline.start:.2f} s"
        )


def _opening(run: Run) -> Iterable[tuple[str, str, str, str]]:
    """From the plug to the authorisation, and the vehicle's signature of what the meter shows."""
    scenario = run.conductor.scenario
    if scenario.plug:
        yield MATCHED
    yield FOUND
    if not scenario.without_tls:
        yield (TLS[scenario.edition], "evcc", "tls", "connected")
    yield from (STARTED,) if scenario.remote_start else (AUTHORIZED, CONFIRMED)


def _beside(run: Run) -> Iterable[Check]:
    """Each vehicle has its EVSE, its transaction and its bill, and together they stay within the site's limit."""
    numbers, programs = run.conductor.folder.evses, run.conductor.programs
    names = [name for name in programs if name.startswith("evcc")]
    flows = {name: run.all(name, "loop", "flow") for name in names}
    begun = max(each[0].t if each else 0.0 for each in flows.values())
    ended = min(each[-1].t if each else 0.0 for each in flows.values())
    both = [e for e in flows["evcc"] if begun < e.t < ended]
    yield Check("all charged at the same time", len(both) > 5, f"{len(both)} charge loops side by side")
    for name in names:
        code = programs[name].exit_code
        yield Check(f"{name} ended gracefully", code == 0, f"exit code {code}")
    started = run.all("secc", "session", "session_started")
    places = sorted({(str(e.data["evse_id"]), str(e.data["evcc_id"])) for e in started})
    wanted = [(f"DEV2GE00001*{number}", evcc_id(number)) for number in numbers]
    yield Check("each vehicle at its own EVSE", places == wanted, " ".join("/".join(each) for each in places))
    opened, closed = (len(run.all("csms", "ocpp", f"transaction_{each}")) for each in ("started", "ended"))
    yield Check("one transaction each", opened == closed == len(numbers), f"{opened} begun, {closed} ended")
    energy = [(r.settlement.evse_id, r.settlement.end.import_mwh - r.settlement.begin.import_mwh) for r in run.reports]
    paid = len({evse for evse, mwh in energy if mwh > 0}) == len(energy) == len(numbers)
    yield Check("all settlement bundles verify", paid, f"{energy} mWh {run.report_error if not run.reports else ''}")
    settled = len(run.all("csms", "settlement", "settled"))
    yield Check("the back end settled all", settled == len(numbers), f"{settled} settled")
    since_ms = max((e.utc_ms for e in run.all("secc", "power", "started")), default=0)
    worst = max((watts for at_ms, watts in summary_grid.sums(run) if at_ms > since_ms), default=0)
    name = "together they stay within the site's limit"
    yield Check(name, 0 < worst <= SITE_LIMIT_W + 2 * TOLERANCE_W, f"at most {worst} W of {SITE_LIMIT_W} W")
    yield _safe(run)


def _safe(run: Run) -> Check:
    """The safety monitors did not have to intervene."""
    said = [str(event.data.get("reason")) for event in run.events if event.stage == "safety"]
    return Check("the safety monitors did not intervene", not said, " ".join(said) or "no event")


def _whole(run: Run) -> Iterable[Check]:
    yield from _happened(run, *_opening(run), *GIVEN)
    if run.first("secc", "power", "cable_check_passed") is not None:  # direct current
        yield from _happened(run, ("welding detection", "secc", "stop", "welding_detection"))
    decided = [e for e in run.all("evcc", "offer", "decided") if e.data["accepted"]]
    slowest = max((e.data["decision_ms"] for e in decided), default=0)
    yield Check("offer accepted within 500 ms", bool(decided) and slowest < 500, f"slowest {slowest:.1f} ms")
    energy = run.energy_wh
    yield Check("energy flowed both ways", min(energy) > 0, f"{energy[0]:.0f} Wh in, {energy[1]:.0f} Wh out")
    battery = run.report.settlement.battery if run.report else None
    cycles = None if battery is None else battery.v2g_cycles
    words = "unknown" if cycles is None else f"{cycles / 1e6:.4f} by discharge"
    yield Check("the battery's cycles are counted", cycles is not None, words)
    yield _safe(run)
    yield from _ended_well(run)


def _ended_well(run: Run) -> Iterable[Check]:
    intervals = len(run.report.settlement.intervals) if run.report else 0
    yield Check("at least two settlement intervals", intervals >= 2, f"{intervals} intervals")
    evcc = run.conductor.programs["evcc"]
    yield Check("the session ended gracefully", evcc.exit_code == 0, f"vehicle's exit code {evcc.exit_code}")
    yield from _transactions(run)
    yield from _settled(run)
    # A gateway that was killed has not confirmed all that is stored
    stopped = run.last("gateway", "telemetry", "stopped")
    confirmed, waiting = (stopped.data["stored"], stopped.data["waiting"]) if stopped else (0, 0)
    stored = run.conductor.telemetry_stored
    words = f"{confirmed} confirmed, {waiting} pending, {stored} stored"
    fits = 0 < confirmed <= stored if run.conductor.scenario.kill_gateway else 0 < confirmed == stored
    yield Check("telemetry stored as confirmed", fits and not waiting, words)
    if run.conductor.scenario.kill_gateway:
        folder = run.conductor.folder.path
        kept, taken = (
            each.read_bytes().splitlines() if each.exists() else []
            for each in (folder / "evcc/checkpoints.jsonl", folder / "telemetry.checkpoints")
        )
        words = f"{len(kept)} kept by the vehicle, {len(taken)} delivered"
        yield Check("every checkpoint is delivered once", 1 < len(kept) == len(taken) == len(set(taken)), words)


def _traded(run: Run) -> Check:
    """The average cost of a kilowatt-hour is below its average revenue."""
    totals = run.report.settlement.totals if run.report else ()
    for total in totals:
        if total.import_mwh and total.export_mwh:
            paid, earned = total.import_cost / total.import_mwh, total.export_credit / total.export_mwh
            words = f"bought at {paid:.3f}, sold at {earned:.3f} {total.currency}/kWh"
            return Check("energy bought cheaper than sold", paid < earned, words)
    return Check("energy bought cheaper than sold", passed=False, evidence="nothing was bought and sold")


def _no_export(run: Run) -> Iterable[Check]:
    energy = run.energy_wh
    accepted = run.all("secc", "offer", "command_accepted")
    # energy allowed by accepted commands, W times their validity; 1 % for the meter's resolution
    allowed = sum(e.data["effective_w"] * e.data["valid_ms"] / 3_600_000 for e in accepted) * 1.01
    rejected = len(run.all("secc", "offer", "command_rejected"))
    yield Check(
        "no energy was fed back beyond accepted commands",
        energy[1] <= allowed,
        f"{energy[1]:.1f} Wh out, {allowed:.1f} Wh allowed by {len(accepted)} commands, {rejected} rejected",
    )
    yield Check("charging was not disturbed", energy[0] > 0, f"{energy[0]:.0f} Wh in")
    yield from _settled(run)


def _stopped(run: Run) -> Iterable[Check]:
    flows = run.all("evcc", "loop", "flow")
    yield Check("power flowed before", any(e.data["power_w"] for e in flows), f"{len(flows)} charge loops")
    evcc = run.conductor.programs["evcc"]
    yield Check("the vehicle ended the session", (evcc.exit_code or 0) > 0, f"exit {evcc.exit_code}")
    yield from _transactions(run)
    yield from _settled(run)


def _interrupted(run: Run) -> Iterable[Check]:
    """Ended before the program was completed, but gracefully, with every journal closed."""
    flows = run.all("evcc", "loop", "flow")
    yield Check("power flowed before", any(e.data["power_w"] for e in flows), f"{len(flows)} charge loops")
    yield from _happened(run, ("power stopped by PowerDelivery", "secc", "stop", "power_stopped"))
    yield Check("no emergency shutdown", run.first("secc", "power", "emergency_off") is None, "no emergency off")
    yield from _transactions(run)
    yield from _settled(run)


def _refused(run: Run) -> Iterable[Check]:
    """Authorised, but no energy beyond that of an alignment check."""
    yield from _happened(run, AUTHORIZED)
    yield Check("no power was delivered", run.first("secc", "power", "started") is None, f"{run.energy_wh} Wh")
    evcc = run.conductor.programs["evcc"]
    yield Check("the vehicle ended the session", (evcc.exit_code or 0) > 0, f"exit {evcc.exit_code}")
    yield from _transactions(run)


def _limit_obeyed(run: Run) -> Check:
    """The lowered limit applies from the next charge loop after its arrival.

    With alternating current that loop informs the vehicle, whose own charger follows from the one after.
    """
    changed = [e for e in run.all("secc", "power", "limit_changed") if e.data["discharge_w"] == LOWERED_LIMIT_W]
    if not changed:
        return Check("lowered export limit obeyed in the next charge loop", passed=False, evidence="it never arrived")
    after = [e for e in run.all("secc", "loop", "response") if e.t > changed[0].t and e.data["power_w"] < 0]
    if run.first("secc", "power", "cable_check_passed") is None:
        after = after[1:]
    before = [e for e in run.all("secc", "loop", "response") if e.t < changed[0].t and e.data["power_w"] < 0]
    worst = min((e.data["power_w"] for e in after), default=0)
    return Check(
        "lowered export limit obeyed in the next charge loop",
        bool(after) and bool(before) and worst >= -(LOWERED_LIMIT_W + TOLERANCE_W),
        f"{before[-1].data['power_w'] if before else 0} W before, at most {worst} W in {len(after)} loops after",
    )


def _facts(run: Run) -> Iterable[tuple[str, str]]:
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
    yield from summary_grid.facts(run)
    stopped = run.last("gateway", "telemetry", "stopped")
    if stopped is not None:
        yield ("telemetry", f"{run.conductor.telemetry_stored} records stored, by {run.conductor.transport}")
    for name, each in run.conductor.programs.items():
        yield name, f"{each.cpu_s:.2f} s CPU, {each.rss_mib:.0f} MiB peak"
    yield "files", str(run.conductor.folder.path)


def _figures(run: Run) -> dict[str, object]:
    plugged, power = run.first("evcc", "link", "plugged_in"), run.first("secc", "power", "started")
    return {
        "plug_in_to_power_s": None if plugged is None or power is None else round(power.t - plugged.t, 4),
        "decision_ms": [e.data["decision_ms"] for e in run.all("evcc", "offer", "decided")],
        "import_wh": run.energy_wh[0],
        "export_wh": run.energy_wh[1],
        "command_validity_ms": run.conductor.folder.command_ms,
        "telemetry_stored": run.conductor.telemetry_stored,
        "transport": run.conductor.transport,
        **summary_grid.figures(run),
        "bundle": str(run.bundles[-1]) if run.bundles else None,
        "programs": {
            name: {"cpu_s": round(each.cpu_s, 3), "rss_mib": round(each.rss_mib, 1), "exit_code": each.exit_code}
            for name, each in run.conductor.programs.items()
        },
    }
