"""The dispute file: the bundle untouched, everything in it as tables and a page, and what is not proven."""

import csv
import hashlib
import io
import json
from html.parser import HTMLParser

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.energy.settlement.conftest import Session
from v2g.asn1.discharge import PriceSlot, decode_content, decode_signed, encode_content, encode_signed
from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
from v2g.energy.settlement.corrections import read_corrected
from v2g.energy.settlement.dispute import Evidence, OcspAnswer, asked_certificates, dispute_files
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.reconcile import compare, figures_of
from v2g.energy.settlement.records import LineCorrected, SessionRepriced, TariffSet, record_of
from v2g.energy.settlement.settle import settle
from v2g.iso15118.signed_requests import read_confirmation
from v2g.pki.ocsp import responder_url


def evidence_of(finished: Session) -> Evidence:
    files = finished.bundle()
    report = verify_bundle(files, confirmations=read_confirmation)
    return Evidence(
        files=files, report=report, failure="", entries=verify_lines(files[JOURNAL]), settlement=report.settlement
    )


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
    nothing = replace(proof, checkpoints=replace(proof.checkpoints, after_import_mwh=0, after_export_mwh=0))
    assert "countersignature" not in doubts(report=replace(evidence.report, discharge=nothing))
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
