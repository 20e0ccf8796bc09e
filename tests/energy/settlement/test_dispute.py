"""The dispute file: the bundle untouched, everything in it as tables and a page, and what is not proven."""

import base64
import csv
import hashlib
import html
import io
import json
from html.parser import HTMLParser

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.energy.settlement.conftest import Session
from v2g.asn1.discharge import (
    DischargeContent,
    DischargeLimits,
    DischargeOffer,
    DischargeResult,
    PriceSlot,
    ResultStatus,
    SignatureAlgorithm,
    SignedMessage,
    decode_content,
    decode_signed,
    encode_content,
    encode_signed,
)
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
from v2g.energy.settlement.corrections import read_corrected
from v2g.energy.settlement.dispute import Evidence, OcspAnswer, asked_certificates, dispute_files
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.pricing import NO_CURRENCY, Total
from v2g.energy.settlement.receipt import proven
from v2g.energy.settlement.reconcile import Figures, compare, figures_of
from v2g.energy.settlement.records import (
    AnyRecord,
    CommandAccepted,
    CommandRejected,
    LineCorrected,
    MeterReading,
    SessionRepriced,
    TariffSet,
    TermsOffered,
    WearPriced,
    record_of,
)
from v2g.energy.settlement.rows import iso_time, millionths
from v2g.energy.settlement.settle import settle
from v2g.iso15118.signed_requests import read_confirmation
from v2g.pki.ocsp import responder_url


def evidence_of(finished: Session) -> Evidence:
    files = finished.bundle()
    report = verify_bundle(files, confirmations=read_confirmation)
    return Evidence(
        files=files, report=report, failure="", entries=verify_lines(files[JOURNAL]), settlement=report.settlement
    )


AT_MS = 1_800_000_000_000  # 2027-01-15T08:00:00Z


def entries_of(*data: AnyRecord) -> list[Entry]:
    """Entries of one second each."""
    return [
        Entry(data=each, hash="", previous="", sequence=at, utc_ms=AT_MS + 1000 * at) for at, each in enumerate(data)
    ]


def unverified(*data: AnyRecord) -> Evidence:
    return Evidence(files={}, report=None, failure="<broken>", entries=entries_of(*data), settlement=None)


def signed(content: DischargeContent) -> bytes:
    return encode_signed(
        SignedMessage(
            content=encode_content(content), signer=bytes(32), algorithm=SignatureAlgorithm.ED448,
            signature=bytes(64),
        )
    )  # fmt: skip


def body(made: dict[str, bytes]) -> str:
    return made["index.html"].decode().split('<body class="sheet">\n')[1].removesuffix("\n</body></html>\n")


def table(made: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(made[f"{name}.csv"].decode(), newline="")))


class Page(HTMLParser):
    """The text of a page, and whatever it would load or run."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.text, self.loads, self.open = "", [], []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "link", "iframe", "object", "form") or any(each.startswith("on") for each in given):
            self.loads.append(tag)
        if tag == "a":
            assert given["href"], "a table's file"
            self.loads += [] if given["href"].endswith(".csv") and ":" not in given["href"] else [tag]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == "meta" or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.requirement("R32", "R33")
def test_the_bundle_is_in_the_file_untouched_and_everything_in_it_is_a_table(finished: Session) -> None:
    evidence = evidence_of(finished)
    assert evidence.settlement is not None
    made = dispute_files(evidence)
    bundle = {name.removeprefix("bundle/"): data for name, data in made.items() if name.startswith("bundle/")}
    assert bundle == evidence.files
    verify_bundle(bundle)
    kinds = [each["data"]["kind"] for each in map(json.loads, evidence.files[JOURNAL].splitlines())]
    assert len(table(made, "readings")) == kinds.count("meter_reading")
    messages = table(made, "messages")
    assert sum(each["kind"] == "command_accepted" for each in messages) == 2 * kinds.count("command_accepted")
    assert all(each["der"] and len(each["sha256"]) == 64 for each in messages)
    assert "power_w" in next(each["content"] for each in messages if each["content"].startswith("DischargeCommand"))
    assert {each["source"].split(":")[0] for each in table(made, "prices")} == {"tariff", "offer"}
    certificates = table(made, "certificates")
    leaf = next(each for each in certificates if each["file"] == "contract_chain.pem" and each["place"] == "1")
    assert leaf["sha256"] == hashlib.sha256(finished.contract.leaf).hexdigest()
    wanted = x509.load_der_x509_certificate(finished.contract.leaf)
    assert (leaf["subject"], int(leaf["serial"], 16)) == (wanted.subject.rfc4514_string(), wanted.serial_number)
    assert len(table(made, "lines")) == len(evidence.settlement.lines)
    sums = dict(reversed(line.split("  ")) for line in made["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in made.items() if name != "SHA256SUMS"}


def test_each_table_has_what_the_entries_say() -> None:
    slots = (PriceSlot(AT_MS, 900_000, 300_000, -180_000),)
    tariff = Tariff(currency="EUR", slots=slots, version=3, source="operator")
    limits = DischargeLimits(
        ev_w=1, evse_w=2, site_w=3, operator_w=4, max_discharge_w=1, operator_version=1, source="ev"
    )
    offer = DischargeOffer(
        offer_id=bytes(16), session_id=bytes(8), evse_id="DE*1", issued_at_ms=AT_MS, valid_until_ms=AT_MS + 1,
        currency="CHF", prices=slots, limits=limits, challenge=bytes(16),
    )  # fmt: skip
    result = DischargeResult(
        session_id=bytes(8), sequence=7, status=ResultStatus.ACCEPTED, effective_w=9000, decided_at_ms=AT_MS
    )
    offered, answered = signed(offer), signed(result)
    made = dispute_files(
        unverified(
            TariffSet(tariff=tariff),
            WearPriced(price=20_000),
            TermsOffered(payload=offered),
            MeterReading(import_mwh=1_500_000, export_mwh=0, power_w=-9000, soc=0, status=("missing", "reset")),
            MeterReading(import_mwh=1_500_000, export_mwh=1, reason="end"),
            CommandAccepted(sequence=7, effective_w=9000, until_ms=AT_MS, payload=b"\x30\x00", result=answered),
            CommandRejected(reason="size", detail="", sequence=0, size=9999, sha256="", payload=b"", result=None),
            LineCorrected(line="e1", price=-50_000, reason="meter"),
            SessionRepriced(tariff=tariff, reason="dispute 7", by="bob"),
        )
    )
    second = [f"2027-01-15T08:00:0{at}.000Z" for at in range(9)]
    until, no_offer = "2027-01-15T08:15:00.000Z", "0" * 32

    def message(data: bytes, shown: str) -> str:
        return f"{shown},{hashlib.sha256(data).hexdigest()},{base64.b64encode(data).decode()}"

    expected = {
        "corrections": [
            "journal_line,time,kind,line_or_tariff,price_per_kwh,reason,by",
            f"8,{second[7]},line_corrected,e1,-0.050000,meter,",
            f"9,{second[8]},session_repriced,tariff:3,,dispute 7,bob",
        ],
        "prices": [
            "journal_line,source,from,until,import_per_kwh,export_per_kwh,currency",
            f"1,tariff:3,{second[0]},{until},0.300000,-0.180000,EUR",
            f"2,wear,{second[1]},,,0.020000,",
            f"3,offer:{no_offer},{second[0]},{until},0.300000,-0.180000,CHF",
        ],
        "readings": [
            "journal_line,time,import_kwh,export_kwh,power_w,soc_percent,reason,status",
            f"4,{second[3]},1.500000,0.000000,-9000,0,periodic,missing reset",
            f"5,{second[4]},1.500000,0.000001,,,end,",
        ],
        "messages": [
            "journal_line,time,kind,part,content,sha256,der",
            f"3,{second[2]},terms_offered,message,"
            + message(
                offered,
                f'"DischargeOffer: evse_id DE*1, issued_at {second[0]}, valid_until 2027-01-15T08:00:00.001Z, '
                'currency CHF"',
            ),
            f"6,{second[5]},command_accepted,message," + message(b"\x30\x00", ""),
            f"6,{second[5]},command_accepted,answer,"
            + message(
                answered, f'"DischargeResult: sequence 7, status accepted, effective_w 9000, decided_at {second[0]}"'
            ),
        ],
    }
    assert {name.removesuffix(".csv") for name in made if name.endswith(".csv")} == set(expected)
    for name, rows in expected.items():
        assert made[f"{name}.csv"].decode().split("\r\n") == [*rows, ""]
    tables = json.loads(made["dispute.json"])["tables"]
    assert tables["prices"][1] == {
        "journal_line": "2", "source": "wear", "from": second[1], "until": None, "import_per_kwh": None,
        "export_per_kwh": "0.020000", "currency": None,
    }  # fmt: skip
    first = f"<tr><td class=whole>4</td><td class=whole>{second[3]}</td><td class=whole>1.500000</td>"
    assert first in body(made)
    assert "<td>end</td><td></td></tr>\n" in body(made)


def test_certificates_and_answers_about_them_are_tables(finished: Session) -> None:
    evidence = evidence_of(finished)
    leaf, root = finished.charger.leaf, finished.pki.anchors("v2g")[0]
    unused_bit = bytearray(leaf)
    unused_bit[-len(x509.load_der_x509_certificate(leaf).signature) - 1] = 1
    unused_bit[-1] &= 0xFE
    files = {
        "charger_chain.pem": b"".join(
            f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(each).decode()}-----END CERTIFICATE-----\n".encode()
            for each in (bytes(unused_bit), leaf, root)
        )
    }
    unanswered = OcspAnswer(chain="c", subject="A", responder="", verdict="no responder named")
    answered = OcspAnswer(chain="c", subject="B", responder="http://r", verdict="good", der=b"answer")
    others = [Figures(source="csms", import_mwh=1_001, export_mwh=5)]
    compared = compare(Figures(source="charger", import_mwh=1_000, export_mwh=0), others)
    made = dispute_files(
        msgspec.structs.replace(evidence, files=files, ocsp=[unanswered, answered, answered], comparisons=compared)
    )
    tables = json.loads(made["dispute.json"])["tables"]
    broken, *rows = tables["certificates"]
    assert broken == dict.fromkeys(rows[0]) | {
        "file": "charger_chain.pem", "place": "1", "subject": "certificate is not in DER",
        "sha256": hashlib.sha256(unused_bit).hexdigest(),
    }  # fmt: skip
    for place, der, key in ((2, leaf, rows[0]["key"]), (3, root, rows[1]["key"])):
        known = x509.load_der_x509_certificate(der)
        assert rows[place - 2] == {
            "file": "charger_chain.pem", "place": str(place), "subject": known.subject.rfc4514_string(),
            "issuer": known.issuer.rfc4514_string(), "serial": f"{known.serial_number:x}",
            "valid_from": known.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "valid_until": known.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "key": key, "sha256": hashlib.sha256(der).hexdigest(), "ocsp_url": responder_url(known) or None,
        }  # fmt: skip
    assert (bool(rows[0]["ocsp_url"]), rows[1]["ocsp_url"]) == (True, None)
    names = ("file", "chain", "subject", "responder", "verdict")
    assert [tuple(each.items()) for each in tables["ocsp"]] == [
        tuple(zip(names, each, strict=True))
        for each in (
            (None, "c", "A", None, "no responder named"),
            ("ocsp/1.der", "c", "B", "http://r", "good"),
            ("ocsp/2.der", "c", "B", "http://r", "good"),
        )
    ]
    names = ("source", "direction", "charger_kwh", "kwh", "difference_percent", "verdict")
    assert [tuple(each.items()) for each in tables["reconciliation"]] == [
        tuple(zip(names, each, strict=True))
        for each in (
            ("csms", "import", "0.001000", "0.001001", "0.100", "within aim"),
            ("csms", "export", "0.000000", "0.000005", None, "within aim"),
        )
    ]
    ((name, data),) = files.items()
    assert tables["files"] == [{"file": name, "bytes": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}]


def test_the_page_of_what_is_not_verified_says_so_and_no_more() -> None:
    evidence = msgspec.structs.replace(unverified(), files={"a": b""})
    made = dispute_files(evidence)
    nothing = "Nothing: verification failed. Tables show what the files say."
    empty = hashlib.sha256(b"").hexdigest()
    assert body(made) == (
        "<h1>Dispute file</h1>\n"
        '<p class="notice bad"><b>The record is NOT verified.</b> &lt;broken&gt;</p>\n'
        f"<h2>What is not proven</h2>\n<ul><li>{nothing}</li></ul>\n"
        '<h2>Files of the bundle (<a href="files.csv">files.csv</a>)</h2>\n'
        '<div class="scroll"><table><thead><tr><th>file</th><th>bytes</th><th>sha256</th></tr></thead>\n'
        f"<tbody><tr><td>a</td><td class=whole>0</td><td>{empty}</td></tr>\n</tbody></table></div>\n"
        '<p class="note">Verify it yourself: v2g settle verify bundle. SHA256SUMS lists all files.</p>'
    )
    assert json.loads(made["dispute.json"]) == {
        "verified": False, "failure": "<broken>", "proven": [], "not_proven": [nothing],
        "tables": {"files": [{"file": "a", "bytes": "0", "sha256": empty}]},
    }  # fmt: skip


def test_the_page_of_a_verified_bundle_begins_with_whose_session_it_is_and_what_is_proven(finished: Session) -> None:
    evidence = evidence_of(finished)
    report, settlement = evidence.report, evidence.settlement
    assert report is not None
    assert settlement is not None

    def total(currency: str, balance: int) -> Total:
        return Total(currency=currency, import_mwh=0, export_mwh=0, import_cost=0, export_credit=0, balance=balance)

    (own,) = settlement.totals
    for changes, contract, balance in (
        ({}, "DEV2GC00000001", f"{millionths(own.balance)} EUR"),
        ({"emaid": None, "totals": (total("CHF", -5), total(NO_CURRENCY, 0), total("EUR", 7))}, "none",
         "-0.000005 CHF, 0.000007 EUR"),
        ({"totals": ()}, "DEV2GC00000001", "none"),
    ):  # fmt: skip
        made = dispute_files(
            msgspec.structs.replace(evidence, settlement=msgspec.structs.replace(settlement, **changes))
        )
        said = json.loads(made["dispute.json"])
        assert (said["verified"], said["failure"], said["proven"]) == (True, "", report.lines())
        lists = ["".join(f"<li>{html.escape(each)}</li>" for each in said["not_proven"])]
        lists.insert(0, "".join(f"<li>{each}</li>" for each in proven(report, "en")))
        facts = {
            "Session": "0011223344556677", "Charging station": "CS-V2G-0001", "Charge point (EVSE)": "DE*V2G*E0001",
            "Contract": contract, "Begin": iso_time(settlement.begin.utc_ms), "End": iso_time(settlement.end.utc_ms),
            "Balance to pay": balance,
        }  # fmt: skip
        columns = ("line", "kind", "direction", "start", "end", "energy kwh", "price per kwh", "currency", "amount",
                   "basis", "corrects")  # fmt: skip
        assert body(made).startswith(
            '<h1>Dispute file</h1>\n<p class="notice good"><b>The record is complete, unchanged and signed.</b></p>\n'
            f'<dl class="pairs">{"".join(f"<dt>{name}</dt><dd>{each}</dd>" for name, each in facts.items())}</dl>\n'
            f"<h2>What is proven</h2>\n<ul>{lists[0]}</ul>\n<h2>What is not proven</h2>\n<ul>{lists[1]}</ul>\n"
            '<h2>Priced lines (<a href="lines.csv">lines.csv</a>)</h2>\n<div class="scroll"><table><thead><tr>'
            + "".join(f"<th>{each}</th>" for each in columns)
        )
        assert "<th>der</th>" not in body(made)


@pytest.mark.parametrize(("count", "note"), [(30, 0), (31, 1)])
def test_a_long_table_is_whole_in_its_file_only(count: int, note: int) -> None:
    made = dispute_files(unverified(*[MeterReading(import_mwh=0, export_mwh=0)] * count))
    assert len(table(made, "readings")) == count
    assert body(made).count("<tr><td") == 30
    assert body(made).count('<p class="note">The first 30 of 31 rows; all are in readings.csv.</p>\n') == note


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_page_is_one_light_file_that_loads_nothing(finished: Session, language: str) -> None:
    made = dispute_files(evidence_of(finished), language=language)  # type: ignore[arg-type]
    page = Page(made["index.html"])
    assert (page.loads, page.open) == ([], [])
    assert len(made["index.html"]) < 120_000
    assert ("Was nicht bewiesen ist" in page.text) == (language == "de")


def test_what_is_not_proven_follows_from_what_was_given(finished: Session) -> None:
    evidence = evidence_of(finished)
    settlement = evidence.settlement
    assert settlement is not None

    def doubts(**changes: object) -> str:
        made = dispute_files(msgspec.structs.replace(evidence, **changes))
        return " ".join(json.loads(made["dispute.json"])["not_proven"])

    good = OcspAnswer(chain="charger_chain.pem", subject="A", responder="http://r", verdict="good", der=b"answer")
    refused = msgspec.structs.replace(good, verdict="refused: away", der=b"")
    assert "the roots came with the record" in doubts()
    assert "no responder was asked" in doubts()
    assert "answer for today" in doubts(ocsp=[good])
    assert "not every responder answered" in doubts(ocsp=[good, refused])
    assert "reports a revoked" in doubts(ocsp=[good, msgspec.structs.replace(good, verdict="revoked: x")])
    assert "differs from the charger's" in doubts(same_settlement=False)
    assert evidence.report is not None
    replace = msgspec.structs.replace
    proof = evidence.report.discharge
    late = replace(proof, checkpoints=replace(proof.checkpoints, after_import_mwh=0, after_export_mwh=5))
    assert "0.000000 kWh taken and 0.000005 kWh fed back" in doubts(report=replace(evidence.report, discharge=late))
    late = replace(proof, checkpoints=replace(proof.checkpoints, after_import_mwh=5, after_export_mwh=0))
    assert "0.000005 kWh taken and 0.000000 kWh fed back" in doubts(report=replace(evidence.report, discharge=late))
    nothing = replace(proof, checkpoints=replace(proof.checkpoints, after_import_mwh=0, after_export_mwh=0))
    assert "countersignature" not in doubts(report=replace(evidence.report, discharge=nothing))
    for export_mwh, covered, plain in ((5, False, True), (5, True, False), (0, False, False)):
        fed = replace(evidence.report, discharge=replace(proof, export_mwh=export_mwh, covered=covered))
        assert ("the plain standard has no signed commands" in doubts(report=fed)) == plain
    made = dispute_files(msgspec.structs.replace(evidence, ocsp=[refused, good], given={"csms.json": b"{}"}))
    assert (made["ocsp/1.der"], made["given/csms.json"]) == (b"answer", b"{}")
    assert [each["file"] for each in table(made, "ocsp")] == ["", "ocsp/1.der"]
    compared = compare(figures_of(settlement, "charger"), [figures_of(settlement, "vehicle")])
    assert [
        each["verdict"]
        for each in table(dispute_files(msgspec.structs.replace(evidence, comparisons=compared)), "reconciliation")
    ] == ["equal"] * 2


def test_no_time_in_a_message_prevents_the_file(session: Session) -> None:
    """Also one beyond the calendar: a vehicle's forged command, or a price of the charger's offer."""
    session.start()
    session.flow(11_000, 60_000)
    session.offer()
    last = 2**53 - 1
    signed = decode_signed(session.vehicle.command(9_000, session.now))
    content = msgspec.structs.replace(decode_content(signed.content), valid_until_ms=last)
    forged = encode_signed(msgspec.structs.replace(signed, content=encode_content(content)))
    session.record(record_of(session.gate.on_message(forged, session.now)))
    slot = PriceSlot(last, 1000, 1, 2)
    session.record(TariffSet(tariff=msgspec.structs.replace(session.tariff, slots=(*session.tariff.slots, slot))))
    session.end()
    made = dispute_files(evidence_of(session))
    (rejected, _) = (each for each in table(made, "messages") if each["kind"] == "command_rejected")
    assert rejected["content"].endswith(f"valid_until {last} ms")
    assert (table(made, "prices")[-1]["from"], table(made, "prices")[-1]["until"]) == (
        f"{last} ms",
        f"{last + 1000} ms",
    )


def test_corrections_are_listed_with_who_when_and_why(finished: Session) -> None:
    evidence = evidence_of(finished)
    assert evidence.settlement is not None
    signed = evidence.files[JOURNAL]
    journal = Journal.resume(signed)
    line = evidence.settlement.lines[0].id
    changes = (
        LineCorrected(line=line, price=-50_000, reason="=cmd|' /C calc'!A0", by="<b>alice</b>"),
        SessionRepriced(tariff=finished.tariff, reason="dispute 7", by="bob"),
    )
    copy = signed + b"".join(journal.append(each, finished.now) for each in changes)
    entries = read_corrected(copy, signed, name="copy.jsonl")
    made = dispute_files(msgspec.structs.replace(evidence, entries=entries, settlement=settle(entries)))
    first, second = table(made, "corrections")
    assert (first["price_per_kwh"], first["reason"], first["by"]) == (
        "-0.050000",
        "'=cmd|' /C calc'!A0",
        "<b>alice</b>",
    )
    assert (second["kind"], second["line_or_tariff"], second["by"]) == ("session_repriced", "tariff:3", "bob")
    page = made["index.html"].decode()
    assert "<b>alice" not in page
    assert "That corrections are right" in page


def test_an_edited_bundle_has_a_file_too_which_says_why_it_is_not_verified(finished: Session) -> None:
    files = finished.bundle()
    edited = files | {JOURNAL: files[JOURNAL].replace(b"DEV2GC00000001", b"DEV2GC0000000<")}
    evidence = Evidence(files=edited, report=None, failure="journal.jsonl:2: <script>", entries=(), settlement=None)
    made = dispute_files(evidence)
    assert made[f"bundle/{JOURNAL}"] == edited[JOURNAL]
    page = Page(made["index.html"])
    assert (page.loads, "NOT verified" in page.text, "journal.jsonl:2: <script>" in page.text) == ([], True, True)
    assert json.loads(made["dispute.json"])["verified"] is False
    broken = dispute_files(msgspec.structs.replace(evidence, files={"charger_chain.pem": b"no"}))
    assert "certificates.csv" not in broken


def test_responders_are_asked_about_each_certificate_but_roots_once(finished: Session) -> None:
    found = list(asked_certificates(finished.bundle()))
    for _, certificate, issuer in found:
        certificate.verify_directly_issued_by(issuer)
        assert responder_url(certificate)
    names = [each.public_bytes(Encoding.DER) for _, each, _ in found]
    assert len(names) == len(set(names))
    assert finished.contract.leaf in names
