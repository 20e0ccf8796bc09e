"""Writes the generated parts of the reference pages; `python docs/generate.py` brings every page up to date.

A page is written by hand except between `<!-- generated: NAME ARGUMENTS -->` and `<!-- end of generated -->`: what
stands there is made from the code, and a test refuses a page that says something else. Parts longer than a person
reads (`LONG`) are written into the site alone (docs/site.py).
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

ROOT: Final = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from benchmarks import history  # noqa: E402
from docs import (  # noqa: E402
    api,
    certification,
    charts,
    configuration,
    conformance,
    database,
    events,
    hazards,
    manual,
    messages,
    metrics,
    requirements,
    response_codes,
    service_parameters,
    threats,
    tried_with,
    update_rules,
    weak_pack,
)
from docs.markdown import table  # noqa: E402

if TYPE_CHECKING:
    from v2g.iso15118.engine.sequence import Chart
    from v2g.iso15118.engine.v2gtp import PayloadType

_BLOCK: Final = re.compile(
    r"(?P<open><!-- generated: (?P<name>[\w-]+)(?P<arguments>[^>]*?) -->\n)"
    r"(?P<body>.*?)(?P<end><!-- end of generated -->)",
    re.DOTALL,
)


def chart(name: str) -> "Chart":
    """Return the chart of a set of messages: of -20 (AC, DC, WPT, ACDP), of a side stream, of -2 or of DIN 70121."""
    from v2g.iso15118.d2.charts import CHARTS as CHARTS_2
    from v2g.iso15118.d2.charts import Family as Family2
    from v2g.iso15118.d20.charts import CHARTS, SIDE_CHARTS, Family
    from v2g.iso15118.din.charts import CHART
    from v2g.iso15118.engine.v2gtp import PayloadType

    older = {f"ISO2_{family.name}": CHARTS_2[family] for family in Family2} | {"DIN": CHART}
    if name in older:
        return older[name]
    return CHARTS[Family[name]] if name in Family.__members__ else SIDE_CHARTS[PayloadType[name]]


def drawn_chart(name: str) -> "Chart":
    """Return the chart that a picture shows: without early stops, which the table has."""
    from v2g.iso15118.d2.charts import STRICT as STRICT_2
    from v2g.iso15118.d2.charts import Family as Family2
    from v2g.iso15118.din.charts import STRICT

    strict = {f"ISO2_{family.name}": STRICT_2[family] for family in Family2} | {"DIN": STRICT}
    return strict.get(name) or chart(name)


def sequence_table(name: str) -> str:
    """Return every edge of a sequence chart."""
    from v2g.iso15118.engine.sequence import Asks, Says, edges

    return table(
        ("The charger waits in", "Request", "when the request asks for", "and the exchange says", "then waits in"),
        (
            (
                f"`{state.value}`",
                request,
                "" if edge.asks is Asks.ANYTHING else edge.asks.value,
                "" if edge.says is Says.ANYTHING else edge.says.value,
                f"`{edge.to.value}`",
            )
            for state, request, edge in edges(chart(name))
        ),
    )


def home_entities() -> str:
    """Return what appears in a Home Assistant."""
    from v2g.home_assistant import EVSE, SITE, VEHICLE

    return table(
        ("Of", "Key", "Entity", "Unit"),
        (
            (of, f"`{key}`", each.name, each.unit)
            for of, entities in (("EVSE", EVSE), ("site", SITE), ("vehicle", VEHICLE))
            for key, each in entities.items()
        ),
    )


def pictures() -> Mapping[Path, Callable[[], str]]:
    """Return every picture of the documentation: its file, and what makes its text."""
    from v2g.iso15118.d20.charts import Family
    from v2g.iso15118.engine.v2gtp import PayloadType

    names = [each.name for each in Family]
    names += [each.name for each in PayloadType if each in _side_charts()]
    titles = {name: f"ISO 15118-20 sequence chart {name}" for name in names}
    titles |= {"ISO2_AC": "ISO 15118-2 sequence chart AC", "ISO2_DC": "ISO 15118-2 sequence chart DC"}
    titles |= {"DIN": "DIN 70121 sequence chart"}
    folder = ROOT / "docs" / "reference" / "charts"
    return {
        **{folder / f"{name.lower()}.svg": partial(_drawn, name, title) for name, title in titles.items()},
        folder / "evse.svg": lambda: charts.svg(evse_ways(), "States of an EVSE"),
        folder / "speed.svg": lambda: history.chart(history.landings()),
        ROOT / "docs" / "pictures" / "weak-pack.svg": weak_pack.picture,
    }


def _drawn(name: str, title: str) -> str:
    return charts.svg(charts.ways_of(drawn_chart(name)), title)


def evse_ways() -> charts.Ways:
    """Return the states of an EVSE with their ways."""
    from secc.evse.core import CHARTS

    return {
        state: tuple(charts.Way(event, "", to) for event, to in leads.items())
        for chart in CHARTS.values()
        for state, leads in chart.items()
    }


def _side_charts() -> "Mapping[PayloadType, Chart]":
    from v2g.iso15118.d20.charts import SIDE_CHARTS

    return SIDE_CHARTS


def timing_table(edition: str = "d20") -> str:
    """Return how long each request of an edition (d20, d2, din) may wait for its answer."""
    messages = import_module(f"v2g.iso15118.{edition}.timing").MESSAGES
    return table(
        ("Request", "The vehicle waits at most, s", "The charger answers within, s"),
        ((name, f"{timing.timeout:g}", f"{timing.performance:g}") for name, timing in messages.items()),
    )


def timers_table(edition: str) -> str:
    """Return the timers of an edition's sessions (d2, din)."""
    import msgspec

    from v2g_cli.config import attribute_docs

    timing = import_module(f"v2g.iso15118.{edition}.timing").Timing
    described = attribute_docs(timing)
    return table(
        ("Timer", "Value", "Meaning"),
        (
            (
                f"`{field.name}`",
                str(field.default) if field.type is bool else f"{field.default:g} s",
                described[field.name],
            )
            for field in msgspec.structs.fields(timing)
            if field.name != "message_scale"
        ),
    )


def quirks() -> str:
    """Return the quirks of devices in the field, and what is done about each."""
    from v2g.iso15118.engine.quirks import QUIRKS

    return table(
        ("Quirk", "Of the", "In", "What it does", "What is done"),
        ((f"`{each.name}`", each.peer.value, each.edition.value, each.what, each.handling) for each in QUIRKS),
    )


def judging_rules() -> str:
    """Return the rules by which vehicle and charger judge each other."""
    from v2g.iso15118.engine.judging_rules import RULES

    head = ("By the", "Ends with", "In", "If", "Tolerance", "Source")
    return table(head, ((each.judge, f"`{each.name}`", *each[2:]) for each in RULES))


def station_quirk_kinds() -> str:
    """Return the quirks of charging stations that can be tolerated."""
    from v2g.ocpp.quirks import PROFILE_OPTIONS, QUIRKS

    return table(
        ("Quirk", "The station sends", "What is done"),
        ((f"`{name}`", *said) for name, said in {**QUIRKS, **PROFILE_OPTIONS}.items()),
    )


def station_quirks() -> str:
    """Return what is tolerated of which charging stations."""
    from v2g.ocpp.quirks import known_quirks

    return table(
        ("Vendor", "Model", "Firmware", "Tolerated", "Requests wait after a boot", "In 1.6", "Reported in"),
        (
            (
                f"`{each.vendor}`" if each.vendor else "empty", f"`{each.model}`", f"`{each.firmware}`",
                ", ".join(f"`{name}`" for name in each.tolerates),
                f"{each.delay_after_boot_s:g} s" if each.delay_after_boot_s else "",
                ", ".join(
                    f"`{name}`"
                    for name in (
                        *each.profiles,
                        *(["never_ping"] if each.never_ping else []),
                        *(f"never_read {key}" for key in each.never_read),
                        *([f"answer_delay_s {each.answer_delay_s:g}"] if each.answer_delay_s else []),
                        *([f"steps_a {'/'.join(f'{a:g}' for a in each.steps_a)}"] if each.steps_a else []),
                    )
                ),
                each.source,
            )
            for each in known_quirks()
        ),
    )  # fmt: skip


def vehicle_quirks() -> str:
    """Return the quirks of makes of vehicles, by the beginning of their EVCCID."""
    from v2g.iso15118.engine.quirks import VEHICLES

    head = ("EVCCID begins with", "Make", "Quirks", "Source")
    return table(
        head, ((f"`{e.evcc_id}`", e.make, ", ".join(f"`{q}`" for q in e.tolerate), e.source) for e in VEHICLES)
    )


def dc_status() -> str:
    """Return what a DC charger's status is by phase."""
    from v2g.iso15118.engine.dc_status import PHASES, STOPS, status

    rows = [(phase.value, f"`{status(phase).code}`", f"`{status(phase).isolation}`") for phase in PHASES]
    rows += [(f"any, when stopped by {stop.value}", f"`{code}`", "as before") for stop, code in STOPS.items()]
    return table(("Phase", "EVSEStatusCode", "EVSEIsolationStatus"), rows)


def error_tree() -> str:
    """Return every error class with its exit code and what it stands for."""
    from v2g.errors import V2GError

    def rows(kind: type[V2GError], depth: int) -> Iterable[tuple[str, str, str]]:
        text = " ".join((kind.__doc__ or "").split())
        yield "&nbsp;" * 4 * depth + f"`{kind.__name__}`", str(kind.exit_code), text
        for each in kind.__subclasses__():
            if each.__module__ == V2GError.__module__:
                yield from rows(each, depth + 1)

    return table(("Error", "Exit code", "Meaning"), rows(V2GError, 0))


def tls_reasons() -> str:
    """Return the names under which a TLS handshake fails."""
    from v2g.errors import RevocationReason
    from v2g.io.tls import peer_verifier as verdict

    said: dict[str, list[str]] = defaultdict(list)
    for number, (reason, sentence) in verdict.RECEIVED.items():
        said[reason].append(f"{sentence} (its alert {number})")
    for _, reason, sentence in verdict.FOUND:
        if sentence not in said[reason]:
            said[reason].append(sentence)
    for word in verdict.VERIFY_CODES:
        reason = "unknown_ca" if word == "unknown_root" else f"peer_certificate_{word}"
        said[reason].append(f"we find the peer's certificate {word.replace('_', ' ')}")
    for word in get_args(RevocationReason):
        said[f"ocsp_{word}"].append(f"revocation of the peer's certificate, by OCSP: {word.replace('_', ' ')}")
    said["crl_revoked"].append("the peer's certificate stands on a revocation list")
    for file in sorted((ROOT / "v2g" / "io" / "tls").glob("*.py")):
        for reason, sentence in _raised(file):
            if sentence not in said[reason]:
                said[reason].append(sentence)
    return table(("Reason", "What happened"), ((f"`{reason}`", "; ".join(said[reason])) for reason in sorted(said)))


def _raised(file: Path) -> Iterable[tuple[str, str]]:
    """Yield reason and sentence of each TlsError that a module makes with words of its own."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "TlsError":
            continue
        reason = next((each.value for each in node.keywords if each.arg == "reason"), None)
        parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else node.args[:1]
        words = "".join(str(each.value) if isinstance(each, ast.Constant) else "..." for each in parts)
        if isinstance(reason, ast.Constant) and words.strip("."):
            yield str(reason.value), words


def certificate_reasons() -> str:
    """Return the words of CertificateError."""
    from v2g.errors import CERTIFICATE_REASONS

    return table(("Reason", "Meaning"), ((f"`{word}`", meaning) for word, meaning in CERTIFICATE_REASONS.items()))


def journal_kinds() -> str:
    """Return the kinds of journal entries with their fields."""
    import msgspec

    from v2g.energy.settlement.records import Record

    rows = []
    for kind in Record.__subclasses__():
        tag = kind.__struct_config__.tag
        fields = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(kind))
        rows.append((f"`{tag}`", " ".join((kind.__doc__ or "").split()), fields))
    return table(("Kind", "Meaning", "Fields"), rows)


def telemetry_signals() -> str:
    """Return the registry of signals and where the default mapping takes them from."""
    from v2g.telemetry.signals import SIGNALS
    from v2g.telemetry.simulated_battery import BATTERY_SIGNALS

    sources = {target: source for source, target in BATTERY_SIGNALS.items()}
    return table(
        ("Signal", "Unit", "From", "To", "Step", "Dead band", "Jump", "VSS, below `Vehicle`", "CAN message and signal"),
        (
            (
                f"`{name}`",
                signal.unit or "-",
                f"{signal.minimum:g}",
                f"{signal.maximum:.10g}",
                f"{signal.resolution:g}",
                f"{signal.dead_band:g}",
                f"{signal.jump:g}" if signal.jump else "",
                f"`{signal.vss}`" if signal.vss else "",
                f"`{sources[name]}`" if name in sources else "",
            )
            for name, signal in SIGNALS.items()
        ),
    )


def local_events() -> str:
    """Return the events of local programs that become records."""
    from v2g.events import EVENTS
    from v2g.telemetry.local_events import REPORTED

    rows = ((f"`{name}`", ", ".join(fields), "yes" if EVENTS[name].safety else "") for name, fields in REPORTED.items())
    return table(("Event", "Fields", "Safety"), rows)


def error_codes() -> str:
    """Return the codes of the gateway's error log."""
    from v2g.telemetry.error_codes import CODES

    rows = ((f"`0x{code:03X}`", f"`{each.name}`", each.cause, each.hint) for code, each in CODES.items())
    return table(("Code", "Name", "Cause", "What to do"), rows)


def scenarios() -> str:
    """Return what `v2g demo` can show."""
    from v2g_cli.demo.scenario import SCENARIOS
    from v2g_cli.demo.update import UPDATES

    every = [(each.name, each.about) for each in SCENARIOS] + [(each.name, each.about) for each in UPDATES]
    return table(("Scenario", "What it shows"), ((f"`{name}`", about) for name, about in every))


def access_roles() -> str:
    """Return which role may do what over HTTP."""
    from csms.accounts.rules import ALLOWED

    return table(
        ("Role", "May"),
        ((f"`{role.value}`", ", ".join(sorted(f"`{o.value}`" for o in may))) for role, may in ALLOWED.items()),
    )


def board_fields() -> str:
    """Return every line of the control board's protocol with its fields."""
    import msgspec

    from v2g.hardware.board import protocol as board

    rows = []
    for kind in (board.Hello, board.Set, board.BoardStatus, board.RefusedLine):
        fields = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(kind))
        rows.append((f"`{kind.__struct_config__.tag}`", " ".join((kind.__doc__ or "").split()), fields))
    rows += (
        ("`TEMP`", " ".join((board.Temperatures.__doc__ or "").split()), "one field a sensor, `none` if broken"),
        ("`TELL`", " ".join((board.StatusQuery.__doc__ or "").split()), "`n`, `what`, and those of the table below"),
    )
    return table(("Line", "Meaning", "Fields"), rows)


def board_inputs() -> str:
    """Return every input of the monitor on a control board with its fields."""
    from typing import get_args

    import msgspec

    from v2g.hardware.board.inputs import Input

    rows = []
    for kind in get_args(Input):
        fields = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(kind))
        rows.append((f"`{kind.__struct_config__.tag}`", " ".join((kind.__doc__ or "").split()), fields))
    return table(("`what`", "Meaning", "Fields"), rows)


def hardware_faults() -> str:
    """Return every fault of the hardware: what it means, how long it lasts, and what the operator sees."""
    from v2g.hardware.faults import FAULTS

    return table(
        ("Fault", "Meaning", "Stops energy", "Lasts until", "Lamp", "OCPP component"),
        (
            (f"`{word}`", kind.sentence, "yes" if kind.stops else "no", kind.until, f"`{kind.light}`", kind.component)
            for word, kind in FAULTS.items()
        ),
    )


def duty_table() -> str:
    """Return what each duty cycle means."""
    from v2g.iec61851.pilot import DUTY_RANGES, MOST_A

    rows, begin = [], "0"
    for each in DUTY_RANGES:
        current = "" if each.meaning != "current" else f"{each.slope:g} x D {each.offset:+g}, at most {MOST_A:g}"
        rows.append((f"{begin} to {'' if each.closed else 'below '}{each.below:g}", f"`{each.meaning}`", current))
        begin = f"{'above ' if each.closed else ''}{each.below:g}"
    return table(("Duty cycle D, %", "Meaning", "A"), rows)


def run_rules() -> str:
    """Return the rules that hold over a whole run of the OCPP test lab."""
    from v2g_testkit.ocpp.run_judge import RULES

    devices = {"station": "charging station", "csms": "back end"}
    return table(
        ("Rule", "Device", "Required", "Requirements"),
        (
            (
                f"`{each.id}`",
                ", ".join(devices[one] for one in each.devices),
                each.required,
                ", ".join(each.requirements),
            )
            for each in RULES
        ),
    )


def meter_quirks() -> str:
    """Return what meters do, and what charger and back end do about it, by the bounds in their code."""
    from csms.booking.plausibility import UNKNOWN_RATING_W
    from v2g.hardware.faults import FAULTS
    from v2g.hardware.meters.plausibility import COMPARED_MS, ERROR_PERMILLE, MARGIN_WH, STUCK_WH

    tolerated = {
        "meter_stuck": f"{STUCK_WH} Wh by voltage and current without a step of the register",
        "meter_jump": f"the EVSE's power x time, and {MARGIN_WH} Wh",
        "meter_backward": "none",
        "measurements_differ": f"{ERROR_PERMILLE / 10:g} % and {STUCK_WH} Wh over {COMPARED_MS // 60_000} min",
        "meter_lost": "`hardware.modbus.lost_s` and the like of other drivers",
    }
    rated = f"rating x time, 10 % and 5 s; without a rating {UNKNOWN_RATING_W // 1000} kW"
    held, summed = "held; the energy by the other readings is proposed", "summed and converted; the outlet's counts"
    back_end = (
        ("a register rises by a placeholder or a spike", rated, held),
        ("a register falls: a reset, or another meter", "1 Wh, or its resolution", "counted on, and held"),
        ("registers of L1 to L3 alone, kWh, multipliers, other locations", "any", summed),
        ("a signed reading is not that of the message", "10 Wh: readings are rounded", "verdict `mismatch`"),
    )
    stops = (
        (FAULTS[word].sentence, tolerance, f"fault `{word}`: no energy, until {FAULTS[word].until}")
        for word, tolerance in tolerated.items()
    )
    rows = (*(("charger", *each) for each in stops), *(("back end", *each) for each in back_end))
    return table(("At the", "A meter does", "Tolerance", "What is done"), rows)


def clock_quirks() -> str:
    """Return how far clocks may be wrong, and what follows, by the bounds in the code."""
    from csms.booking.plausibility import CLOCK_MS, LATE_MS
    from evcc.session.settings import DischargeConfig
    from v2g_station.kernel.kernel import CLOCK_SET_MS

    past, ahead = f"{LATE_MS // 1000} s before its receipt", f"{CLOCK_MS // 1000} s after it"
    compared = "event `clock_compared` with the difference; the operating system sets it"
    timed = "timers go on by a clock that is never set, schedules by the new time"
    skew = f"{DischargeConfig().clock_skew_ms // 1000} s (`clock_skew_ms`)"
    rows = (
        (
            "station",
            "is wrong, or goes back (1970, another zone)",
            f"{past}, {ahead}",
            "time of receipt, held (`clock`)",
        ),
        ("station", "writes times without a zone", "none", "refused; UTC from makes with `time_without_zone`"),
        ("charger", "differs from the back end's", "any", compared),
        ("charger", "is set while it runs", f"less than {CLOCK_SET_MS / 1000:g} s", timed),
        ("charger", "differs from the vehicle's in a signed offer", skew, "the vehicle does not discharge"),
        (
            "meter",
            "has no time in UTC, or a wrong one",
            "any",
            "the charger stamps readings; records follow their page",
        ),
        ("gateway", "was set back before a boot", "any", "the boot gets another number: `BOOT_RENUMBERED`"),
    )
    return table(("Clock", "What it does", "Tolerance", "What is done"), rows)


def signed_formats() -> str:
    """Return the formats of signed readings."""
    from v2g.energy.meter_records.judge import FORMATS

    rows = ((each.name, each.signed, each.marks) for each in FORMATS)
    return table(("Format", "What is signed", "Begin and end"), rows)


def signed_verdicts() -> str:
    """Return the verdicts on signed readings, by the command and at the back end."""
    from csms.transactions.signed_values import MISMATCH, VERDICTS
    from v2g.energy.meter_records.judge import MEANINGS

    rows = [(f"`{each}`", f"`{VERDICTS[each]}`", meaning) for each, meaning in MEANINGS.items()]
    return table(("`--json`", "Back end", "Meaning"), [*rows, ("", "`mismatch`", MISMATCH)])


def signed_curves() -> str:
    """Return the curves of keys that sign readings."""
    from v2g.energy.meter_records.keys import SIZES

    return ", ".join(f"`{each}`" for each in sorted(SIZES))


def speed() -> str:
    """Return what a session has cost, landing by landing."""
    return table(
        ("State", "Measured", "Charger and vehicle", "Back end", "Charger, MiB", "Vehicle, MiB", "Unit, s", "Machine"),
        (
            (
                f"`{each.revision}`", each.utc[:10], f"{each.charger_and_vehicle:.1f}", f"{each.back_end:.1f}",
                f"{each.charger_mib:.0f}", f"{each.vehicle_mib:.0f}", f"{each.reference_s:.3f}", each.machine,
            )
            for each in history.landings()
        ),
    )  # fmt: skip


def connection_faults() -> str:
    """Return what can be wrong with a station's attempt to connect, and what to do about it."""
    from csms.admission import rules as faults

    found = [
        faults.wrong_path("/elsewhere", "/ocpp", 3),
        faults.unknown_station("CS-1"),
        faults.refused_station("CS-1"),
        faults.no_version(("ocpp1.5",), ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")),
        faults.no_password(),
        faults.wrong_user("CS-2"),
        faults.wrong_password(),
        faults.password_missing_here(),
        faults.no_certificate(),
        faults.other_name("CS-2", "CS-1"),
        faults.other_organization("Maker", "Operator"),
        faults.other_serial_number("SN-2"),
        faults.bad_certificate("unknown_root", "no trusted root"),
        faults.expired_certificate("CN=CS-1 expired at 2026-05-28 20:00:00Z"),
        faults.failed_tls("CERTIFICATE_VERIFY_FAILED", "certificate signature failure"),
        faults.lower_profile(1, 2),
        *(faults.failed_tls(reason) for reason in faults.TLS_REASONS),
        faults.tls_without_need(),
    ]
    return table(
        ("Kind", "What was seen", "What to do"), ((f"`{each.kind}`", each.detail, each.hint) for each in found)
    )


def titles(folder: str, *names: str) -> str:
    """Return the list of pages of a folder, by their headings, with links from the index."""
    files = ((name, (ROOT / "docs" / folder / f"{name}.md").read_text()) for name in names)
    return "".join(f"- [{text[2:].partition(chr(10))[0]}]({folder}/{name}.md)\n" for name, text in files)


def fields(*structs: str) -> str:
    """Return the fields of some Structs, each MODULE:NAME, with what their source says of them."""
    from v2g_cli.config import keys_of

    kinds = [getattr(import_module(module), name) for module, _, name in (each.partition(":") for each in structs)]
    return table(
        ("Field", "Default", "Meaning"),
        ((f"`{key.name}`", key.default, key.meaning) for kind in kinds for key in keys_of(kind)),
    )


GENERATORS: Final[Mapping[str, Callable[..., str]]] = {
    "access-roles": access_roles,
    "api-actions": api.actions,
    "api-records": api.records,
    "station-quirk-kinds": station_quirk_kinds,
    "station-quirks": station_quirks,
    "api-routes": api.routes,
    "board-fields": board_fields,
    "board-inputs": board_inputs,
    "certificate-reasons": certificate_reasons,
    "certification": certification.table,
    "certification-lab": certification.lab_table,
    "certification-steps": certification.steps,
    "certification-lab-missing": certification.lab_missing,
    "code-uses": response_codes.uses_table,
    "configuration": configuration.program,
    "conformance": conformance.table,
    "conformance-faults": conformance.faults,
    "conformance-left": conformance.left,
    "conformance-published": conformance.published,
    "conformance-older": conformance.older,
    "conformance-older-vehicles": conformance.older_vehicles,
    "connection-faults": connection_faults,
    "database-columns": database.columns,
    "database-tables": database.tables,
    "dc-status": dc_status,
    "declaration": configuration.declaration,
    "duty-table": duty_table,
    "error-tree": error_tree,
    "event-stages": events.stages,
    "events": events.page,
    "fields": fields,
    "hardware-faults": hardware_faults,
    "hazards": hazards.table,
    "home-assistant": home_entities,
    "injected-faults": hazards.injected,
    "injected-faults-covered": hazards.covered,
    "journal-kinds": journal_kinds,
    "message-pages": messages.message_pages,
    "messages": messages.messages,
    "clock-quirks": clock_quirks,
    "meter-quirks": meter_quirks,
    "manual": manual.table,
    "metrics": metrics.metrics,
    "promised-times": hazards.promised,
    "protocol-codes": response_codes.protocol_table,
    "judging-rules": judging_rules,
    "quirks": quirks,
    "vehicle-quirks": vehicle_quirks,
    "reaction-times": hazards.reactions,
    "requirements": requirements.table,
    "response-codes": response_codes.table,
    "run-rules": run_rules,
    "scenarios": scenarios,
    "sequence-table": sequence_table,
    "service-parameters": service_parameters.table,
    "shared-configuration": configuration.shared,
    "signed-curves": signed_curves,
    "signed-formats": signed_formats,
    "signed-verdicts": signed_verdicts,
    "speed": speed,
    "status": configuration.status,
    "telemetry-signals": telemetry_signals,
    "error-codes": error_codes,
    "local-events": local_events,
    "threat-detection": threats.detection,
    "threat-ratings": threats.ratings,
    "threats": threats.table,
    "update-attacks": update_rules.attacks,
    "tried-with": tried_with.table,
    "update-rules": update_rules.table,
    "timers-table": timers_table,
    "timing-table": timing_table,
    "titles": titles,
    "tls-reasons": tls_reasons,
}
"""Name of a generated part -> what makes it."""


LONG: Final[Mapping[str, str]] = {
    "api-routes": "a running back end has it at `/openapi.json`",
    "certification": "",
    "certification-lab": "`v2g conform {} --list` shows it",
    "configuration": "`v2g config explain {}` shows it",
    "conformance": "`v2g conform {} --list` shows it",
    "conformance-older": "`v2g conform secc --list` shows it",
    "conformance-older-vehicles": "`v2g conform evcc --list` shows it",
    "database-columns": "`csms/FEATURE/tables.py` or `store.py` declares them",
    "declaration": "",
    "error-codes": "`v2g diag log FILE` explains them",
    "event-stages": "",
    "events": "",
    "hazards": "`docs/hazards.toml` is their source",
    "injected-faults": "",
    "injected-faults-covered": "",
    "local-events": "`v2g/events.txt` marks them `*`",
    "messages": "`v2g exi explain` shows the fields of a message",
    "promised-times": "`docs/promised-times.toml` has the figures",
    "reaction-times": "`docs/reaction-times.toml` has the figures",
    "requirements": "",
    "response-codes": "",
    "sequence-table": "",
    "shared-configuration": "`v2g config explain PROGRAM KEY` shows them",
    "status": "",
    "telemetry-signals": "`v2g/telemetry/signals.py` declares them",
}
"""Parts that only the site has, and where else the same stands ({}: the part's first argument)."""


def render(text: str, *, whole: bool = False) -> str:
    """Return a page with its generated parts as the code has them now, the long ones only if it shall be `whole`.

    KeyError for a part that nobody makes.
    """

    def make(match: re.Match[str]) -> str:
        name, arguments = match["name"], match["arguments"].split()
        if whole or name not in LONG:
            body = GENERATORS[name](*arguments)
        else:
            elsewhere = LONG[name].format("station" if "cs" in arguments else "".join(arguments[:1]))
            body = f"*In the site that `make docs` builds{'; ' if elsewhere else ''}{elsewhere}.*\n"
        return f"{match['open']}\n{body}\n{match['end']}"

    return _BLOCK.sub(make, text)


def pages() -> list[Path]:
    """Return every page of the documentation, the README of the project among them."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shipped_files() -> Iterator[tuple[Path, str]]:
    """Yield the files of the schema registry, and the operations that `v2g csms` knows."""
    from v2g.telemetry.registry import files, shipped

    for name, text in files().items():
        yield shipped() / name, text
    yield ROOT / "v2g_cli" / "csms" / "operations.jsonl", api.operations()


def main() -> int:
    """Rewrite pages and other files that have changed; return how many (0: everything was up to date)."""
    changed = 0
    drawn = ((picture, make()) for picture, make in pictures().items())
    made = (*drawn, *shipped_files())
    for page, new in (*made, *((page, render(page.read_text())) for page in pages())):
        if not page.exists() or page.read_text() != new:
            page.parent.mkdir(exist_ok=True)
            page.write_text(new)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")
            changed += 1
    return changed


if __name__ == "__main__":
    main()
