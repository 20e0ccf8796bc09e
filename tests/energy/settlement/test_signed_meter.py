"""What the meter signs of a session, read by an independent library and compared with the journal."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate
from msgspec import UNSET
from pyocmf import OCMF

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import EVSE_ID, Session
from v2g.energy.settlement import ocmf
from v2g.energy.settlement.bundle import MANIFEST, SIGNATURE, Seal, verify_bundle, write_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import MeterReading, SessionStarted, VehicleDescribed
from v2g.energy.settlement.signed_meter import check_readings, data_sets, ends, journal_text, sign_meter
from v2g.errors import VerificationError

_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def read(session: Session, minutes: int, more: int, reason: str, **changed: object) -> None:
    session.now += minutes * 60_000
    session.import_mwh += more
    registers = {"import_mwh": session.import_mwh, "export_mwh": session.export_mwh}
    session.record(MeterReading(**registers, reason=reason, **changed))  # type: ignore[arg-type]


def metered(pki: PkiTree, start_ms: int) -> Session:
    """A session with a reading of each kind: prices, a suspension, a silent meter, a reset, a clock set back."""
    session = Session(pki, start_ms)
    session.start()
    read(session, 0, 0, "begin")
    read(session, 1, 1_000_000, "periodic")
    read(session, 4, 4_000_000, "price")
    read(session, 9, 9_000_000, "interval", status=("missing",))
    read(session, 6, 6_000_000, "direction")
    read(session, 2, 0, "suspend")
    read(session, 5, -1_000_000_000, "resume")
    read(session, 3, 3_000_000, "interval", status=("time_jump",))
    session.now += 60_000
    session.end()
    return session


def signed(session: Session, journal: bytes = b"") -> dict[str, str]:
    return sign_meter(
        verify_lines(journal or session.journal),
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        assignment=ocmf.Assignment(emaid="DEV2GC00000001", evse_id=EVSE_ID),
        pagination=11,
        key=session.meter.key,
    )  # type: ignore[return-value]


def bundle(session: Session, edited: Callable[[str], str] = lambda text: text) -> dict[str, bytes]:
    pair = signed(session)
    return write_bundle(
        session.journal,
        ocmf_import=edited(pair["import"]),
        ocmf_export=pair["export"],
        chains=session.chains(),
        key=session.charger.key,
        created_ms=session.now,
    )


def public(session: Session) -> ec.EllipticCurvePublicKey:
    key = load_der_x509_certificate(session.meter.leaf).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


@pytest.fixture(scope="module")
def every(pki: PkiTree, start_ms: int) -> Session:
    return metered(pki, start_ms)


@pytest.mark.requirement("R31")
def test_an_independent_library_reads_every_reading_with_its_reason_and_status(every: Session) -> None:
    """The substitute lies on the line between its neighbours; the reading after the reset has its own status."""
    first, whole = signed(every)["import"].split("\n")
    assert OCMF.from_string(first).payload.PG == "T11"
    theirs = OCMF.from_string(whole)
    assert theirs.verify_signature(public(every).public_bytes(*_SPKI).hex())
    begin = 1_000_000_000
    found = [(str(rd.TX), int(rd.RV * 10**6) - begin, str(rd.ST), rd.EF, str(rd.TM.status)) for rd in theirs.payload.RD]
    assert found == [
        ("B", 0, "G", None, "S"),
        ("C", 0, "G", None, "S"),
        ("T", 5_000_000, "G", None, "S"),
        ("C", 14_000_000, "S", None, "S"),
        ("C", 20_000_000, "G", None, "S"),
        ("S", 20_000_000, "G", None, "S"),
        ("X", 20_000_000, "X", "E", "S"),
        ("C", 23_000_000, "G", "t", "U"),
        ("E", 23_000_000, "G", None, "S"),
    ]
    assert [json.loads(each.split("|")[1])["PG"] for each in signed(every)["export"].split("\n")] == ["T13", "T14"]
    assert len(whole) < ocmf.MAX_BYTES


@pytest.mark.requirement("R31")
def test_a_reading_with_a_status_is_signed_whatever_its_reason_and_the_end_once(pki: PkiTree, start_ms: int) -> None:
    """A session whose meter is exchanged while the clock jumps, and which ends without an answer."""
    session = Session(pki, start_ms)
    session.start()
    read(session, 1, 1_000_000, "resume")
    read(session, 0, 0, "confirmation")
    read(session, 1, 1_000_000, "stop")
    read(session, 1, 1_000_000, "periodic", status=("time_jump",))
    read(session, 1, -900_000_000, "periodic", status=("time_jump",))
    read(session, 1, 1_000_000, "periodic")
    session.lines += session.ledger.end("vehicle", session.now + 60_000)
    first, whole = (OCMF.from_string(each) for each in signed(session)["import"].split("\n"))
    begin = 1_000_000_000
    found = [(str(rd.TX), int(rd.RV * 10**6) - begin, str(rd.ST), rd.EF, str(rd.TM.status)) for rd in whole.payload.RD]
    assert found == [
        ("B", 0, "G", None, "S"),
        ("C", 1_000_000, "G", None, "S"),
        ("C", 1_000_000, "G", None, "S"),
        ("S", 2_000_000, "G", None, "S"),
        ("C", 3_000_000, "G", "t", "U"),
        ("X", 3_000_000, "X", "Et", "U"),
        ("E", 4_000_000, "S", None, "S"),
    ]
    assert [int(rd.RV * 10**6) - begin for rd in first.payload.RD] == [0, 4_000_000]
    assert ends(verify_lines(session.journal), "import") == (
        ocmf.Reading(start_ms, begin),
        ocmf.Reading(session.now, begin + 4_000_000, state="S"),
    )


@pytest.mark.parametrize(("reasons", "readings"), [([], 2), (["periodic"], 2), (["price"], 3)])
def test_every_reading_is_in_the_second_data_set_with_the_journals_head(
    pki: PkiTree, start_ms: int, reasons: list[str], readings: int
) -> None:
    session = Session(pki, start_ms)
    session.start()
    for reason in reasons:
        read(session, 1, 1_000_000, reason)
    session.end()
    lines = signed(session)["import"].split("\n")
    assert data_sets(verify_lines(session.journal)) == len(lines) == 2
    payloads = [OCMF.from_string(each).payload for each in lines]
    assert [len(each.RD) for each in payloads] == [2, readings]
    head = verify_lines(session.journal)[-1].hash
    assert [each.TT for each in payloads] == ["v2g-bundle/2", f"v2g-bundle/2 journal sha256:{head}"]


def test_the_bundle_is_verified_and_its_report_says_what_was_wrong_with_readings(every: Session) -> None:
    report = verify_bundle(bundle(every))
    assert report.signed_readings == 9
    text = "\n".join(report.lines())
    assert "Meter signed 9 readings of both directions" in text
    assert "the meter did not answer" in text
    assert "no energy counts across it" in text
    assert "the clock jumped" in text


def test_a_bundle_without_the_lines_that_its_version_must_have_is_refused(every: Session) -> None:
    with pytest.raises(VerificationError, match="9 readings of the journal are not signed"):
        verify_bundle(bundle(every, lambda text: text.split("\n")[0]))


@pytest.mark.requirement("R33")
def test_a_bundle_of_version_1_stays_readable_and_no_other_passes_for_one(every: Session) -> None:
    """Its first entry says the version; the meter and each countersigned checkpoint have signed it."""
    with zipfile.ZipFile(Path(__file__).parents[2] / "vectors/settlement/bundle_1.zip") as old:
        files = {name: old.read(name) for name in old.namelist()}
    assert verify_bundle(files).signed_readings == 9
    entries = verify_lines(every.journal)
    started = entries[0].data
    assert isinstance(started, SessionStarted)
    writer = Journal()
    older = b"".join(
        writer.append(
            msgspec.structs.replace(each.data, bundle=UNSET) if each.data is started else each.data, each.utc_ms
        )
        for each in entries
    )
    new = bundle(every)
    relabelled = new[MANIFEST].replace(b"v2g-bundle/2", b"v2g-bundle/1")
    with pytest.raises(VerificationError, match=r"manifest\.json: the journal was begun for v2g-bundle/2"):
        verify_bundle(sealed(every, {**new, MANIFEST: relabelled}))
    pair = signed(every)
    forged = write_bundle(
        older,
        ocmf_import=pair["import"].split("\n")[0],
        ocmf_export=pair["export"].split("\n")[0],
        chains=every.chains(),
        key=every.charger.key,
        created_ms=every.now,
    )
    with pytest.raises(VerificationError, match="version: the meter signed v2g-bundle/2, the journal has none"):
        verify_bundle(forged)


def of_version_1(journal: bytes) -> bytes:
    """The journal as earlier versions wrote it."""
    writer = Journal()
    return b"".join(
        writer.append(
            msgspec.structs.replace(each.data, bundle=UNSET) if isinstance(each.data, SessionStarted) else each.data,
            each.utc_ms,
        )
        for each in verify_lines(journal)
    )


@pytest.mark.parametrize(("reasons", "count"), [([], 1), (["price"], 2)])
def test_a_session_of_version_1_has_a_second_data_set_only_for_readings_in_between(
    pki: PkiTree, start_ms: int, reasons: list[str], count: int
) -> None:
    """It may lack: version 1 does not say that it must be there. What is there has to be whole."""
    session = Session(pki, start_ms)
    session.start()
    for reason in reasons:
        read(session, 1, 1_000_000, reason)
    session.end()
    data = of_version_1(session.journal)
    entries = verify_lines(data)
    lines = signed(session, data)["import"].split("\n")
    assert (data_sets(entries), len(lines)) == (count, count)
    assert check_readings([], "import", entries, "E", public(session), name="f") == 0
    assert check_readings(lines[1:], "import", entries, "E", public(session), name="f") == (3 if reasons else 0)
    few = ocmf.sign_readings(
        "import",
        [("B", ends(entries, "import")[0])],
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        assignment=ocmf.Assignment(emaid="DEV2GC00000001", evse_id=EVSE_ID),
        pagination=1,
        key=session.meter.key,
    )
    with pytest.raises(VerificationError, match=f"f: {1 + len(reasons)} readings of the journal are not signed"):
        check_readings([few], "import", entries, "E", public(session), name="f")
    pair = signed(session, data)
    files = write_bundle(
        data,
        ocmf_import=pair["import"],
        ocmf_export=pair["export"].split("\n")[0],
        chains=session.chains(),
        key=session.charger.key,
        created_ms=session.now,
    )
    assert verify_bundle(files).signed_readings == 2


def sealed(session: Session, files: dict[str, bytes]) -> dict[str, bytes]:
    """The manifest signed again with the charger's key."""
    seal = msgspec.json.decode(files[SIGNATURE], type=Seal)
    return {
        **files,
        SIGNATURE: canonical(msgspec.structs.replace(seal, signature=session.charger.key.sign(files[MANIFEST]).hex())),
    }


@pytest.mark.requirement("R33")
def test_the_meter_s_signature_covers_the_journal(every: Session) -> None:
    """With the charger's key alone not even an entry without energy can be changed."""
    writer, entries = Journal(), verify_lines(every.journal)
    edited = b"".join(
        writer.append(
            msgspec.structs.replace(each.data, battery_capacity_wh=1)
            if isinstance(each.data, VehicleDescribed)
            else each.data,
            each.utc_ms,
        )
        for each in entries
    )
    pair = signed(every)
    forged = write_bundle(
        edited,
        ocmf_import=pair["import"],
        ocmf_export=pair["export"],
        chains=every.chains(),
        key=every.charger.key,
        created_ms=every.now,
    )
    with pytest.raises(VerificationError, match=r"ocmf_import\.txt:2: the meter signed v2g-bundle/2 journal"):
        verify_bundle(forged)


@pytest.mark.parametrize("kind", ["fewer", "more", "other"])
def test_signed_readings_that_are_not_those_of_the_journal_are_found(every: Session, kind: str) -> None:
    entries, key = verify_lines(every.journal), public(every)
    line = signed(every)["import"].split("\n")[1]
    readings = [(each.transaction, each.reading) for each in ocmf.signed_readings(line, key)]
    changed = {
        "fewer": readings[:-1],
        "more": [*readings, readings[-1]],
        "other": [*readings[:3], ("T", readings[3][1]), *readings[4:]],
    }[kind]
    edited = ocmf.sign_readings(
        "import",
        changed,  # type: ignore[arg-type]
        identity=ocmf.MeterIdentity(meter_serial="METER-0001"),
        assignment=ocmf.Assignment(emaid=None, evse_id=EVSE_ID, tariff_text=journal_text(entries)),
        pagination=1,
        key=every.meter.key,
    )
    with pytest.raises(VerificationError, match=r"not signed|not in the journal|or another status"):
        check_readings([edited], "import", entries, "E", key, name="ocmf_import.txt")
    with pytest.raises(VerificationError, match="not in the journal"):
        check_readings([line], "export", entries, "E", key, name="ocmf_export.txt")
    with pytest.raises(VerificationError, match="not OCMF") as caught:
        check_readings(["x"], "import", entries, "E", key, name="ocmf_import.txt")
    assert caught.value.where == "ocmf_import.txt:2"


def test_a_long_session_has_several_data_sets(pki: PkiTree, start_ms: int) -> None:
    """And numbers each of them."""
    session = Session(pki, start_ms)
    session.start()
    for _ in range(ocmf.MAX_READINGS):
        session.now += 900_000
        session.import_mwh += 1
        session.record(MeterReading(import_mwh=session.import_mwh, export_mwh=session.export_mwh, reason="interval"))
    session.end()
    entries = verify_lines(session.journal)
    lines = signed(session)["export"].split("\n")
    assert data_sets(entries) == len(lines) == 3
    payloads = [json.loads(each.split("|")[1]) for each in lines]
    assert [(each["PG"], len(each["RD"])) for each in payloads] == [("T14", 2), ("T15", 500), ("T16", 2)]
    assert check_readings(lines[1:], "export", entries, "E", public(session), name="f") == ocmf.MAX_READINGS + 2
