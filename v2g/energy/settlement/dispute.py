"""The dispute file of a session for a lawyer or arbitrator: an untouched bundle, explained.

=================  =================================================================================
bundle/            the charger's bundle, byte for byte
index.html         what is in dispute: verdict, what is proven and what is not, tables
dispute.json       the same for programs
*.csv              each table
ocsp/              answers of responders (DER)
given/             what else was given: the back end's copies, the vehicle's log
SHA256SUMS         SHA-256 of each file, for `sha256sum --check`
=================  =================================================================================
"""

import base64
import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import UNSET

from v2g.asn1.discharge import DischargeOffer, signed_content
from v2g.energy.settlement.bundle import CHARGER_CHAIN, CONTRACT_CHAIN, METER_CHAIN, ROOTS
from v2g.energy.settlement.canonical import sha256_hex
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.receipt import Language, proven, words_of
from v2g.energy.settlement.reconcile import Comparison
from v2g.energy.settlement.records import Correction, LineCorrected, MeterReading, TariffSet, TermsOffered, WearPriced
from v2g.energy.settlement.report import Report
from v2g.energy.settlement.rows import Row, csv_text, iso_time, millionths, rows
from v2g.energy.settlement.settle import Settlement
from v2g.errors import Asn1Error, CertificateError, VerificationError
from v2g.look import document
from v2g.pki.certificates import chain_from_pem, describe_key, load_certificate
from v2g.pki.ocsp import responder_url
from v2g.text import printable

CHAINS: Final = (CHARGER_CHAIN, METER_CHAIN, CONTRACT_CHAIN, ROOTS)
_MOST_ROWS: Final = 30
"""Most rows of a table on the page; its CSV has all."""

_NOT_SHOWN: Final = ("der", "station_id", "evse_id", "session_id", "emaid")
"""Columns that only the CSV has: long, or the same in each row."""

_WHOLE: Final = re.compile(r"[0-9.:TZ-]+")
"""A number or a time, which stays on one line."""


class OcspAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A responder's signed answer about a certificate (`der`, empty without one), and what follows from it."""

    chain: str
    subject: str
    responder: str
    verdict: str
    der: bytes = b""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a dispute file is made of.

    `failure` is why the bundle is not verified; then there is no `report`, and `entries` and `settlement` are those
    that can be read without trust, if any. `given` are other files by name; `ocsp` is None if nobody was asked.
    """

    files: Mapping[str, bytes]
    report: Report | None
    failure: str
    entries: Sequence[Entry]
    settlement: Settlement | None
    comparisons: Sequence[Comparison] = ()
    same_settlement: bool | None = None
    ocsp: Sequence[OcspAnswer] | None = None
    given: Mapping[str, bytes] = {}


class Table(msgspec.Struct, frozen=True):
    """A table of text, by columns."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def dispute_files(evidence: Evidence, *, language: Language = "en") -> dict[str, bytes]:
    """Return the files by path, those of the bundle unchanged.

    Raises VerificationError for priced lines beyond the calendar.
    """
    answers = [each for each in evidence.ocsp or () if each.der]
    files = {f"bundle/{name}": data for name, data in evidence.files.items()}
    files |= {f"given/{name}": data for name, data in evidence.given.items()}
    files |= {f"ocsp/{number}.der": each.der for number, each in enumerate(answers, 1)}
    tables = [each for each in _tables(evidence) if each.rows]
    files |= {f"{each.name}.csv": csv_text(each.columns, *each.rows).encode() for each in tables}
    not_proven = _open_questions(evidence, "en")
    files["dispute.json"] = msgspec.json.encode(
        {
            "verified": evidence.report is not None,
            "failure": evidence.failure,
            "proven": [] if evidence.report is None else evidence.report.lines(),
            "not_proven": not_proven,
            "tables": {each.name: [dict(zip(each.columns, row, strict=True)) for row in each.rows] for each in tables},
        }
    )
    words = words_of(language, "dispute", _DisputeWords)
    body = "".join(_body(evidence, tables, words, language))
    files["index.html"] = document(words.title, body, style=_STYLE, language=language).encode()
    sums = "".join(f"{sha256_hex(data)}  {name}\n" for name, data in sorted(files.items()))
    return files | {"SHA256SUMS": sums.encode()}


# -- tables


def _tables(evidence: Evidence) -> Iterator[Table]:
    columns: tuple[str, ...]
    if evidence.comparisons:
        columns = ("source", "direction", "charger_kwh", "kwh", "difference_percent", "verdict")
        yield Table("reconciliation", columns, tuple(map(_compared, evidence.comparisons)))
    if evidence.settlement is not None:
        names = Row.__struct_fields__
        yield Table("lines", names, tuple(tuple(getattr(row, n) for n in names) for row in rows(evidence.settlement)))
    entries = list(enumerate(evidence.entries, 1))
    columns = ("journal_line", "time", "kind", "line_or_tariff", "price_per_kwh", "reason", "by")
    yield Table("corrections", columns, tuple(_correction(n, e) for n, e in entries if isinstance(e.data, Correction)))
    columns = ("journal_line", "source", "from", "until", "import_per_kwh", "export_per_kwh", "currency")
    yield Table("prices", columns, tuple(row for number, entry in entries for row in _prices(number, entry)))
    columns = ("journal_line", "time", "import_kwh", "export_kwh", "power_w", "soc_percent", "reason", "status")
    yield Table("readings", columns, tuple(_reading(n, e) for n, e in entries if isinstance(e.data, MeterReading)))
    columns = ("journal_line", "time", "kind", "part", "content", "sha256", "der")
    yield Table("messages", columns, tuple(row for number, entry in entries for row in _messages(number, entry)))
    columns = ("file", "place", "subject", "issuer", "serial", "valid_from", "valid_until", "key", "sha256", "ocsp_url")
    yield Table("certificates", columns, tuple(_certificates(evidence.files)))
    columns = ("file", "chain", "subject", "responder", "verdict")
    yield Table("ocsp", columns, tuple(_answers(evidence.ocsp or ())))
    yield Table(
        "files", ("file", "bytes", "sha256"),
        tuple((name, str(len(data)), sha256_hex(data)) for name, data in sorted(evidence.files.items())),
    )  # fmt: skip


def _compared(each: Comparison) -> tuple[str | None, ...]:
    percent = None if each.percent is None else str(each.percent)
    figures = millionths(each.charger_mwh), millionths(each.mwh)
    return each.source, each.direction, *figures, percent, each.verdict.replace("_", " ")


def _correction(number: int, entry: Entry) -> tuple[str | None, ...]:
    record = entry.data
    assert isinstance(record, Correction), "chosen by the caller"
    if isinstance(record, LineCorrected):
        what, price = record.line, millionths(record.price)
        by = record.by if isinstance(record.by, str) else None
    else:
        what, price, by = f"tariff:{record.tariff.version}", None, record.by
    return str(number), _time(entry.utc_ms), entry.kind, what, price, record.reason, by


def _prices(number: int, entry: Entry) -> Iterator[tuple[str | None, ...]]:
    match entry.data:
        case TariffSet(tariff=tariff):
            source, currency, slots = f"tariff:{tariff.version}", tariff.currency, tariff.slots
        case TermsOffered(payload=payload):
            try:
                offer = signed_content(payload)
            except Asn1Error:
                return
            if not isinstance(offer, DischargeOffer):
                return
            source, currency, slots = f"offer:{offer.offer_id.hex()}", offer.currency, offer.prices
        case WearPriced(price=price):
            yield str(number), "wear", _time(entry.utc_ms), None, None, millionths(price), None
            return
        case _:
            return
    for slot in slots:
        amounts = millionths(slot.import_price), millionths(slot.export_compensation)
        yield str(number), source, _time(slot.start_ms), _time(slot.end_ms), *amounts, currency


def _reading(number: int, entry: Entry) -> tuple[str | None, ...]:
    record = entry.data
    assert isinstance(record, MeterReading), "chosen by the caller"
    power, soc = (None if each is None else str(each) for each in (record.power_w, record.soc))
    energy = millionths(record.import_mwh), millionths(record.export_mwh)
    status = None if record.status is UNSET else " ".join(record.status)
    return str(number), _time(entry.utc_ms), *energy, power, soc, record.reason, status


def _messages(number: int, entry: Entry) -> Iterator[tuple[str | None, ...]]:
    """Yield what was signed or rejected in an entry: the message, and the answer to it."""
    for part, name in (("message", "payload"), ("answer", "result")):
        data = getattr(entry.data, name, None)
        if not data:
            continue
        try:
            shown = _readable(signed_content(data))
        except Asn1Error:
            shown = ""
        where = str(number), _time(entry.utc_ms), entry.kind, part
        yield *where, shown, sha256_hex(data), base64.b64encode(data).decode()


def _readable(content: msgspec.Struct) -> str:
    """Return a message's plain fields; hashes, nonces and lists are in the message itself."""
    fields = []
    for name in content.__struct_fields__:
        value = getattr(content, name)
        if isinstance(value, enum.Enum):
            value = value.value
        if name.endswith("_ms"):
            value = _time(value)
        if isinstance(value, str | int):
            fields.append(f"{name.removesuffix('_ms')} {value}")
    return f"{type(content).__name__}: {', '.join(fields)}"


def _time(utc_ms: int) -> str:
    """Return a time for people; one beyond the calendar, which a message may state, in ms."""
    try:
        return iso_time(utc_ms)
    except VerificationError:
        return f"{utc_ms} ms"


def _certificates(files: Mapping[str, bytes]) -> Iterator[tuple[str | None, ...]]:
    for name in CHAINS:
        try:
            chain = chain_from_pem(files.get(name, b""))
        except CertificateError:
            continue
        for place, der in enumerate(chain, 1):
            try:
                found = load_certificate(der)
            except CertificateError as error:
                yield name, str(place), str(error), None, None, None, None, None, sha256_hex(der), None
                continue
            until = found.not_valid_before_utc, found.not_valid_after_utc
            yield (
                name, str(place), found.subject.rfc4514_string(), found.issuer.rfc4514_string(),
                f"{found.serial_number:x}", *(f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in until),
                describe_key(found.public_key()), sha256_hex(der), responder_url(found) or None,
            )  # fmt: skip


def _answers(answers: Sequence[OcspAnswer]) -> Iterator[tuple[str | None, ...]]:
    number = 0
    for each in answers:
        number += bool(each.der)
        yield f"ocsp/{number}.der" if each.der else None, each.chain, each.subject, each.responder or None, each.verdict


def issued_by(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """Return the issuer of a certificate among others; None for a root and without one."""
    for each in candidates:
        if each.subject == certificate.issuer and each != certificate:
            return each
    return None


def asked_certificates(files: Mapping[str, bytes]) -> Iterator[tuple[str, x509.Certificate, x509.Certificate]]:
    """Yield (chain, certificate, issuer) for the certificates of a verified bundle that a responder can answer for."""
    chains = {name: [load_certificate(der) for der in chain_from_pem(files[name])] for name in CHAINS if files[name]}
    everything = [each for chain in chains.values() for each in chain]
    seen: set[bytes] = set()
    for name, chain in chains.items():
        for certificate in chain:
            issuer = issued_by(certificate, everything)
            der = certificate.public_bytes(Encoding.DER)
            if issuer is not None and der not in seen:
                seen.add(der)
                yield name, certificate, issuer


# -- the page


class _DisputeWords(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    verified: str
    not_verified: str
    facts: tuple[str, ...]
    proven: str
    open: str
    reasons: dict[str, str]
    tables: dict[str, str]
    all_rows: str
    use: str
    none: str


def _open_questions(evidence: Evidence, language: Language) -> list[str]:
    reasons, report = words_of(language, "dispute", _DisputeWords).reasons, evidence.report
    if report is None:
        return [reasons["failed"]]
    found = [] if report.own_anchors else ["roots"]
    verdicts = None if evidence.ocsp is None else {each.verdict for each in evidence.ocsp}
    if verdicts is None:
        found.append("revoked")
    elif any(each.startswith("revoked") for each in verdicts):
        found.append("is_revoked")
    else:
        found.append("today" if verdicts == {"good"} else "revoked_part")
    if report.discharge.export_mwh and not report.discharge.covered:
        found.append("standard")
    proved = report.discharge.checkpoints
    if proved.after_import_mwh or proved.after_export_mwh:
        found.append("after")
    if evidence.same_settlement is False:
        found.append("copy")
    if any(isinstance(each.data, Correction) for each in evidence.entries):
        found.append("corrected")
    after = {"taken": millionths(proved.after_import_mwh), "fed_back": millionths(proved.after_export_mwh)}
    return [reasons[each].format(**after) for each in (*found, "meter", "tariff", "before")]


_STYLE: Final = """
h2{margin-top:1.8em}table{font-size:.8em}ul{padding-left:1.2em}
td,th{padding:.2em .8em .2em 0;max-width:22em;overflow-wrap:anywhere}th{overflow-wrap:normal}
td:not(.whole){min-width:7em}.whole{white-space:nowrap}
@media print{@page{size:A4 landscape}html{font-size:9.5pt}.sheet{margin:0;max-width:none}.scroll{overflow:visible}
a{color:inherit}}
"""


def _body(evidence: Evidence, tables: Sequence[Table], words: _DisputeWords, language: Language) -> Iterator[str]:
    settlement, report = evidence.settlement, evidence.report
    yield f"<h1>{words.title}</h1>\n"
    if report is None:
        yield f'<p class="notice bad"><b>{words.not_verified}.</b> {_text(evidence.failure)}</p>\n'
    else:
        yield f'<p class="notice good"><b>{words.verified}</b></p>\n'
    if settlement is not None:
        values = (
            settlement.session_id,
            settlement.station_id,
            settlement.evse_id,
            settlement.emaid or words.none,
            _time(settlement.begin.utc_ms),
            _time(settlement.end.utc_ms),
            ", ".join(f"{millionths(t.balance)} {t.currency}" for t in settlement.totals if t.currency != NO_CURRENCY)
            or words.none,
        )
        facts = zip(words.facts, values, strict=True)
        yield f'<dl class="pairs">{"".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts)}</dl>\n'
    if report is not None:
        yield f"<h2>{words.proven}</h2>\n<ul>"
        yield "".join(f"<li>{each}</li>" for each in proven(report, language))
        yield "</ul>\n"
    yield f"<h2>{words.open}</h2>\n<ul>"
    yield "".join(f"<li>{escape(each)}</li>" for each in _open_questions(evidence, language))
    yield "</ul>\n"
    for table in tables:
        yield from _shown(table, words)
    yield f'<p class="note">{words.use}</p>'


def _shown(table: Table, words: _DisputeWords) -> Iterator[str]:
    file = f"{table.name}.csv"
    yield f'<h2>{words.tables[table.name]} (<a href="{file}">{file}</a>)</h2>\n<div class="scroll"><table><thead><tr>'
    places = [place for place, name in enumerate(table.columns) if name not in _NOT_SHOWN]
    yield "".join(f"<th>{table.columns[place].replace('_', ' ')}</th>" for place in places)
    yield "</tr></thead>\n<tbody>"
    for row in table.rows[:_MOST_ROWS]:
        yield f"<tr>{''.join(_cell(row[place]) for place in places)}</tr>\n"
    yield "</tbody></table></div>\n"
    if len(table.rows) > _MOST_ROWS:
        note = words.all_rows.format(shown=_MOST_ROWS, count=len(table.rows), file=file)
        yield f'<p class="note">{note}</p>\n'


def _cell(text: str | None) -> str:
    text = text or ""
    return f"<td{' class=whole' if _WHOLE.fullmatch(text) else ''}>{_text(text)}</td>"


def _text(text: str) -> str:
    return escape(printable(text))
