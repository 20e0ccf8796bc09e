"""A bundle proves itself offline, and any edited, removed, added, reordered or exchanged byte or file is found."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.energy.settlement.bundle import resealed
from tests.energy.settlement.conftest import EVSE_ID, SESSION_ID, Session, run_whole_session
from tests.pki.forge import Forge
from tests.pki.forge_chains import rsa_key
from v2g.energy.settlement import ocmf
from v2g.energy.settlement.bundle import (
    CHARGER_CHAIN,
    CONTRACT_CHAIN,
    JOURNAL,
    LISTED,
    MANIFEST,
    METER_CHAIN,
    SETTLEMENT,
    SIGNATURE,
    Manifest,
    Seal,
    verify_bundle,
    write_bundle,
)
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import (
    CommandAccepted,
    CommandRejected,
    MeteringConfirmed,
    SessionStarted,
    TermsDecided,
    TermsOffered,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle
from v2g.energy.settlement.signed_meter import sign_meter
from v2g.errors import VerificationError
from v2g.pki.certificates import chain_to_pem, load_certificate
from v2g.pki.keys import Algorithm
from v2g.pki.profile import KeyKind, Role

pytestmark = pytest.mark.requirement("R32", "R33")

MINUTES = 2
"""Length of a session whose every message is verified again and again."""
ALL_FILES = (*LISTED, MANIFEST, SIGNATURE)


@pytest.fixture(scope="module")
def finished(pki: PkiTree, start_ms: int) -> Session:
    return run_whole_session(Session(pki, start_ms), MINUTES)


@pytest.fixture(scope="module")
def bundle(finished: Session) -> dict[str, bytes]:
    return finished.bundle()


def found(files: dict[str, bytes], session: Session) -> VerificationError:
    with pytest.raises(VerificationError) as error:
        verify_bundle(files, anchors=session.pki.anchors("v2g", "mo"))
    return error.value


def test_a_bundle_proves_itself(finished: Session, bundle: dict[str, bytes]) -> None:
    """With the reader's own roots, and without."""
    now = datetime.now(UTC)
    report = verify_bundle(bundle, anchors=finished.pki.anchors("v2g", "mo"), now=now)
    assert report.own_anchors
    assert report.discharge.covered
    assert report.settlement.state == "closed"
    assert (report.contract, report.meter) == ("DEV2GC00000001", "METER-0001")
    assert report.expired == ()
    alone = verify_bundle(bundle)
    assert alone.settlement == report.settlement
    said = "\n".join(alone.lines())
    assert "Roots were taken from the bundle" in said
    assert "Every mWh of" in said
    assert "balance to pay" in said
    assert "Roots were taken" not in "\n".join(report.lines())


def test_the_report_names_what_has_expired_since(bundle: dict[str, bytes]) -> None:
    """A settlement of last year is still a settlement."""
    report = verify_bundle(bundle, now=datetime.now(UTC) + timedelta(days=365))
    assert any("DEV2GS" in name for name in report.expired)
    assert any(line.startswith("Expired since") for line in report.lines())


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_edited_byte_of_any_file_is_found(finished: Session, bundle: dict[str, bytes], data: st.DataObject) -> None:
    """And named by its file, unless it is the manifest that another file contradicts."""
    name = data.draw(st.sampled_from(ALL_FILES))
    position = data.draw(st.integers(0, len(bundle[name]) - 1))
    value = data.draw(st.integers(0, 255))
    if bundle[name][position] == value:
        return
    edited = bundle[name][:position] + bytes([value]) + bundle[name][position + 1 :]
    error = found({**bundle, name: edited}, finished)
    file = error.where.split(":")[0]
    assert file == name or (name, file) in {(MANIFEST, SIGNATURE), (CHARGER_CHAIN, SIGNATURE)}


@pytest.mark.long
@given(data=st.data())
def test_any_byte_added_or_taken_away_is_found(
    finished: Session, bundle: dict[str, bytes], data: st.DataObject
) -> None:
    """At the end of a file too."""
    name = data.draw(st.sampled_from(ALL_FILES))
    position = data.draw(st.integers(0, len(bundle[name])))
    added = bundle[name][:position] + bytes([data.draw(st.integers(0, 255))]) + bundle[name][position:]
    found({**bundle, name: added}, finished)
    if position < len(bundle[name]):
        found({**bundle, name: bundle[name][:position] + bundle[name][position + 1 :]}, finished)
    found({**bundle, name: bundle[name][:position] if position < len(bundle[name]) else b""}, finished)


@given(data=st.data())
def test_any_line_of_the_journal_removed_repeated_or_moved_is_found(
    finished: Session, bundle: dict[str, bytes], data: st.DataObject
) -> None:
    """With the line where the chain breaks; at the very end by the signed manifest."""
    lines = bundle[JOURNAL].splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 2))
    for edited in (
        lines[:index] + lines[index + 1 :],
        lines[: index + 1] + lines[index:],
        [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]],
        lines[: index + 1],
    ):
        assert found({**bundle, JOURNAL: b"".join(edited)}, finished).where.startswith(JOURNAL)


@pytest.mark.parametrize("name", ALL_FILES)
def test_any_missing_or_emptied_file_is_found(finished: Session, bundle: dict[str, bytes], name: str) -> None:
    """By its name."""
    error = found({key: value for key, value in bundle.items() if key != name}, finished)
    assert error.where == name
    found({**bundle, name: b""}, finished)


def test_a_file_too_many_and_exchanged_files_are_found(finished: Session, bundle: dict[str, bytes]) -> None:
    """Import for export, contract for meter."""
    assert found({**bundle, "note.txt": b"hello"}, finished).where == "note.txt"
    swapped = {**bundle, "ocmf_import.txt": bundle["ocmf_export.txt"], "ocmf_export.txt": bundle["ocmf_import.txt"]}
    assert found(swapped, finished).where == "ocmf_import.txt"
    again = resealed(finished, bundle, ocmf_import__txt=bundle["ocmf_export.txt"])
    assert "direction" in str(found(again, finished))


def test_a_lying_charger_cannot_shorten_its_journal(finished: Session, bundle: dict[str, bytes]) -> None:
    """Even with hashes and signature right, the meter's registers and the settlement say otherwise."""
    lines = bundle[JOURNAL].splitlines(keepends=True)
    shorter = b"".join(lines[:-2])
    assert found(resealed(finished, bundle, journal__jsonl=shorter), finished).where == SETTLEMENT
    both = resealed(
        finished,
        bundle,
        journal__jsonl=b"".join(lines[:-9]),
        settlement__json=canonical(settle(verify_lines(b"".join(lines[:-9])))),
    )
    assert found(both, finished).where.startswith("ocmf_")


def restarted(session: Session, files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    """A bundle by a charger that says something else of itself in the first entry of its journal."""
    journal, lines = Journal(), []
    for entry in verify_lines(files[JOURNAL]):
        first = isinstance(entry.data, SessionStarted)
        record = msgspec.structs.replace(entry.data, **changes) if first else entry.data
        lines.append(journal.append(record, entry.utc_ms))
    text = b"".join(lines)
    return resealed(session, files, journal__jsonl=text, settlement__json=canonical(settle(verify_lines(text))))


def test_a_lying_charger_cannot_claim_that_its_power_follows_late(finished: Session, bundle: dict[str, bytes]) -> None:
    """With an hour of delay one command of a millisecond would allow a whole session."""
    slow = restarted(finished, bundle, reaction_ms=3_600_000)
    error = found(slow, finished)
    assert error.where == f"{JOURNAL}:1"
    assert "declares a reaction time of 3600 s, and at most 10 s are accepted" in str(error)
    with pytest.raises(VerificationError, match="1 s are accepted"):
        verify_bundle(bundle, most_reaction_ms=1000)
    assert "Power could follow a command 2 s late and exceed it by 2 %" in verify_bundle(bundle).lines()


def test_of_a_session_that_only_charged_nothing_is_said_about_discharge(session: Session) -> None:
    session.start("none")
    session.flow(11_000, 60_000)
    session.end()
    reported = verify_bundle(session.bundle()).lines()
    assert "No energy was fed back" in reported
    assert not [each for each in reported for word in ("ischarge", "command", "offer") if word in each]


def test_signed_commands_can_be_required(finished: Session, bundle: dict[str, bytes]) -> None:
    """With its own key a charger can write its journal anew, as that of a session in which nothing was to be signed."""
    verify_bundle(bundle, require={"signed"})
    journal, lines = Journal(), []
    for entry in verify_lines(bundle[JOURNAL]):
        record = entry.data
        if isinstance(record, SessionStarted):
            record = msgspec.structs.replace(record, discharge="standard")
        if not isinstance(record, TermsOffered | TermsDecided | CommandAccepted | CommandRejected):
            lines.append(journal.append(record, entry.utc_ms))
    text = b"".join(lines)
    plain = resealed(finished, bundle, journal__jsonl=text, settlement__json=canonical(settle(verify_lines(text))))
    with pytest.raises(VerificationError, match="signed commands are required"):
        verify_bundle(plain, require={"signed"})


def test_energy_that_the_vehicle_did_not_countersign_is_refused_where_that_is_wanted(
    finished: Session, bundle: dict[str, bytes]
) -> None:
    last = f"{JOURNAL}:{len(finished.lines)}"
    with pytest.raises(VerificationError, match="countersigned no checkpoint") as error:
        verify_bundle(bundle, require={"checkpoints"})
    assert error.value.where == last


@pytest.mark.parametrize("power_w", [11_000, -9_000])
def test_energy_in_one_direction_after_the_last_checkpoint_is_refused(
    pki: PkiTree, start_ms: int, power_w: int
) -> None:
    session = Session(pki, start_ms, checkpoints=True)
    session.start()
    session.flow(11_000, 10_000)
    session.offer()
    session.checkpoint()
    before = session.import_mwh, session.export_mwh
    session.flow(power_w, 10_000)
    imported, exported = session.import_mwh - before[0], session.export_mwh - before[1]
    assert bool(imported) is not bool(exported)
    session.end()
    assert verify_bundle(session.bundle()).discharge.checkpoints.countersigned == 1
    with pytest.raises(VerificationError, match=f"{imported} mWh in, {exported} mWh out") as error:
        verify_bundle(session.bundle(), require={"checkpoints"})
    assert error.value.where == f"{JOURNAL}:{len(session.lines)}"


def test_a_lying_charger_cannot_change_the_money(finished: Session, bundle: dict[str, bytes]) -> None:
    """The settlement is what the journal makes of it."""
    edited = bundle[SETTLEMENT].replace(b'"reason":"vehicle"', b'"reason":"nothing"')
    assert edited != bundle[SETTLEMENT]
    assert found(resealed(finished, bundle, settlement__json=edited), finished).where == SETTLEMENT


@pytest.mark.parametrize(
    ("begin", "end", "later", "what"),
    [(-1, 0, 0, "begin register"), (0, 1, 0, "end register"), (0, 0, 1, "end: the meter signed")],
)
def test_data_sets_of_another_session_or_meter_are_found(
    finished: Session, bundle: dict[str, bytes], begin: int, end: int, later: int, what: str
) -> None:
    """The meter signed something, but not this."""
    wrong = ocmf.sign_session(
        "import",
        begin=ocmf.Reading(finished.start_ms, finished.begin[0] + begin),
        end=ocmf.Reading(finished.now + later, finished.import_mwh + end),
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        assignment=ocmf.Assignment(emaid="DEV2GC00000001", evse_id=EVSE_ID, tariff_text="v2g-bundle/2"),
        pagination=1,
        key=finished.meter.key,
    )
    error = found(resealed(finished, bundle, ocmf_import__txt=wrong.encode()), finished)
    assert what in str(error)
    assert error.where == "ocmf_import.txt"


def test_certificates_that_the_journal_does_not_name_are_found(
    finished: Session, bundle: dict[str, bytes], tmp_path: Path
) -> None:
    """Another contract, another meter, though both of a good family."""
    other = make_pki(tmp_path, now=datetime.now(UTC))
    for name, folder in ((CONTRACT_CHAIN, "contract"), (METER_CHAIN, "meter")):
        chain = other.path(f"{folder}/chain.pem").read_bytes()
        error = found(resealed(finished, bundle, **{name.replace(".", "__"): chain}), finished)
        assert error.where == name
    chain = other.path("secc/chain.pem").read_bytes()
    assert found(resealed(finished, bundle, charger_chain__pem=chain), finished).where == SIGNATURE


def test_chains_must_lead_to_the_readers_roots(bundle: dict[str, bytes], finished: Session, tmp_path: Path) -> None:
    """Roots in the bundle convince nobody who has roots of their own."""
    other = make_pki(tmp_path, now=datetime.now(UTC))
    with pytest.raises(VerificationError, match="unknown_root"):
        verify_bundle(bundle, anchors=other.anchors("v2g", "mo"))
    with pytest.raises(VerificationError, match="unknown_root") as one:
        verify_bundle(bundle, anchors=finished.pki.anchors("v2g"))
    assert one.value.where == CONTRACT_CHAIN
    assert one.value.hint.startswith("--root FILE, the root above it, too: its issuer is ")
    roots = other.path("v2g/root.pem").read_bytes() + other.path("mo/root.pem").read_bytes()
    with pytest.raises(VerificationError, match="unknown_root"):
        verify_bundle(resealed(finished, bundle, roots__pem=roots))


def test_certificates_are_judged_at_the_time_of_the_session(pki: PkiTree) -> None:
    """A session of a time before the contract began is no session of that contract."""
    early = int((datetime.now(UTC) - timedelta(days=30)).timestamp() * 1000)
    session = run_whole_session(Session(pki, early), MINUTES)
    with pytest.raises(VerificationError, match="not_yet_valid"):
        verify_bundle(session.bundle())


def test_a_session_beyond_any_calendar_is_refused(finished: Session, bundle: dict[str, bytes]) -> None:
    """A time that no certificate can be judged at."""
    from v2g.energy.settlement.journal import Journal

    journal = Journal()
    data = b"".join(journal.append(e.data, 2**53 - 1) for e in verify_lines(bundle[JOURNAL])[:1])
    assert found(resealed(finished, bundle, journal__jsonl=data), finished).where == f"{JOURNAL}:1"


def test_a_second_contract_and_a_foreign_emaid_are_found(finished: Session, bundle: dict[str, bytes]) -> None:
    """One session, one bill."""
    from v2g.energy.settlement.journal import Journal
    from v2g.energy.settlement.records import ContractAuthorized

    def rewritten(emaid: str, times: int) -> bytes:
        journal, lines = Journal(), []
        for entry in verify_lines(bundle[JOURNAL]):
            record = entry.data
            if isinstance(record, ContractAuthorized):
                record = msgspec.structs.replace(record, emaid=emaid)
                lines += [journal.append(record, entry.utc_ms) for _ in range(times - 1)]
            lines.append(journal.append(record, entry.utc_ms))
        return b"".join(lines)

    twice = resealed(finished, bundle, journal__jsonl=rewritten("DEV2GC00000001", 2))
    error = found(twice, finished)
    assert (error.where, str(error)) == (f"{JOURNAL}:3", f"{JOURNAL}:3: a session has one contract only")
    other = resealed(finished, bundle, journal__jsonl=rewritten("DEV2GC00000002", 1))
    assert "differs from that of DEV2GC00000002" in str(found(other, finished))


def test_an_interop_bundle_on_smaller_keys_verifies(tmp_path: Path, start_ms: int) -> None:
    """secp256r1 and SHA-256, where peers can do no better."""
    tree = make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(key_kind=KeyKind.SECP256R1))
    session = run_whole_session(Session(tree, start_ms), MINUTES)
    report = verify_bundle(session.bundle(), anchors=tree.anchors("v2g", "mo"))
    assert report.discharge.covered
    assert any("interoperability profile" in line for line in report.lines())


def test_an_aborted_session_has_a_bundle_too(session: Session) -> None:
    """Killed in the charge loop, closed after the restart with the registers that were durable."""
    session.start()
    session.offer()
    session.flow(-9_000, 60_000)
    session.ledger = SessionJournal.resume(session.journal)
    session.lines += session.ledger.end("aborted", session.now + 60_000)
    pair = sign_meter(
        verify_lines(session.journal),
        assignment=ocmf.Assignment(emaid="DEV2GC00000001", evse_id=EVSE_ID),
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        pagination=41,
        key=session.meter.key,
        end_reason="A",
    )
    assert ['"PG":"T43"' in pair["export"], '"ST":"S"' in pair["export"]] == [True, True]
    files = write_bundle(
        session.journal,
        ocmf_import=pair["import"],
        ocmf_export=pair["export"],
        chains=session.chains(),
        key=session.charger.key,
        created_ms=session.now,
    )
    report = verify_bundle(files)
    assert (report.settlement.state, report.settlement.reason) == ("closed", "aborted")


def test_a_session_without_a_contract_has_an_empty_chain(session: Session) -> None:
    """And nothing may be in that file then."""
    session.start(discharge="none")
    first = session.lines[0]
    started = verify_lines(first)[0].data
    ledger = SessionJournal()
    lines = ledger.record(started, session.now)
    lines += ledger.end(
        "vehicle", session.now + 60_000, import_mwh=session.import_mwh + 5, export_mwh=session.export_mwh
    )
    sets = sign_meter(
        verify_lines(b"".join(lines)),
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        assignment=ocmf.Assignment(emaid=None, evse_id=EVSE_ID),
        pagination=1,
        key=session.meter.key,
    )
    files = write_bundle(
        b"".join(lines),
        ocmf_import=sets["import"],
        ocmf_export=sets["export"],
        chains=msgspec.structs.replace(session.chains(), contract=()),
        key=session.charger.key,
        created_ms=session.now,
    )
    report = verify_bundle(files)
    assert report.contract is None
    assert files[CONTRACT_CHAIN] == b""
    stray = resealed(session, files, contract_chain__pem=session.pki.path("contract/chain.pem").read_bytes())
    assert found(stray, session).where == CONTRACT_CHAIN


def test_a_bundle_is_made_of_the_files_that_are_documented(bundle: dict[str, bytes]) -> None:
    assert set(bundle) == {
        "journal.jsonl", "settlement.json", "ocmf_import.txt", "ocmf_export.txt", "charger_chain.pem",
        "contract_chain.pem", "meter_chain.pem", "roots.pem", "manifest.json", "manifest.sig",
    }  # fmt: skip


def signed_anew(
    session: Session, files: dict[str, bytes], *, manifest: dict[str, Any] | None = None, **seal: Any
) -> dict[str, bytes]:
    """A bundle whose manifest and seal say something else, signed by the charger all the same."""
    said = msgspec.structs.replace(msgspec.json.decode(files[MANIFEST], type=Manifest), **manifest or {})
    text = canonical(said)
    signature = msgspec.json.decode(files[SIGNATURE], type=Seal)
    changed = msgspec.structs.replace(signature, **{"signature": session.charger.key.sign(text).hex()} | seal)
    return {**files, MANIFEST: text, SIGNATURE: canonical(changed)}


def test_a_manifest_is_about_this_journal_and_these_files(finished: Session, bundle: dict[str, bytes]) -> None:
    old = msgspec.json.decode(bundle[MANIFEST], type=Manifest)
    verify_bundle(signed_anew(finished, bundle))
    fewer = {name: each for name, each in old.files.items() if name != SETTLEMENT}
    for manifest, said in (
        ({"journal_entries": old.journal_entries + 1}, "another journal"),
        ({"journal_head": "0" * 64}, "another journal"),
        ({"files": fewer}, "list of files"),
        ({"files": old.files | {"more": old.files[SETTLEMENT]}}, "list of files"),
    ):
        error = found(signed_anew(finished, bundle, manifest=manifest), finished)
        assert (error.where, said in str(error)) == (MANIFEST, True)


def test_a_seal_names_its_signer_and_algorithm(finished: Session, bundle: dict[str, bytes]) -> None:
    for seal in ({"signer": "0" * 64}, {"algorithm": Algorithm.ECDSA_SHA256}):
        error = found(signed_anew(finished, bundle, **seal), finished)
        assert (error.where, "not signed by the certificate" in str(error)) == (SIGNATURE, True)
    garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with_rsa = Forge(Role.GATEWAY).made(leaf={"key": rsa_key(2048)}).chain[0]
    for chain in (garbage, chain_to_pem([with_rsa]).encode()):
        assert found(resealed(finished, bundle, charger_chain__pem=chain), finished).where == CHARGER_CHAIN


def test_an_edited_line_of_the_journal_is_named(finished: Session, bundle: dict[str, bytes]) -> None:
    lines = bundle[JOURNAL].splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"utc_ms":', b'"utc_ms": ')
    assert found({**bundle, JOURNAL: b"".join(lines)}, finished).where == f"{JOURNAL}:5"


def test_discharge_by_the_plain_standard_is_accepted_unless_it_is_not_wanted(session: Session) -> None:
    session.start("standard")
    session.flow(11_000, 60_000)
    session.end()
    files = session.bundle()
    assert not verify_bundle(files).discharge.covered
    assert verify_bundle(files).confirmations is None
    with pytest.raises(VerificationError, match="signed commands are required") as error:
        verify_bundle(files, require={"signed"})
    assert error.value.where == f"{JOURNAL}:1"


def test_a_charger_may_follow_as_late_as_is_believed(bundle: dict[str, bytes]) -> None:
    verify_bundle(bundle, most_reaction_ms=2_000)
    with pytest.raises(VerificationError, match=r"1\.999 s are accepted"):
        verify_bundle(bundle, most_reaction_ms=1_999)


@pytest.mark.parametrize("name", ["meter", "charger", "contract"])
def test_no_chain_is_judged_more_mildly_for_the_key_of_another(
    finished: Session, bundle: dict[str, bytes], name: str
) -> None:
    """A meter's key is always the smaller one; sub-CAs out of order are for peers of the -2 generation only."""
    leaf, *authorities = getattr(finished.chains(), name)
    swapped = chain_to_pem([leaf, *reversed(authorities)]).encode()
    error = found(resealed(finished, bundle, **{f"{name}_chain__pem": swapped}), finished)
    assert (error.where, "chain_out_of_order" in str(error)) == (f"{name}_chain.pem", True)


@pytest.mark.parametrize("name", ["meter", "charger", "contract"])
def test_the_journal_names_each_leaf(finished: Session, bundle: dict[str, bytes], name: str) -> None:
    """Another certificate of the same family is another meter, charger or contract."""
    journal, lines = Journal(), []
    for entry in verify_lines(bundle[JOURNAL]):
        changes = {f"{name}_certificate": "ab" * 32} if hasattr(entry.data, f"{name}_certificate") else {}
        lines.append(journal.append(msgspec.structs.replace(entry.data, **changes), entry.utc_ms))
    error = found(resealed(finished, bundle, journal__jsonl=b"".join(lines)), finished)
    assert str(error) == f"{name}_chain.pem: the leaf differs from the one in the journal"


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("direction", {"direction": "export"}),
        ("begin", {"begin": -1}),
        ("end", {"end": 1}),
        ("meter", {"meter_serial": "METER-0002"}),
        ("EVSE", {"evse_id": "DE*V2G*E0002"}),
        ("contract", {"emaid": "DEV2GC00000002"}),
        ("contract", {"emaid": None}),
    ],
)
def test_whatever_the_meter_signed_otherwise_is_named(
    finished: Session, bundle: dict[str, bytes], what: str, changes: dict[str, Any]
) -> None:
    data_set = ocmf.sign_session(
        changes.get("direction", "import"),
        begin=ocmf.Reading(finished.start_ms + changes.get("begin", 0), finished.begin[0]),
        end=ocmf.Reading(finished.now + changes.get("end", 0), finished.import_mwh),
        identity=ocmf.MeterIdentity(meter_serial=changes.get("meter_serial", "METER-0001")),
        assignment=ocmf.Assignment(
            emaid=changes.get("emaid", "DEV2GC00000001"), evse_id=changes.get("evse_id", "DE*V2G*E0001")
        ),
        pagination=1,
        key=finished.meter.key,
    )
    error = found(resealed(finished, bundle, ocmf_import__txt=data_set.encode()), finished)
    assert str(error).startswith(f"ocmf_import.txt: {what}: the meter signed ")


@pytest.mark.parametrize("data", [b"\xff", b"OCMF", b"OCMF|{}|{}"])
def test_a_data_set_that_is_none_is_named(finished: Session, bundle: dict[str, bytes], data: bytes) -> None:
    assert found(resealed(finished, bundle, ocmf_export__txt=data), finished).where == "ocmf_export.txt"
    forged = bundle["ocmf_export.txt"].replace(b'"PG":"T3"', b'"PG":"T4"')
    assert found(resealed(finished, bundle, ocmf_export__txt=forged), finished).where == "ocmf_export.txt"


def test_confirmations_are_read_with_the_contracts_key(session: Session) -> None:
    """Only where somebody looks for them, and none without a contract."""
    session.start()
    session.flow(11_000, 60_000)
    session.record(MeteringConfirmed(payload=b"confirmed"))
    session.end()
    asked: list[object] = []

    def read(payload: bytes, key: object) -> tuple[bytes, int, int]:
        asked.append((payload, key))
        return SESSION_ID, 0, 0

    files = session.bundle()
    assert verify_bundle(files).confirmations is None
    assert verify_bundle(files, confirmations=read).confirmations == 1
    assert asked == [(b"confirmed", session.contract.key.public_key)]


def test_what_has_expired_is_named_by_leaf_authority_and_root(finished: Session, bundle: dict[str, bytes]) -> None:
    """All three chains; a certificate is valid at the last moment that it names."""
    ends = [load_certificate(each.leaf).not_valid_after_utc for each in (finished.charger, finished.contract)]
    assert verify_bundle(bundle, now=min(ends)).expired == ()
    late = verify_bundle(bundle, now=datetime(2200, 1, 1, tzinfo=UTC)).expired
    assert {"DEV2GC00000001", "METER-0001"} < set(late)
    assert len(late) == 3 * 4  # a leaf, two sub-CAs, a root


def test_meter_data_sets_end_normally_unless_something_else_is_said(finished: Session) -> None:
    identity = ocmf.MeterIdentity(meter_serial="METER-0001")
    assignment = ocmf.Assignment(emaid=None, evse_id=EVSE_ID)
    pair = sign_meter(
        verify_lines(finished.journal), identity=identity, assignment=assignment, pagination=5, key=finished.meter.key
    )
    assert ['"TX":"E"' in each for each in pair.values()] == [True, True]
    assert ['"PG":"T5"' in pair["import"], '"PG":"T7"' in pair["export"]] == [True, True]
