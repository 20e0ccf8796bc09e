"""`v2g settle`: what it writes for people and programs from a bundle."""

import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.ocsp import load_der_ocsp_request

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.cli.conftest import Run
from tests.energy.settlement.bundle import resealed
from tests.energy.settlement.conftest import Session, run_whole_session, start_ms  # noqa: F401 - a fixture
from tests.ocpi.schema import SCHEMA
from tests.pki.ocsp import signer
from tests.sealing import new_keys
from v2g.energy.settlement.bundle import JOURNAL
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.checkpoints import encode_copy
from v2g.energy.settlement.corrections import sign_corrections
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.operator import JournalReceipt, JournalReceived, prices_in, seal
from v2g.energy.settlement.records import LineCorrected, SessionStarted, TariffSet
from v2g.energy.settlement.taxes import Taxation, VatRate
from v2g.errors import RevocationError
from v2g.io.storage.journal_file import read_files, write_files
from v2g.io.storage.record_keys import RecordKeys
from v2g.pki.keys import SoftwareKey
from v2g.pki.ocsp import make_response, responder_url
from v2g.pki.profile import KeyKind


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """A tree whose keys are on P-256: signatures of a session are verified sooner than those on P-521."""
    options = PkiOptions(key_kind=KeyKind.SECP256R1)
    return make_pki(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC), options=options)


@pytest.fixture(scope="module")
def bundle(pki: PkiTree, start_ms: int, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The folder of a session's bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    for name, data in run_whole_session(Session(pki, start_ms)).bundle().items():
        (folder / name).write_bytes(data)
    return folder


def test_all_bundles_are_judged_though_one_is_broken(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    broken, whole, empty = tmp_path / "broken", tmp_path / "whole", tmp_path / "empty"
    shutil.copytree(bundle, broken)
    shutil.copytree(bundle, whole)
    empty.mkdir()
    journal = (broken / JOURNAL).read_bytes()
    (broken / JOURNAL).write_bytes(journal.replace(b"1", b"2", 1))
    found = v2g("settle", "verify", str(broken), str(empty), str(whole), "--json")
    last = json.loads(found.output.splitlines()[-1])
    assert (last["directory"], last["verified"]) == (str(whole), True)
    assert (found.code, found.errors.count(f"{broken}: "), found.errors.count(f"{empty}: ")) == (9, 1, 1)
    assert "2 of 3 bundles not verified" in found.errors
    alone = v2g("settle", "verify", str(whole))
    assert v2g("settle", "verify", str(whole), str(whole)).code == alone.code
    refused = v2g("settle", "verify", str(whole), str(whole), "--corrections", str(whole / JOURNAL))
    assert (refused.code, "--corrections" in refused.errors) == (2, True)


def test_a_bundles_readings_are_verified_by_its_meters_certificates(v2g: Run, bundle: Path) -> None:
    readings = bundle / "ocmf_import.txt"
    done = v2g("settle", "ocmf", "verify", str(readings))
    assert (done.code, "--key KEY, the meter's public key" in done.errors) == (9, True)
    done = v2g("settle", "ocmf", "verify", str(readings), "--key", str(bundle / "meter_chain.pem"))
    assert (done.code, done.errors) == (0, "")


@pytest.mark.long
def test_a_receipt_is_written_once_in_the_language_and_zone_asked_for(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    options = ("--language", "de", "--zone", "Europe/Berlin")
    assert v2g("settle", "receipt", str(bundle), "--out", str(out), *options).code == 0
    page = out.read_text()
    assert '<html lang="de"' in page
    assert "Zeitzone Europe/Berlin" in page
    again = v2g("settle", "receipt", str(bundle), "--out", str(out))
    assert (again.code, "name another file" in again.errors) == (2, True)
    assert v2g("settle", "receipt", str(bundle)).output.startswith("<!DOCTYPE html>")


@pytest.mark.long
def test_a_receipt_is_with_vat_at_a_rate_that_is_given(v2g: Run, bundle: Path) -> None:
    page = v2g("settle", "receipt", str(bundle), "--vat", "8.1").output
    assert ("8.1 % of" in page, "Total with VAT" in page) == (True, True)
    assert "VAT" not in v2g("settle", "receipt", str(bundle)).output
    wrong = v2g("settle", "receipt", str(bundle), "--vat", "much")
    assert (wrong.code, "--vat much: neither a percentage nor a file" in wrong.errors) == (2, True)


@pytest.mark.long
def test_a_receipt_has_the_rates_of_a_file_by_day_and_place(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    rates = tmp_path / "vat.toml"
    rates.write_text(
        'vat_zone = "Europe/Berlin"\n[[vat]]\npercent = "16"\n[[vat]]\npercent = "17"\nfrom_day = 2020-01-01\n'
        '[[vat]]\npercent = "18"\nfrom_day = 2020-01-02\nstations = ["elsewhere"]\n'
    )
    assert "17 % of" in v2g("settle", "receipt", str(bundle), "--vat", str(rates)).output
    rates.write_text(rates.read_text().replace("Europe/Berlin", "Europe/Nowhere"))
    wrong = v2g("settle", "receipt", str(bundle), "--vat", str(rates))
    assert (wrong.code, "vat_zone" in wrong.errors) == (3, True)
    rates.write_text("vat = []")
    assert "vat" in v2g("settle", "receipt", str(bundle), "--vat", str(rates)).errors


@pytest.mark.long
def test_a_receipt_has_the_rates_that_the_operator_signed(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    """Only an operator's whose key is given: a charger can sign a receipt, too."""
    taxation = Taxation(rates=(VatRate(percent="8.1"),), zone="Europe/Zurich")
    whole, pem = receipted(bundle, tmp_path, taxation=taxation)
    page = v2g("settle", "receipt", str(whole), "--operator", str(pem))
    assert (page.code, "8.1 % of" in page.output) == (0, True)
    unknown = v2g("settle", "receipt", str(whole))
    assert ("VAT" in unknown.output, "--operator FILE applies them" in unknown.errors) == (False, True)
    assert "9 % of" in v2g("settle", "receipt", str(whole), "--operator", str(pem), "--vat", "9").output


def test_no_receipt_is_written_of_a_bundle_that_is_not_verified(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    edited = tmp_path / "edited"
    edited.mkdir()
    for each in bundle.iterdir():
        (edited / each.name).write_bytes(each.read_bytes().replace(b"DE*V2G*E0001", b"DE*V2G*E0002"))
    assert v2g("settle", "receipt", str(edited), "--out", str(out)).code == 9
    assert not out.exists()
    assert v2g("settle", "receipt", str(bundle), "--max-reaction", "1", "--out", str(out)).code == 9
    assert not out.exists()
    wrong = v2g("settle", "receipt", str(bundle), "--zone", "Nowhere/Land")
    assert (wrong.code, "unknown time zone 'Nowhere/Land'" in wrong.errors) == (2, True)


SITE = """auth_method = "WHITELIST"

[location]
id = "DEPOT-1"
address = "Ladestraße 1"
city = "Berlin"
country = "DEU"
coordinates = { latitude = "52.520008", longitude = "13.404954" }
connector_id = "1"
connector_standard = "IEC_62196_T2_COMBO"
connector_format = "CABLE"
connector_power_type = "DC"
"""


@pytest.mark.long
def test_a_bundle_is_exported_for_programs(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    facts = tmp_path / "site.toml"
    facts.write_text(SITE)
    assert v2g("settle", "export", str(bundle), "--format", "csv").output.startswith("station_id,evse_id,")
    assert json.loads(v2g("settle", "export", str(bundle), "--format", "json").output)[0]["direction"] == "import"
    assert v2g("settle", "export", str(bundle), "--format", "ocmf").output.count("<signedData") == 2
    out = tmp_path / "cdr.json"
    done = v2g("settle", "export", str(bundle), "--format", "ocpi", "--facts", str(facts), "--out", str(out))
    assert (done.code, json.loads(out.read_text())["cdr_location"]["city"]) == (0, "Berlin")


@pytest.mark.some(2)
@pytest.mark.requirement("R194")
@pytest.mark.parametrize("state", ["waiting", "quarantined", "rejected", "released", None])
def test_no_export_and_no_receipt_has_an_amount_that_the_back_end_holds(
    v2g: Run, bundle: Path, tmp_path: Path, state: str | None
) -> None:
    facts, held = tmp_path / "site.toml", tmp_path / "held.jsonl"
    facts.write_text(SITE)
    started = verify_lines((bundle / JOURNAL).read_bytes())[0].data
    assert isinstance(started, SessionStarted)
    session_id = started.session_id
    rows = [(session_id, state)] if state else []
    rows += [("another", "quarantined"), ("a third", "waiting")]
    lines = [{"session_id": name, "state": one, "reason": "rise", "detail": "9 kWh in 1 s"} for name, one in rows]
    held.write_text("".join(json.dumps(each) + "\n" for each in lines))
    unbooked = state in ("waiting", "quarantined", "rejected")
    for options in (
        ("export", str(bundle), "--format", "csv"),
        ("export", str(bundle), "--format", "json"),
        ("export", str(bundle), "--format", "ocpi", "--facts", str(facts)),
        ("receipt", str(bundle)),
    ):
        done = v2g("settle", *options, "--held", str(held))
        assert f"holds {2 + unbooked} amounts" in done.errors
        if unbooked:
            assert (done.code, done.output) == (5, "")
            assert f"{state} (rise): 9 kWh in 1 s" in done.errors
        else:
            assert done.code == 0
            assert done.output
        assert "not known: --held" in v2g("settle", *options).errors
    assert v2g("settle", "export", str(bundle), "--format", "ocmf", "--held", str(held)).code == 0
    held.write_text("{")
    assert v2g("settle", "receipt", str(bundle), "--held", str(held)).code == 2


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (None, "belong together"),
        ("auth_method = 'GUESSED'", "auth_method"),
        ("auth_method = 'COMMAND'\nlocation = 7", "location"),
        (SITE.replace("connector_id", "conector_id"), "conector_id"),
        ("\0", "site.toml"),
    ],
)
def test_facts_that_are_missing_or_wrong_are_named(
    v2g: Run, bundle: Path, tmp_path: Path, facts: str | None, why: str
) -> None:
    options: tuple[str, ...] = ()
    if facts is not None:
        (tmp_path / "site.toml").write_text(facts)
        options = ("--facts", str(tmp_path / "site.toml"))
    done = v2g("settle", "export", str(bundle), "--format", "ocpi", *options)
    assert (done.code, done.output) == (2, "")
    assert why in done.errors
    assert v2g("settle", "export", str(bundle), "--format", "csv", "--facts", "none").code == 2
    assert v2g("settle", "export", str(bundle), "--format", "ocpi", "--facts", str(tmp_path)).code == 2


@pytest.mark.long
def test_figures_of_back_end_and_vehicle_are_compared_and_an_alarm_fails(
    v2g: Run, bundle: Path, tmp_path: Path
) -> None:
    settlement = json.loads((bundle / "settlement.json").read_text())
    charged, discharged = (settlement["end"][each] - settlement["begin"][each] for each in ("import_mwh", "export_mwh"))
    log = tmp_path / "evcc.events.jsonl"

    def run(csms: object, factor: float, *options: str) -> tuple[int, str, str]:
        data = {
            "session_id": settlement["session_id"],
            "charged_mwh": round(charged * factor),
            "discharged_mwh": round(discharged * factor),
        }
        log.write_text(json.dumps({"stage": "session", "name": "ended", "data": data}))
        (tmp_path / "copy.json").write_text(json.dumps(csms))
        done = v2g(
            "settle", "reconcile", str(bundle), "--csms", str(tmp_path / "copy.json"), "--vehicle", str(log), *options
        )
        return done.code, done.output, done.errors

    code, output, _ = run({"document": settlement}, 1.004)
    assert (code, output.count("equal"), output.count("within aim")) == (0, 2, 2)
    assert [row["verdict"] for row in map(json.loads, run(settlement, 1.04, "--json")[1].splitlines())] == [
        "equal",
        "equal",
        "beyond_aim",
        "beyond_aim",
    ]
    assert run(settlement, 1.06)[0] == 1
    assert run(settlement, 1.06, "--alarm", "10")[0] == 0
    code, _, errors = run(settlement | {"journal_entries": 1}, 1.0)
    assert (code, "compare their journals" in errors) == (1, True)
    assert run([], 1.0)[0] == 9
    assert v2g("settle", "reconcile", str(bundle)).code == 2
    assert run(settlement, 1.0, "--aim", "6")[0] == 2


def set_tariff(bundle: Path) -> dict[str, Any]:
    """Return the tariff that the bundle's journal has."""
    entries = verify_lines((bundle / "journal.jsonl").read_bytes())
    tariff = next(each.data.tariff for each in entries if isinstance(each.data, TariffSet))
    found: dict[str, Any] = json.loads(msgspec.json.encode(tariff))
    return found


@pytest.mark.some(1)
@pytest.mark.requirement("R33", "R44")
@pytest.mark.parametrize("per_mwh", [20, 50, 80, -30])
def test_a_session_is_shown_under_another_tariff_beside_what_was_charged(
    v2g: Run, bundle: Path, tmp_path: Path, per_mwh: int
) -> None:
    before = {each.name: each.read_bytes() for each in bundle.iterdir()}
    tariff = set_tariff(bundle)
    for slot in tariff["slots"]:
        slot["import_price"], slot["export_compensation"] = per_mwh * 1000, 0
    file = tmp_path / "tariff.json"
    file.write_text(json.dumps(tariff | {"version": 9}))
    done = v2g("settle", "reprice", str(bundle), "--tariff", str(file), "--json")
    found = json.loads(done.output)
    (total,) = json.loads((bundle / "settlement.json").read_text())["totals"]
    assert Decimal(found["amount"]) * 10**6 == total["balance"]
    wanted = Decimal(total["import_mwh"]) / 10**9 * per_mwh
    assert abs(Decimal(found["tariff_amount"]) - wanted) < Decimal("0.00001")
    for lines in (found["lines"], [found]):
        for each in lines:
            assert Decimal(each["difference"]) == Decimal(each["tariff_amount"]) - Decimal(each["amount"])
    assert sum(Decimal(each["difference"]) for each in found["lines"]) == Decimal(found["difference"])
    rows = v2g("settle", "reprice", str(bundle), "--tariff", str(file)).output.splitlines()
    assert len(rows) == len(found["lines"]) + 1
    assert rows[-1].split("\t")[-1] == found["difference"]
    assert {each.name: each.read_bytes() for each in bundle.iterdir()} == before


def test_prices_of_a_tariff_are_decimal_text_and_integers_say_what_to_write(
    v2g: Run, bundle: Path, tmp_path: Path
) -> None:
    old, new = set_tariff(bundle), set_tariff(bundle)
    for slot, typed in zip(old["slots"], new["slots"], strict=True):
        slot["import_price"], slot["export_compensation"] = 350_000, -5
        typed["import_price"], typed["export_compensation"] = "0.35", "-0.000005"
    shown = []
    for tariff in (new, old):
        file = tmp_path / "tariff.json"
        file.write_text(json.dumps(tariff))
        done = v2g("settle", "reprice", str(bundle), "--tariff", str(file), "--json")
        assert done.code == 0
        shown.append((done.output, done.errors))
    assert (shown[0][0], shown[0][1]) == (shown[1][0], "")
    assert '350000 is read as millionths per kWh; write "0.35" instead' in shown[1][1]
    for wrong in ("0.3500001", "0,35", 0.35):
        new["slots"][1]["import_price"] = wrong
        file.write_text(json.dumps(new))
        done = v2g("settle", "reprice", str(bundle), "--tariff", str(file))
        assert (done.code, "slots" in done.errors) == (2, True), done.errors


def test_a_tariff_that_does_not_fit_is_named_in_one_line(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    tariff = set_tariff(bundle)
    file = tmp_path / "tariff.json"
    for text, code, why in (
        (json.dumps(tariff | {"currency": "SEK"}), 5, "the tariff in SEK"),
        (json.dumps(tariff | {"slots": tariff["slots"][:1]}), 5, "the tariff has no price at"),
        (json.dumps(tariff | {"currency": "euro"}), 2, "currency"),
        ("[1]", 2, "has no keys"),
        ("", 2, "has no keys"),
    ):
        file.write_text(text)
        done = v2g("settle", "reprice", str(bundle), "--tariff", str(file))
        assert (done.code, done.output, why in done.errors) == (code, "", True), done.errors
    assert v2g("settle", "reprice", str(bundle), "--tariff", str(tmp_path / "none")).code == 2
    assert v2g("settle", "reprice", str(tmp_path), "--tariff", str(file)).code == 2


def receipted(bundle: Path, tmp_path: Path, **changed: Any) -> tuple[Path, Path]:
    """Return a bundle with an operator's receipt, and the file of its public key."""
    entries = verify_lines((bundle / "journal.jsonl").read_bytes())
    started = entries[0].data
    assert isinstance(started, SessionStarted)
    key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    pem = tmp_path / "operator.pem"
    pem.write_bytes(key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    received = JournalReceived(
        station_id=started.station_id,
        session_id=started.session_id,
        entries=len(entries),
        head=entries[-1].hash,
        utc_ms=1,
        **changed,
    )
    whole = tmp_path / "whole"
    receipt = canonical(JournalReceipt(received=received, seal=seal(received, key)))
    write_files(whole, {**read_files(bundle), "receipt.json": receipt})
    return whole, pem


@pytest.mark.long
@pytest.mark.requirement("R32", "R33")
def test_a_bundle_whose_end_nobody_signed_has_an_exit_code_of_its_own(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    alone = v2g("settle", "verify", str(bundle))
    assert (alone.code, alone.output.startswith("INCOMPLETE: the vehicle has not signed the end")) == (10, True)
    shown = v2g("settle", "verify", str(bundle), "--json")
    assert (shown.code, json.loads(shown.output)["verified"], json.loads(shown.output)["complete"]) == (10, True, False)
    whole, pem = receipted(bundle, tmp_path)
    assert v2g("settle", "verify", str(whole)).code == 10
    found = v2g("settle", "verify", str(whole), "--operator", str(pem))
    assert (found.code, found.output.startswith("Complete: the operator signed")) == (0, True)


class OtherVehicle(Session):
    """A session of another vehicle at the same outlet."""

    session_id = bytes.fromhex("8899aabbccddeeff")
    leaf, emaid, evcc_id = "contract-2", "DEV2GC00000002", "WMIV2GENGINE0000002X"


@pytest.mark.requirement("R32", "R33")
def test_demands_are_met_or_named(
    v2g: Run,
    bundle: Path,
    pki: PkiTree,
    start_ms: int,  # noqa: F811
    tmp_path: Path,
) -> None:
    whole, pem = receipted(bundle, tmp_path, prices=prices_in(verify_lines((bundle / "journal.jsonl").read_bytes())))
    verify = ("settle", "verify", str(whole), "--operator", str(pem))
    found = v2g(*verify, "--require", "operator", "--require", "signed")
    assert (found.code, "The prices are the operator's, signed" in found.output) == (0, True)
    unsigned = v2g(*verify, "--require", "authorization")
    assert (unsigned.code, "no vehicle signed for this session" in unsigned.errors) == (9, True)
    assert "Authorisation unsigned" in found.output
    bare = v2g("settle", "verify", str(bundle), "--operator", str(pem), "--require", "operator")
    assert (bare.code, "the operator's receipt is missing" in bare.errors) == (9, True)
    other = OtherVehicle(pki, start_ms, checkpoints=True)
    other.start()
    other.flow(7_000, 60_000)
    other.checkpoint()
    for number, copies in enumerate(([], other.copies)):
        kept = tmp_path / f"copies-{number}.jsonl"
        kept.write_bytes(b"".join(map(encode_copy, copies)))
        none = v2g(*verify, "--checkpoints", str(kept))
        assert (none.code, none.output.splitlines()[-1]) == (10, f"{whole}: no copy of this session")
    told = json.loads(v2g(*verify, "--checkpoints", str(kept), "--json").output)
    assert (told["verified"], told["complete"], told["verdict"]) == (False, True, "no copy of this session")


@pytest.mark.requirement("R32", "R33")
def test_a_back_ends_corrections_continue_a_bundle(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    journal = (bundle / "journal.jsonl").read_bytes()
    settlement = json.loads((bundle / "settlement.json").read_text())
    change = LineCorrected(line=settlement["lines"][0]["id"], price=0, reason="free hour", by="alice")
    copy, facts = tmp_path / "copy.jsonl", tmp_path / "site.toml"
    copy.write_bytes(journal + Journal.resume(journal).append(change, settlement["end"]["utc_ms"]))
    facts.write_text(SITE)
    ocpi = ("settle", "export", str(bundle), "--format", "ocpi", "--facts", str(facts))
    sent = json.loads(v2g(*ocpi).output)
    credit, new = json.loads(v2g(*ocpi, "--corrections", str(copy)).output)
    for each in (sent, credit, new):
        jsonschema.validate(each, SCHEMA)
    assert (credit["credit_reference_id"], credit["total_cost"]["excl_vat"]) == (
        sent["id"],
        -sent["total_cost"]["excl_vat"],
    )
    assert new["total_cost"]["excl_vat"] < sent["total_cost"]["excl_vat"]
    rows = json.loads(v2g("settle", "export", str(bundle), "--format", "json", "--corrections", str(copy)).output)
    assert [each["kind"] for each in rows[-2:]] == ["reversal", "replacement"]
    assert "A price was corrected" in v2g("settle", "receipt", str(bundle), "--corrections", str(copy)).output
    same = tmp_path / "answer.json"
    same.write_text(json.dumps(settlement))
    assert v2g("settle", "reconcile", str(bundle), "--csms", str(same), "--corrections", str(copy)).code == 1
    assert v2g(*ocpi, "--credited", "nothing", "--corrections", str(copy)).code == 3
    assert v2g("settle", "export", str(bundle), "--format", "csv", "--credited", "x").code == 2
    operator = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    pem, stranger = tmp_path / "operator.pem", tmp_path / "stranger.pem"
    for each, key in ((pem, operator), (stranger, SoftwareKey(ec.generate_private_key(ec.SECP256R1())))):
        each.write_bytes(key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    verify = ("settle", "verify", str(bundle), "--corrections", str(copy))
    assert v2g(*verify).output.count("balance to pay") == 2
    assert "the back end's statement alone" in v2g(*verify).output
    assert v2g(*verify, "--operator", str(pem)).code == 9
    writer = Journal.resume(copy.read_bytes())
    with copy.open("ab") as file:
        file.write(writer.append(sign_corrections(writer.state.head, operator), 0))
    shown = v2g(*verify, "--operator", str(pem), "--operator", str(stranger))
    assert (shown.code, "by alice: free hour" in shown.output) == (10, True)
    assert v2g(*verify, "--operator", str(stranger)).code == 9
    assert v2g(*verify, "--operator", str(copy)).code == 4
    copy.write_bytes(b"{}\n")
    forged = v2g(*ocpi, "--corrections", str(copy))
    assert (forged.code, "copy.jsonl:1" in forged.errors) == (9, True)
    assert v2g(*ocpi, "--corrections", str(tmp_path / "none")).code == 2


@pytest.mark.long
@pytest.mark.requirement("R27", "R32")
def test_what_is_swapped_between_bundles_of_two_vehicles_is_refused_and_named(
    v2g: Run,
    pki: PkiTree,
    start_ms: int,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Files alone and together, sealed anew by the charger, and the copies that each vehicle keeps."""

    def verified(files: dict[str, bytes], *words: str) -> tuple[int, str]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        write_files(folder, files)
        done = v2g("settle", "verify", str(folder), *words)
        return done.code, done.output + done.errors

    sessions = [Session(pki, start_ms, checkpoints=True), OtherVehicle(pki, start_ms, checkpoints=True)]
    for each in sessions:
        each.begin = (each.import_mwh, each.export_mwh) = (sessions[0].import_mwh, sessions[0].export_mwh)
        each.start()
        each.flow(11_000, 60_000)
        each.offer()
        each.flow(-9_000, 60_000)
        each.checkpoint(final=True)
        each.end()
    files, others = [each.bundle() for each in sessions]
    kept = []
    for number, each in enumerate(sessions):
        kept.append(tmp_path / f"copies-{number}.jsonl")
        kept[-1].write_bytes(b"".join(map(encode_copy, each.copies)))
    assert verified(files, "--checkpoints", str(kept[0]))[0] == 0
    for name in files.keys() & others.keys():
        if files[name] != others[name]:
            code, said = verified({**files, name: others[name]})
            assert code == 9, (name, said)
            assert name in said or "manifest" in said, said
    signed = {each: others[each] for each in ("ocmf_import.txt", "ocmf_export.txt")}
    for swapped, named in (
        ({"contract_chain__pem": others["contract_chain.pem"]}, "contract_chain.pem"),
        ({name.replace(".", "__"): data for name, data in signed.items()}, "ocmf_import.txt"),
        ({"settlement__json": others["settlement.json"]}, "settlement.json"),
        ({"journal__jsonl": others["journal.jsonl"]}, ""),
    ):
        code, said = verified(resealed(sessions[0], files, **swapped))
        assert (code, named in said) == (9, True), said
    for bundle_of, copies_of in ((files, 0), (files, 1), (others, 1)):
        code, said = verified(bundle_of, "--checkpoints", str(kept[copies_of]))
        own = (bundle_of is files) == (copies_of == 0)
        assert (code, "copies: 1 checkpoints of this session" in said) == (0 if own else 10, own), said
        assert said.splitlines()[-1].endswith(": verified" if own else ": no copy of this session")


@pytest.mark.long
@pytest.mark.requirement("R32")
def test_a_dispute_file_is_written_with_copies_and_answers_of_responders(
    v2g: Run, bundle: Path, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settlement = json.loads((bundle / "settlement.json").read_text())
    (tmp_path / "csms.json").write_text(json.dumps({"document": settlement}))
    leaf, issuer = (x509.load_der_x509_certificate(each) for each in pki.chain("secc")[:2])
    answer = make_response(leaf, issuer, signer(pki, "cpo/ocsp"), at=datetime.now(UTC))

    async def ask(url: str, request: bytes) -> bytes:
        if load_der_ocsp_request(request).serial_number != leaf.serial_number:
            raise RevocationError("no answer", reason="refused")
        assert url == responder_url(leaf)
        return answer

    monkeypatch.setattr("v2g.io.tls.revocation.ask", ask)
    out = tmp_path / "dispute"
    words = ("settle", "dispute", str(bundle), "-o", str(out), "--csms", str(tmp_path / "csms.json"), "--ocsp")
    done = v2g(*words)
    assert (done.code, done.output) == (0, f"{out / 'index.html'}: verified\n"), done.errors
    assert {each.name: each.read_bytes() for each in (out / "bundle").iterdir()} == {
        each.name: each.read_bytes() for each in bundle.iterdir()
    }
    assert (out / "ocsp/1.der").read_bytes() == answer
    found = json.loads((out / "dispute.json").read_text())
    assert [each["verdict"] for each in found["tables"]["reconciliation"]] == ["equal", "equal"]
    assert found["tables"]["ocsp"][0]["verdict"] == "good"
    again = v2g(*words)
    assert (again.code, "name another folder" in again.errors) == (2, True)


def test_an_edited_bundle_is_written_as_it_is_and_fails(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    edited.mkdir()
    for each in bundle.iterdir():
        (edited / each.name).write_bytes(each.read_bytes().replace(b'"import_price":300001', b'"import_price":100001'))
    done = v2g("settle", "dispute", str(edited), "-o", str(tmp_path / "d"), "--language", "de", "--ocsp")
    assert (done.code, "not verified" in done.output, "journal.jsonl" in done.errors) == (9, True, True)
    assert "NICHT" in (tmp_path / "d/index.html").read_text()
    for wrong, code in (
        (("--csms", str(tmp_path / "none")), 2),
        (("--vehicle", str(bundle / "roots.pem")), 9),
        (("--checkpoints", str(bundle / "roots.pem")), 9),
        (("--corrections", str(bundle / "roots.pem")), 9),
    ):
        assert v2g("settle", "dispute", str(bundle), "-o", str(tmp_path / "e"), *wrong).code == code
        assert not (tmp_path / "e").exists()
    assert v2g("settle", "dispute", str(tmp_path / "none"), "-o", str(tmp_path / "e")).code == 8


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("command", ["verify", "show"])
@pytest.mark.parametrize(
    ("broken", "place", "shown"),
    [("cut", 6, 5), ("middle", 4, -1), ("octets", 4, -1), ("zeros", 4, -1), ("tail", 0, 0), ("empty", 1, 0)],
)
def test_a_broken_journal_is_shown_as_far_as_it_can_be_read_and_never_verified(
    broken: str, place: int, shown: int, command: str, v2g: Run, bundle: Path, tmp_path: Path
) -> None:
    """Of `shown` lines, where negative: all but so many."""
    shutil.copytree(bundle, tmp_path / "b")
    journal = tmp_path / "b" / "journal.jsonl"
    data = journal.read_bytes()
    *lines, _ = data.split(b"\n")
    begin, rest = b"".join(each + b"\n" for each in lines[:3]), b"".join(each + b"\n" for each in lines[4:])
    journal.write_bytes({
        "cut": b"\n".join(lines[:5]) + b"\n" + lines[5][:50],
        "middle": begin + b"{broken\n" + rest,
        "octets": begin + b"\xff\xfe" + lines[3] + b"\n" + rest,
        "zeros": begin + b"\0" * len(lines[3]) + b"\n" + rest,
        "tail": data + b"\0" * 512,
        "empty": b"",
    }[broken])  # fmt: skip
    where = f"journal.jsonl:{place or len(lines) + 1}"
    count = shown if shown > 0 or broken == "empty" else len(lines) + shown
    done = v2g("settle", command, str(tmp_path / "b"))
    head, *rows = done.output.splitlines()
    assert (done.code, done.errors.startswith(f"v2g: {where}: "), head.startswith(where)) == (9, True, True)
    assert len(rows) == count
    assert not count or rows[0].split("\t")[2] == "session_started"
    broken_at = place or len(lines) + 1
    assert [row.endswith("after the break") for row in rows] == [
        int(row.partition("\t")[0]) > broken_at for row in rows
    ]
    record = json.loads(v2g("settle", command, str(tmp_path / "b"), "--json").output)
    assert (record["verified"], record["where"], len(record["lines"])) == (False, where, count)
    if command == "verify":
        assert v2g("settle", "dispute", str(tmp_path / "b"), "-o", str(tmp_path / "d")).code == 9
        assert (tmp_path / "d" / "index.html").exists()


@pytest.mark.long
@pytest.mark.requirement("R145")
def test_a_sealed_bundle_is_read_with_its_keys_and_written_plain_for_others(
    v2g: Run, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "journal.keys"
    assert "key 1" in v2g("settle", "key", str(file)).output
    assert "key 2" in v2g("settle", "key", str(file)).output
    sealed, plain = tmp_path / "sealed", tmp_path / "plain"
    write_files(sealed, read_files(bundle), keys=RecordKeys(file))
    refused = v2g("settle", "verify", str(sealed))
    assert (refused.code, "is sealed" in refused.errors, "--keys" in refused.errors) == (8, True, True)
    keys = ("--keys", str(file))
    assert v2g("settle", "verify", str(sealed), *keys).output.endswith("verified, but incomplete\n")
    for command in (("show",), ("receipt",), ("export", "--format", "csv")):
        assert v2g("settle", command[0], str(sealed), *command[1:], *keys).output == (
            v2g("settle", command[0], str(bundle), *command[1:]).output
        )
    assert v2g("settle", "unseal", str(sealed), *keys, "--out", str(plain)).code == 0
    assert read_files(plain) == read_files(bundle)
    other = tmp_path / "other.keys"
    v2g("settle", "key", str(other))
    v2g("settle", "key", str(other))
    wrong = v2g("settle", "verify", str(sealed), "--keys", str(other))
    assert (wrong.code, "does not open" in wrong.errors) == (9, True)


@pytest.mark.requirement("R145")
@pytest.mark.parametrize("harm", ["changed", "missing", "cut", "another key"])
def test_what_can_be_read_of_a_broken_sealed_journal_is_shown_before_the_error(
    v2g: Run, bundle: Path, tmp_path: Path, harm: str
) -> None:
    keys, sealed = new_keys(tmp_path / "journal.keys"), tmp_path / "sealed"
    write_files(sealed, read_files(bundle), keys=keys)
    journal = sealed / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    count, place = len(lines), 2
    match harm:
        case "changed":
            lines[place] = lines[place].replace(b" 1 ", b" 1 AAAA", 1)
        case "missing":
            del lines[place]
        case "cut":
            place = count - 1
            lines[place] = lines[place][:40]
        case "another key":
            lines[place] = lines[place].replace(b"sealed 1 ", b"sealed 7 ")
    journal.write_bytes(b"".join(lines))
    for command in ("verify", "show"):
        found = v2g("settle", command, str(sealed), "--keys", str(tmp_path / "journal.keys"))
        assert found.code == (8 if harm == "another key" else 9)
        assert f"journal.jsonl:{place + 1}" in found.output
        assert f"journal.jsonl:{place + 1}" in found.errors or harm == "another key", found.errors
        record = json.loads(
            v2g("settle", command, str(sealed), "--keys", str(tmp_path / "journal.keys"), "--json").output
        )
        before = [each["line"] for each in record["lines"] if each["continues"]]
        after = [each["line"] for each in record["lines"] if not each["continues"]]
        assert before == list(range(1, place + 1))
        assert after == ([] if harm == "missing" else list(range(place + 2, count + 1)))
        assert record["where"] == f"journal.jsonl:{place + 1}"


@pytest.mark.requirement("R145")
def test_a_sealed_file_of_another_bundle_does_not_verify(
    v2g: Run,
    bundle: Path,
    pki: PkiTree,
    start_ms: int,  # noqa: F811
    tmp_path: Path,
) -> None:
    """It opens, for it has the same name and keys; the manifest does not know it."""
    keys = new_keys(tmp_path / "journal.keys")
    write_files(tmp_path / "a", read_files(bundle), keys=keys)
    write_files(tmp_path / "b", run_whole_session(Session(pki, start_ms + 1000)).bundle(), keys=keys)
    (tmp_path / "a" / "journal.jsonl").write_bytes((tmp_path / "b" / "journal.jsonl").read_bytes())
    found = v2g("settle", "verify", str(tmp_path / "a"), "--keys", str(tmp_path / "journal.keys"))
    assert (found.code, "the file differs from the signed one" in found.errors) == (9, True)
