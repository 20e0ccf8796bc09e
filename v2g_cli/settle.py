"""`v2g settle`: verifies a settlement bundle offline, shows its content, and writes it for people and programs."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import UNSET

from v2g import typed_json
from v2g.energy.settlement.records import MOST_REACTION_MS
from v2g.errors import Asn1Error, ConfigError, RefusedError, SealedError, StoreError, V2GError, VerificationError
from v2g.units import decimals_of, payable
from v2g_cli import settle_ocmf
from v2g_cli.csms.show import NO_ACCESS, AccessOptions, client_of, part
from v2g_cli.options import with_option_groups
from v2g_cli.output import (
    Spoken,
    print_json,
    print_table,
    read_file,
    read_tariff,
    read_text,
    say,
    when,
    write_new,
    write_out,
)

if TYPE_CHECKING:
    from v2g.energy.settlement.dispute import Evidence, OcspAnswer
    from v2g.energy.settlement.journal import Entry
    from v2g.energy.settlement.pricing import Direction
    from v2g.energy.settlement.report import Report
    from v2g.energy.settlement.settle import Settlement
    from v2g.energy.settlement.taxes import Taxation
    from v2g.pki.keys import PublicKey

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(settle_ocmf.app, name="ocmf", help="Verify signed meter readings of any make.")
Bundle = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a settlement bundle.")]
Roots = Annotated[
    list[Path] | None, typer.Option("--root", help="PEM file of a trusted root; default: the roots in the bundle.")
]
INCOMPLETE = 10
"""Exit code for a bundle that is verified, but whose end nobody beside the charger signed, or that has no copy."""

_ANY_REACTION_S = 3600.0
"""For showing, which does not verify against it."""

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]
Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="Keys of sealed files: `journal_keys` of the program.")
]

Corrections = Annotated[
    Path | None,
    typer.Option("--corrections", metavar="FILE", help="The back end's copy of the journal: `v2g csms journal`."),
]


CheckpointCopies = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints", metavar="FILE", help="Copies of the vehicle or the back end: reject a bundle without them."
    ),
]
Held = Annotated[
    Path | None,
    typer.Option("--held", metavar="FILE", help="What the back end holds: `v2g csms unbooked --json`. No held amount."),
]
CsmsCopy = Annotated[
    Path | None, typer.Option("--csms", metavar="FILE", help="The back end's answer to GET /settlements/SESSION.")
]
VehicleLog = Annotated[Path | None, typer.Option("--vehicle", metavar="FILE", help="The vehicle's event log.")]


def _anchors(roots: list[Path] | None) -> tuple[bytes, ...] | None:
    from v2g.pki.credentials import load_chain

    if not roots:
        return None
    try:
        return tuple(der for root in roots for der in load_chain(root))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None


Operators = Annotated[
    list[Path] | None,
    typer.Option("--operator", metavar="FILE", help="PEM file of the operator's public key: `v2g csms books key`."),
]


def _operators(files: list[Path] | None) -> tuple["PublicKey", ...] | None:
    from v2g.pki.keys import load_public_key

    return tuple(load_public_key(each) for each in files) if files else None


Reaction = Annotated[
    float, typer.Option("--max-reaction", min=0, max=3600, help="Longest reaction time that the charger may claim, s.")
]


def _files(directory: Path, keys: Path | None, *, json: bool | None = None) -> Mapping[str, bytes]:
    """Return the files of a bundle, opened if they are sealed. Unless `json` is None, what can be read of a journal
    that does not open is printed first."""
    from v2g.energy.settlement.bundle import JOURNAL
    from v2g.io.storage.journal_file import read_files
    from v2g.io.storage.record_keys import RecordKeys

    with _opening(directory / JOURNAL, keys, json=json):
        return read_files(directory, RecordKeys.read(keys))


def _file(path: Path, keys: Path | None, *, json: bool | None = None) -> bytes:
    """Return the content of a file, opened if it is sealed; `json` as in `_files`."""
    from v2g.io.storage.record_keys import RecordKeys, open_lines

    with _opening(path, keys, json=json):
        return open_lines(read_file(path), RecordKeys.read(keys), path.name)


@contextlib.contextmanager
def _opening(journal: Path, keys: Path | None, *, json: bool | None) -> Iterator[None]:
    """When a sealed file does not open, print what can be read of this journal, and raise the error again."""
    from v2g.io.storage.record_keys import RecordKeys, is_sealed, readable

    try:
        yield
    except (SealedError, VerificationError) as error:
        if json is not None and keys is not None and journal.is_file() and is_sealed(data := read_file(journal)):
            _print_readable({journal.name: readable(data, RecordKeys.read(keys), journal.name)}, error, json=json)
        raise


def _verified(
    files: Mapping[str, bytes],
    root: list[Path] | None,
    most_reaction_s: float = _ANY_REACTION_S,
    operators: "Sequence[PublicKey]" = (),
) -> tuple[Mapping[str, bytes], "Report"]:
    """Return the files of a bundle, as given, and what they prove. Raises VerificationError."""
    from v2g.energy.settlement.bundle import verify_bundle
    from v2g.iso15118.signed_requests import read_authorization, read_confirmation

    most_ms = round(most_reaction_s * 1000)
    report = verify_bundle(
        files,
        anchors=_anchors(root),
        confirmations=read_confirmation,
        authorizations=read_authorization,
        most_reaction_ms=most_ms,
        operators=operators,
    )
    return files, report


@contextlib.contextmanager
def _readable(data: Mapping[str, bytes], *, json: bool) -> Iterator[None]:
    """On a VerificationError, print what can be read of the journals that break, by name, and raise it again."""
    try:
        yield
    except VerificationError as error:
        _print_readable(data, error, json=json)
        raise


def _print_readable(data: Mapping[str, bytes], error: V2GError, *, json: bool) -> None:
    """Print what can be read of the journals that break, by name."""
    from v2g.energy.settlement.journal import readable_lines, verify_lines

    for name, journal in data.items():
        try:
            verify_lines(journal, name=name)
            continue
        except VerificationError as broken:
            where = broken.where
        found = list(readable_lines(journal))
        if json:
            lines = [{"line": number, "continues": valid, "entry": entry} for number, entry, valid in found]
            print_json({"journal": name, "verified": False, "where": where, "error": str(error), "lines": lines})
            continue
        say(f"{where} breaks the journal. Nothing of it is verified. What can be read of it:")
        print_table(
            name,
            ("line", "time (UTC)", "entry", "kWh taken", "kWh fed back", ""),
            (
                (
                    str(number), when(entry.utc_ms), entry.kind,
                    *(f"{mwh / 1e6:.6f}" if (mwh := getattr(entry.data, each, None)) is not None else ""
                      for each in ("import_mwh", "export_mwh")),
                    "" if valid else "after the break",
                )
                for number, entry, valid in found
            ),
        )  # fmt: skip


class Required(Enum):
    """What must be proved: see `v2g.energy.settlement.bundle.Demand`."""

    SIGNED = "signed"
    CHECKPOINTS = "checkpoints"
    AUTHORIZATION = "authorization"
    OPERATOR = "operator"


@app.command()
def verify(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of settlement bundles.")],
    root: Roots = None,
    reaction: Reaction = MOST_REACTION_MS / 1000,
    require: Annotated[
        list[Required] | None,
        typer.Option(
            "--require",
            help="signed: reject energy fed back without signed commands. checkpoints: also reject energy that the "
            "vehicle has not countersigned. authorization: reject a session that no contract's vehicle has signed for. "
            "operator: reject prices, and an end, that the operator (--operator) has not signed.",
        ),
    ] = None,
    checkpoints: CheckpointCopies = None,
    corrections: Corrections = None,
    operator: Operators = None,
    independent: Annotated[
        bool, typer.Option("--independent", help="Also decode every signed message with asn1tools (extra [verify]).")
    ] = False,
    keys: Keys = None,
    json: JsonFlag = False,
) -> None:
    """Recompute everything in bundles: hash chain, signatures, registers, intervals, prices, certificate chains.

    Example: `v2g settle verify runs/TIME/secc/settlements/SESSION --root pki/v2g/root.pem --root pki/mo/root.pem`

    Exit code 9 if any check fails; the message names file and line, and what can be read of a broken journal is shown.
    10 if nobody but charger and meter signed that a
    journal goes to the session's end, as the first line says, or if --checkpoints has no copy of a session.
    """
    from v2g.energy.settlement.bundle import JOURNAL, Demand, verify_bundle
    from v2g.energy.settlement.checkpoints import read_copies
    from v2g.energy.settlement.corrections import read_addendum, read_corrected
    from v2g.iso15118.signed_requests import read_authorization, read_confirmation

    if corrections is not None and len(directories) > 1:
        raise ConfigError("--corrections continues one journal", hint="verify its bundle by itself")
    anchors, operators = _anchors(root), _operators(operator)
    demands: set[Demand] = {each.value for each in require or ()}
    if Required.CHECKPOINTS in (require or ()):
        demands.add("signed")

    def report_of(directory: Path) -> "Report":
        files = _files(directory, keys, json=json)
        with _readable({JOURNAL: files.get(JOURNAL, b"")}, json=json):
            report = verify_bundle(
                files,
                anchors=anchors,
                now=datetime.now(UTC),
                confirmations=read_confirmation,
                authorizations=read_authorization,
                most_reaction_ms=round(reaction * 1000),
                require=demands,
                copies=None if checkpoints is None else read_copies(_file(checkpoints, keys), name=str(checkpoints)),
                operators=operators or (),
            )
        if corrections is not None:
            name, continued = str(corrections), _file(corrections, keys, json=json)
            with _readable({name: continued}, json=json):
                entries = read_corrected(continued, files[JOURNAL], name=name)
            report = msgspec.structs.replace(report, addendum=read_addendum(entries, operators=operators, name=name))
        read_twice = _read_independently(files) if independent else None
        if json:
            found = {"directory": str(directory), "verified": report.copies != 0, "complete": report.complete}
            print_json({**found, "verdict": report.verdict, "report": report, "independent": read_twice})
            return report
        for line in report.lines():
            say(line)
        if independent:
            say(f"{read_twice} signed messages read alike by asn1tools, by the published module V2GDischarge.asn")
        say(f"{directory}: {report.verdict}")
        return report

    reports, broken = [], 0
    for directory in directories:
        try:
            reports.append(report_of(directory))
        except VerificationError as error:
            if len(directories) == 1:
                raise
            broken += 1
            say(f"v2g: {directory}: {error}", err=True)
    if broken:
        raise VerificationError(
            f"{broken} of {len(directories)} bundles not verified", where=str(directories[0].parent)
        )
    if any(report.verdict != "verified" for report in reports):
        raise typer.Exit(INCOMPLETE)


def _read_independently(files: Mapping[str, bytes]) -> int:
    """Return how many signed messages a verified bundle holds; each is also decoded by asn1tools.

    Raises VerificationError.
    """
    from v2g.asn1.published import check_signed
    from v2g.energy.settlement.bundle import JOURNAL
    from v2g.energy.settlement.journal import verify_lines
    from v2g.energy.settlement.proof import signed_messages

    count = 0
    for where, payload in signed_messages(verify_lines(files[JOURNAL])):
        try:
            check_signed(payload)
        except Asn1Error as error:
            raise VerificationError(str(error), where=where) from None
        count += 1
    return count


@app.command()
def show(directory: Bundle, keys: Keys = None, json: JsonFlag = False) -> None:
    """Verify a bundle and show its intervals and priced lines; of a broken journal, what can be read (exit code 9).

    Example: `v2g settle show runs/TIME/secc/settlements/SESSION`
    """
    from v2g.energy.settlement.bundle import JOURNAL

    files = _files(directory, keys, json=json)
    with _readable({JOURNAL: files.get(JOURNAL, b"")}, json=json):
        settlement = _verified(files, None)[1].settlement
    if json:
        for line in settlement.lines:
            print_json(line)
        return
    print_table(
        f"Session {settlement.session_id}",
        ("interval (UTC)", "direction", "kWh", "price per kWh", "amount"),
        (
            (
                f"{datetime.fromtimestamp(line.start_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}",
                line.direction,
                f"{line.energy_mwh / 1e6:.6f}",
                "none" if line.price is None else decimals_of(line.price, line.currency),
                f"{payable(Decimal(line.amount).scaleb(-6), line.currency)} {line.currency}",
            )
            for line in settlement.lines
        ),
    )


@app.command()
def receipt(
    directory: Bundle,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default, or -: standard output.")] = None,
    language: Annotated[Spoken, typer.Option("--language", help="Language of the receipt.")] = Spoken.EN,
    zone: Annotated[str, typer.Option("--zone", help="Time zone, such as Europe/Berlin or +01:00.")] = "UTC",
    vat: Annotated[
        str | None,
        typer.Option(
            "--vat",
            metavar="PERCENT|FILE",
            help="A rate of VAT, such as 19, or a file (TOML, YAML) with `vat` and `vat_zone`; default: those that the "
            "operator signed, with --operator.",
        ),
    ] = None,
    root: Roots = None,
    reaction: Reaction = MOST_REACTION_MS / 1000,
    corrections: Corrections = None,
    operator: Operators = None,
    held: Held = None,
    keys: Keys = None,
) -> None:
    """Verify a bundle and write its receipt for the driver, as a page (HTML) to read, print or send.

    Example: `v2g settle receipt DIR --out receipt.html --language de --zone Europe/Berlin`
    """
    from v2g.energy.settlement.pieces import zone_of
    from v2g.energy.settlement.receipt import receipt
    from v2g.energy.settlement.taxes import taxes_of

    rates = None if vat is None else _taxation(vat)
    try:
        place = zone_of(zone)
    except ValueError as error:
        raise ConfigError(str(error), hint="an IANA name such as Europe/Berlin, or an offset such as +01:00") from None
    files, report = _verified(_files(directory, keys), root, reaction, operators=_operators(operator) or ())
    entries, settlement = _standing(files, report.settlement, corrections)
    _refuse_held(held, settlement.session_id)
    taxes = taxes_of(entries, settlement, rates or _signed_taxation(report))
    page = receipt(entries, settlement, report=report, language=language.value, zone=place, taxes=taxes)
    write_out(page.encode(), out)


def _taxation(vat: str) -> "Taxation":
    """Return a percentage, or the rates in a file. Raises ConfigError."""
    from v2g import typed_json
    from v2g.config import parse_config
    from v2g.energy.settlement.taxes import RateFile, Taxation, VatRate

    try:
        return Taxation(rates=(typed_json.convert({"percent": vat}, VatRate),))
    except msgspec.ValidationError:
        if not Path(vat).exists():
            hint = "a rate such as 19 or 8.1, or a file with `vat` and `vat_zone`"
            raise ConfigError(f"--vat {vat}: neither a percentage nor a file", hint=hint) from None
    found = parse_config(read_text(Path(vat)), RateFile, name=vat)
    return Taxation(rates=found.vat, zone=found.vat_zone)


def _signed_taxation(report: "Report") -> "Taxation":
    """Return the VAT that an operator whom the reader knows has signed; without one there is none."""
    from v2g.energy.settlement.taxes import UNTAXED

    received = report.received
    if received is None or received.taxation is UNSET or not (received.known or received.taxation.rates):
        return UNTAXED
    if received.known:
        return received.taxation
    say(f"The operator's key {received.key} signed rates of VAT: --operator FILE applies them.", err=True)
    return UNTAXED


class Exported(Enum):
    """Formats for programs."""

    CSV = "csv"
    JSON = "json"
    OCMF = "ocmf"
    OCPI = "ocpi"


@app.command()
def export(
    directory: Bundle,
    form: Annotated[
        Exported,
        typer.Option(
            "--format", help="csv, json: the lines. ocmf: for the transparency software. ocpi: a CDR of OCPI 2.2.1."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default, or -: standard output.")] = None,
    facts: Annotated[
        Path | None, typer.Option("--facts", metavar="FILE", help="For ocpi: location and authorisation (TOML, YAML).")
    ] = None,
    root: Roots = None,
    corrections: Corrections = None,
    credited: Annotated[
        str | None,
        typer.Option("--credited", metavar="ID", help="For ocpi: the CDR that the credit CDR cancels; default: first."),
    ] = None,
    held: Held = None,
    keys: Keys = None,
) -> None:
    """Verify a bundle and write it for other programs, unless the back end holds its amount.

    A corrected session has two CDRs: the credit CDR for the earlier one, and the new one.

    Examples: `v2g settle export DIR --format csv`, `v2g settle export DIR --format ocpi --facts site.toml`
    """
    from v2g.energy.settlement.rows import to_csv, to_json

    if (facts is not None) != (form is Exported.OCPI):
        raise ConfigError("--format ocpi and --facts belong together", hint="the facts name location and authorisation")
    if credited is not None and form is not Exported.OCPI:
        raise ConfigError("--credited is for --format ocpi")
    files, report = _verified(_files(directory, keys), root)
    entries, settlement = _standing(files, report.settlement, corrections)
    if form is not Exported.OCMF:  # which has no amounts
        _refuse_held(held, settlement.session_id)
    if form is Exported.CSV:
        write_out(to_csv(settlement).encode(), out)
    elif form is Exported.JSON:
        write_out(to_json(settlement), out)
    elif facts is None:
        from v2g.energy.settlement.ocmf import transparency_file

        data_sets, key = _data_sets(files)
        write_out(transparency_file(data_sets.values(), key).encode(), out)
    else:
        write_out(_charge_detail_records(files, entries, settlement, facts, credited), out)


def _standing(
    files: Mapping[str, bytes], settlement: "Settlement", corrections: Path | None
) -> tuple[tuple["Entry", ...], "Settlement"]:
    """Return journal and settlement of a verified bundle, continued by a file of corrections."""
    from v2g.energy.settlement.bundle import JOURNAL
    from v2g.energy.settlement.corrections import read_corrected
    from v2g.energy.settlement.journal import verify_lines
    from v2g.energy.settlement.settle import settle

    if corrections is None:
        return verify_lines(files[JOURNAL], name=JOURNAL), settlement
    entries = read_corrected(read_file(corrections), files[JOURNAL], name=str(corrections))
    return entries, settle(entries, name=str(corrections))


class _Unbooked(msgspec.Struct, frozen=True):
    session_id: str
    state: str
    reason: str
    detail: str


def _refuse_held(file: Path | None, session_id: str) -> None:
    """Say how many amounts a back end holds, and refuse the one of this session if it is among them (R194)."""
    if file is None:
        say("Whether a back end holds this amount is not known: --held FILE", err=True)
        return
    try:
        found = [typed_json.decode(line, _Unbooked) for line in read_file(file).splitlines()]
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file}: {error}", hint="write it by v2g csms unbooked --json") from None
    unbooked = [each for each in found if each.state not in ("booked", "released")]
    say(f"The back end holds {len(unbooked)} amounts, which are in no export", err=True)
    for each in unbooked:
        if each.session_id == session_id:
            raise RefusedError(
                f"session {session_id} is {each.state} ({each.reason}): {each.detail}",
                reason="held",
                hint=f"v2g csms release {session_id} books it",
            )


@app.command()
def reprice(
    directory: Bundle,
    tariff: Annotated[
        Path, typer.Option("--tariff", metavar="FILE", help="Tariff (TOML, YAML, JSON); prices are decimal text.")
    ],
    root: Roots = None,
    corrections: Corrections = None,
    keys: Keys = None,
    json: JsonFlag = False,
) -> None:
    """Verify a bundle and show what the session costs under another tariff, beside what was charged.

    The bundle stays as it is. Example: `v2g settle reprice DIR --tariff tariff.json`
    """
    from v2g.energy.settlement.tariff_comparison import compare_tariff

    other = read_tariff(tariff).tariff()
    files, report = _verified(_files(directory, keys), root)
    found = compare_tariff(*_standing(files, report.settlement, corrections), other)
    if json:
        print_json(found)
        return
    print_table(
        f"Session {found.session_id}, {found.currency}",
        ("interval (UTC)", "direction", "kWh", "price", "amount", "tariff price", "tariff amount", "difference"),
        (
            *(
                (
                    each.start[:19].replace("T", " "),
                    "wear" if each.kind == "wear" else each.direction,
                    each.energy_kwh,
                    each.price_per_kwh or "none",
                    each.amount,
                    ", ".join(each.tariff_prices_per_kwh),
                    each.tariff_amount,
                    each.difference,
                )
                for each in found.lines
            ),
            ("total", "", "", "", found.amount, "", found.tariff_amount, found.difference),
        ),
    )


def _data_sets(files: Mapping[str, bytes]) -> tuple[dict["Direction", str], bytes]:
    """Return the meter's data sets of begin and end, and its public key (DER)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    from v2g.energy.settlement.bundle import METER_CHAIN, OCMF_FILES
    from v2g.pki.certificates import chain_from_pem

    meter = load_der_x509_certificate(chain_from_pem(files[METER_CHAIN])[0])
    key = meter.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {direction: files[name].decode().partition("\n")[0] for direction, name in OCMF_FILES.items()}, key


def _charge_detail_records(
    files: Mapping[str, bytes],
    entries: Sequence["Entry"],
    settlement: "Settlement",
    facts_file: Path,
    credited: str | None,
) -> bytes:
    from v2g.config import parse_config
    from v2g.energy.settlement.bundle import MANIFEST, Manifest
    from v2g.energy.settlement.canonical import parse_canonical
    from v2g.energy.settlement.records import Addition
    from v2g.ocpi.settled import Facts, charge_detail_record, correction_records, encode, signed_data_of

    facts = parse_config(read_text(facts_file), Facts, name=str(facts_file))
    signed = signed_data_of(*_data_sets(files))
    if credited is not None or isinstance(entries[-1].data, Addition):
        return encode(correction_records(entries, signed, facts=facts, credited=credited))
    created_ms = parse_canonical(files[MANIFEST], Manifest, where=MANIFEST).created_ms
    return encode(charge_detail_record(entries, settlement, signed, facts=facts, created_ms=created_ms))


@app.command()
def reconcile(
    directory: Bundle,
    csms: CsmsCopy = None,
    vehicle: VehicleLog = None,
    aim: Annotated[float, typer.Option("--aim", min=0, max=100, help="Difference that is expected, %.")] = 0.5,
    alarm: Annotated[float, typer.Option("--alarm", min=0, max=100, help="Difference that fails, %.")] = 5.0,
    root: Roots = None,
    corrections: Corrections = None,
    keys: Keys = None,
    json: JsonFlag = False,
) -> None:
    """Verify a bundle and compare it with what back end and vehicle have of the session; exit code 1 for an alarm.

    Example: `v2g settle reconcile DIR --csms settlement.json --vehicle evcc.events.jsonl`
    """
    from v2g.energy.settlement.reconcile import compare, figures_of, read_copy, read_vehicle

    if csms is None and vehicle is None:
        raise ConfigError("nothing to compare with", hint="give --csms, --vehicle or both")
    if aim > alarm:
        raise ConfigError(f"--aim {aim:g} is above --alarm {alarm:g}")
    files, report = _verified(_files(directory, keys), root)
    _, settlement = _standing(files, report.settlement, corrections)
    others, failed = [], False
    if csms is not None:
        copy = read_copy(read_file(csms), settlement, name=str(csms))
        others.append(figures_of(copy, "csms"))
        failed = copy != settlement
    if vehicle is not None:
        others.append(read_vehicle(read_file(vehicle).splitlines(), settlement.session_id, name=str(vehicle)))
    found = compare(figures_of(settlement, "charger"), others, aim=Decimal(str(aim)), alarm=Decimal(str(alarm)))
    if json:
        for each in found:
            print_json(each)
    else:
        print_table(
            f"Session {settlement.session_id}",
            ("source", "direction", "charger kWh", "kWh", "difference %", "verdict"),
            (
                (
                    each.source,
                    each.direction,
                    f"{each.charger_mwh / 1e6:.6f}",
                    f"{each.mwh / 1e6:.6f}",
                    "" if each.percent is None else f"{each.percent:+}",
                    each.verdict.replace("_", " "),
                )
                for each in found
            ),
        )
    if failed:
        say("the back end's settlement differs from the charger's: compare their journals", err=True)
    if failed or any(each.verdict == "alarm" for each in found):
        raise typer.Exit(1)


@app.command()
def dispute(
    directory: Bundle,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="New folder.")],
    csms: CsmsCopy = None,
    vehicle: VehicleLog = None,
    corrections: Corrections = None,
    checkpoints: CheckpointCopies = None,
    ocsp: Annotated[
        bool, typer.Option("--ocsp", help="Ask the responders named in the certificates, and store their answers.")
    ] = False,
    language: Annotated[Spoken, typer.Option("--language", help="Language of the page.")] = Spoken.EN,
    root: Roots = None,
    reaction: Reaction = MOST_REACTION_MS / 1000,
    keys: Keys = None,
) -> None:
    """Write the dispute file of a session: the untouched bundle, a page that explains it, and its content as tables.

    A bundle that is not verified is written, too, with the reason; the exit code is then 9.

    Example: `v2g settle dispute DIR -o dispute --csms settlement.json --vehicle evcc.events.jsonl --ocsp`
    """
    from v2g.energy.settlement.dispute import dispute_files

    evidence, failure = _evidence(
        _files(directory, keys),
        _anchors(root),
        round(reaction * 1000),
        keys,
        given={"csms": csms, "vehicle": vehicle, "corrections": corrections, "checkpoints": checkpoints},
        ocsp=ocsp,
    )
    _write_folder(out, dispute_files(evidence, language=language.value))
    say(f"{out / 'index.html'}: {'not verified' if failure else 'verified'}")
    if failure is not None:
        raise failure


def _evidence(
    files: Mapping[str, bytes],
    anchors: tuple[bytes, ...] | None,
    reaction_ms: int,
    keys: Path | None,
    *,
    given: Mapping[str, Path | None],
    ocsp: bool,
) -> tuple["Evidence", VerificationError | None]:
    """Return what a dispute file is made of, and why the bundle is not verified, if so."""
    from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
    from v2g.energy.settlement.checkpoints import read_copies
    from v2g.energy.settlement.dispute import Evidence
    from v2g.energy.settlement.journal import readable_lines, verify_lines
    from v2g.energy.settlement.reconcile import compare, figures_of, read_copy, read_vehicle
    from v2g.energy.settlement.settle import settle
    from v2g.iso15118.signed_requests import read_authorization, read_confirmation

    data = {name: _file(path, keys) for name, path in given.items() if path is not None}
    report, failure = None, None
    entries: tuple[Entry, ...] = ()
    settlement: Settlement | None = None
    copies = data.get("checkpoints")
    kept = None if copies is None else tuple(read_copies(copies, name=str(given["checkpoints"])))
    try:
        report = verify_bundle(
            files,
            anchors=anchors,
            now=datetime.now(UTC),
            confirmations=read_confirmation,
            authorizations=read_authorization,
            most_reaction_ms=reaction_ms,
            copies=kept,
        )
    except VerificationError as error:
        failure = error
        entries = tuple(entry for _, entry, valid in readable_lines(files.get(JOURNAL, b"")) if valid)
        with contextlib.suppress(VerificationError):
            entries = verify_lines(files.get(JOURNAL, b""), name=JOURNAL)
            settlement = settle(entries, name=JOURNAL)
    else:
        entries, settlement = _standing(files, report.settlement, given["corrections"])
    others, same = [], None
    if settlement is not None and "csms" in data:
        copy = read_copy(data["csms"], settlement, name=str(given["csms"]))
        others.append(figures_of(copy, "csms"))
        same = copy == settlement
    if settlement is not None and "vehicle" in data:
        lines = data["vehicle"].splitlines()
        others.append(read_vehicle(lines, settlement.session_id, name=str(given["vehicle"])))
    evidence = Evidence(
        files=files,
        report=report,
        failure="" if failure is None else str(failure),
        entries=entries,
        settlement=settlement,
        comparisons=() if settlement is None else compare(figures_of(settlement, "charger"), others),
        same_settlement=same,
        ocsp=asyncio.run(_ask_responders(files)) if ocsp and report is not None else None,
        given={f"{name}{path.suffix}": data[name] for name, path in given.items() if path is not None},
    )
    return evidence, failure


async def _ask_responders(files: Mapping[str, bytes]) -> list["OcspAnswer"]:
    """Return what the responders named in a verified bundle's certificates answer about them now."""
    from v2g.energy.settlement.dispute import OcspAnswer, asked_certificates
    from v2g.errors import RevocationError
    from v2g.io.tls.revocation import ask, question
    from v2g.pki.certificates import common_name
    from v2g.pki.ocsp import check_ocsp, responder_url

    found = []
    for chain, certificate, issuer in asked_certificates(files):
        url, answer, verdict = responder_url(certificate), b"", "no responder named"
        if url:
            try:
                answer = await ask(url, question(certificate, issuer))
                check_ocsp(answer, certificate, issuer, datetime.now(UTC))
                verdict = "good"
            except RevocationError as error:
                verdict = f"{error.reason}: {error}"
        subject = common_name(certificate)
        found.append(OcspAnswer(chain=chain, subject=subject, responder=url, verdict=verdict, der=answer))
    return found


@app.command("key")
def new_key(file: Annotated[Path, typer.Argument(help="File of the keys, mode 0600; created when missing.")]) -> None:
    """Append a key that seals what a charger or vehicle stores (`journal_keys`). Older keys open older files.

    Example: `v2g settle key journal.keys`
    """
    from v2g.io.storage.record_keys import RecordKeys

    say(f"{file}: key {RecordKeys.rotate(file)}, from the charger's next session on")


@app.command()
def unseal(
    directory: Bundle,
    keys: Annotated[Path, typer.Option("--keys", metavar="FILE", help="Keys of the sealed files.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="New folder.")],
) -> None:
    """Write a sealed bundle as a plain one, as third parties verify it.

    Example: `v2g settle unseal DIR --keys journal.keys -o bundle`
    """
    _write_folder(out, _files(directory, keys))
    say(f"{out}: plain")


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new folder, readable only by its owner. Raises ConfigError, StoreError."""
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", hint="name another folder") from None
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_new(path, data, hint="name another folder")
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}", hint="is the disk full?") from None


@app.command("close-period")
@with_option_groups
def close_period(
    context: typer.Context,
    period: Annotated[str, typer.Argument(metavar="YYYY-MM", help="A month of the operator's time zone.")],
    leave_unposted: Annotated[
        bool, typer.Option("--leave-unposted", help="Close although complete sessions are not in the books.")
    ] = False,
    access: AccessOptions = NO_ACCESS,
    json: JsonFlag = False,
) -> None:
    """Close a month in the books of a running back end, for ever, and show its sums and digest.

    It must be over, earlier months closed, and all its complete sessions posted. URL and token as for `v2g csms`.

    Example: `v2g settle close-period 2026-11`
    """
    access.give(context)
    client = client_of(context)
    path = f"/books/periods/{part(period)}"
    client.ask("POST", f"{path}/close", leave_unposted=leave_unposted)
    found = client.ask("GET", path).body
    if json:
        print_json(found)
    else:
        state, sheet = found["state"], found["sheet"]
        print_table(
            f"Period {state['period']}",
            ("account", "amount", "unit"),
            ((each["account"], each["amount"], each["unit"]) for each in sheet["amounts"]),
        )
        counted = f"{sheet['sessions']} sessions, {sheet['held']} held and in no sum, {state['postings']} postings"
        say(f"{counted}, closed {when(state['closed_ms'])} UTC")
        say(f"digest {state['digest']}")
    if not found["intact"]:
        raise VerificationError("it does not hold", where=f"period {period}", hint="v2g csms books verify says why")
