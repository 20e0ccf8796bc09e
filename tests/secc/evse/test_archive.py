"""What a charger keeps: bundles that verify, and what a killed process left."""

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from secc.evse.archive import Archive, ChargerOwner
from secc.evse.session_records import SessionRecords
from secc.hardware.meter import SimulatedMeter
from tests.cli.csms import run
from tests.sealing import Keys, new_keys
from tests.secc.evse.desk import SESSION, Desk
from v2g.energy.settlement.bundle import RECEIPT, verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import JournalReceipt, JournalReceived, seal
from v2g.energy.settlement.records import MeterReading, SessionEnded, SessionStarted
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import Settlement
from v2g.errors import StoreError, VerificationError
from v2g.hardware.meters.plausibility import PER_MWH
from v2g.io.storage.journal_file import read_files
from v2g.io.storage.record_keys import RecordKeys, open_lines
from v2g.pki.keys import SoftwareKey
from v2g.units import QUARTER_MS
from v2g_station.store import JournalSigners


@pytest.fixture
def desk(tmp_path: Path, pki: PkiTree, keys: Keys) -> Desk:
    return Desk(tmp_path, pki, keys)


def test_a_session_that_ended_becomes_a_bundle_that_verifies_and_nothing_else_stays(desk: Desk) -> None:
    desk.begin()
    desk.end()
    desk.archive.make_bundle(SESSION)
    desk.verify()
    bundle = [each for each in (desk.archive.settlements / SESSION).iterdir() if each.is_file()]
    assert {each.stat().st_mode & 0o777 for each in bundle} == {0o600}
    assert list((desk.folder / "journals").iterdir()) == []
    assert set(desk.archive.signed(SESSION)) == {"import", "export"}
    assert desk.archive.signed("ffff") == {}


async def test_a_session_goes_on_after_a_renewal_in_its_pause_and_is_signed_by_what_it_names(desk: Desk) -> None:
    """ISO 15118-2 compares the SessionID alone [V2G2-753]; the vehicle that returns is shown the new certificate."""
    keeping = desk.keeping()
    begun = SessionRecords(keeping, desk.pki.credentials("meter"))  # which a start takes for the first one's
    desk.begin()
    assert begun.reopen(SESSION)
    renewed = SessionRecords(keeping, desk.pki.credentials("meter"))
    await renewed.resume(begun)
    await renewed.end("vehicle")
    assert desk.names() == ["bundle_written"]
    desk.verify()


@pytest.mark.parametrize("current", ["AC", "DC"])
def test_signed_readings_name_the_meter_and_which_current_it_counted(
    tmp_path: Path, pki: PkiTree, current: Literal["AC", "DC"]
) -> None:
    desk = Desk(tmp_path, pki, current=current)
    desk.begin()
    desk.end()
    desk.archive.make_bundle(SESSION)
    for text in desk.archive.signed(SESSION).values():
        found = json.loads(text.split("|")[1])
        assert {each["RT"] for each in found["RD"]} == {current}
        assert [found[each] for each in ("MV", "MM", "MF", "GV")] == ["Maker", "DC-1", "2.0", version("v2g-engine")]


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("early", [True, False], ids=["before the bundle", "after it"])
def test_the_back_ends_receipt_becomes_a_file_of_the_bundle(desk: Desk, *, early: bool) -> None:
    desk.archive.keep_receipt(SESSION, b"{}")
    assert not list(desk.folder.rglob("*receipt*"))  # nobody's
    desk.begin()
    desk.end()
    path = desk.folder / "journals" / f"{SESSION}.jsonl"
    entries = verify_lines(open_lines(path.read_bytes(), desk.keys, path.name))
    key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    received = JournalReceived(
        station_id="CS-V2G-0001", session_id=SESSION, entries=len(entries), head=entries[-1].hash, utc_ms=1
    )
    receipt = canonical(JournalReceipt(received=received, seal=seal(received, key)))
    if early:
        desk.archive.keep_receipt(SESSION, receipt)
    desk.archive.make_bundle(SESSION)
    if not early:
        desk.archive.keep_receipt(SESSION, receipt)
    assert [each.name for each in (desk.folder / "journals").iterdir()] == []
    files = read_files(desk.folder / "settlements" / SESSION, desk.keys)
    assert files[RECEIPT] == receipt
    assert verify_bundle(files, most_reaction_ms=3_600_000, operators=[key.public_key]).complete


@pytest.mark.parametrize(("reason", "code"), [
    ("vehicle", "L"), ("local", "L"), ("master_pass", "L"), ("unplugged", "L"),
    ("remote", "R"), ("deauthorized", "R"), ("reset", "R"),
    ("cost_limit", "E"), ("energy_limit", "E"), ("time_limit", "E"), ("soc_limit", "E"),
    ("isolation_low", "A"),
])  # fmt: skip
def test_the_meter_signs_how_a_session_ended_and_calls_only_errors_an_abort(desk: Desk, reason: str, code: str) -> None:
    """OCMF, table 7."""
    desk.begin()
    desk.end(reason)
    desk.archive.make_bundle(SESSION)
    for line in desk.archive.signed(SESSION).values():
        (_, end) = json.loads(line.split("|")[1])["RD"]
        assert end["TX"] == code


def test_the_meters_page_numbers_never_repeat_even_after_a_restart(desk: Desk, pki: PkiTree) -> None:
    desk.begin()
    desk.end()
    desk.archive.make_bundle(SESSION)
    first = desk.archive.signed(SESSION)["export"]
    again = Desk(desk.folder, pki, desk.keys)
    again.begin("8899aabbccddeeff")
    assert again.archive.recover(again.meter, lambda *_: None) == ["8899aabbccddeeff"]
    assert '"PG":"T2"' in first
    assert '"PG":"T3"' in again.archive.signed("8899aabbccddeeff")["import"]


@pytest.mark.requirement("R131")
def test_a_session_that_was_killed_before_its_contract_was_in_the_journal_has_none(desk: Desk) -> None:
    desk.begin()
    path = desk.folder / "journals" / f"{SESSION}.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    told: dict[str, list[str]] = {}
    assert desk.archive.recover(desk.meter, told.__setitem__) == [SESSION]
    desk.verify()
    assert told[SESSION][0] == JournalSigners(desk.pki.chain("secc"), ()).line()


@pytest.mark.requirement("R131")
def test_what_a_killed_process_left_is_closed_with_the_meters_registers_and_sent_whole(desk: Desk) -> None:
    desk.begin()
    told: dict[str, list[str]] = {}
    assert desk.archive.recover(desk.meter, told.__setitem__) == [SESSION]
    desk.verify()
    signers, *lines = told[SESSION]
    assert signers == JournalSigners(desk.pki.chain("secc"), desk.pki.chain("contract")).line()
    entries = verify_lines("".join(lines).encode())
    assert entries[-1].data.reason == "aborted"  # type: ignore[union-attr]
    assert desk.meter.read(desk.clock.utc_ms()).import_mwh >= entries[-1].data.import_mwh > 0  # type: ignore[union-attr]
    assert desk.archive.recover(desk.meter, told.__setitem__) == []  # once


@pytest.mark.requirement("R145")
def test_with_keys_nothing_of_a_session_is_readable_on_the_disk(tmp_path: Path, pki: PkiTree) -> None:
    """Neither while it runs nor in its bundle; without keys all of it is."""
    secrets = (b"DEV2GE00001", b"CS-V2G-0001", b"DEV2GC00000001", b"import_mwh", b"BEGIN CERTIFICATE", b"OCMF")

    def stored(folder: Path) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

    found = []
    for name in ("plain", "sealed"):
        desk = Desk(tmp_path / name, pki, new_keys(tmp_path / "keys") if name == "sealed" else None)
        desk.begin()
        running = stored(desk.folder)
        desk.end()
        desk.archive.make_bundle(SESSION)
        desk.meter.close()
        found.append({secret for secret in secrets if secret in running + stored(desk.folder)})
    assert found == [set(secrets), set()]


@pytest.mark.requirement("R145")
@pytest.mark.requirement("R152")
def test_keys_renewed_between_sessions_seal_the_next_one(tmp_path: Path, pki: PkiTree) -> None:
    desk = Desk(tmp_path / "data", pki, new_keys(tmp_path / "keys"))
    desk.begin()
    RecordKeys.rotate(tmp_path / "keys")
    desk.ledger = SessionJournal()
    desk.begin("8899aabbccddeeff")
    assert {path.read_bytes()[:9] for path in (desk.folder / "journals").glob("*.jsonl")} == {
        b"sealed 1 ",
        b"sealed 2 ",
    }
    (tmp_path / "keys").write_text("nonsense")
    desk.ledger = SessionJournal()
    desk.begin("a" * 16)  # the former keys are still in use
    assert desk.names() == ["keys_kept"]
    assert len(desk.archive.recover(desk.meter, lambda *_: None)) == 3
    desk.verify("a" * 16)


@pytest.mark.requirement("R145")
def test_a_journal_whose_key_is_missing_waits_for_it(tmp_path: Path, pki: PkiTree) -> None:
    first = Desk(tmp_path, pki, new_keys(tmp_path / "keys"))
    first.begin()
    (tmp_path / "others").write_text(f"2 {'ab' * 32}")
    (tmp_path / "others").chmod(0o600)
    other = Archive(
        tmp_path, first.owner, clock=first.clock, observe=first.events.append, keys=RecordKeys(tmp_path / "others")
    )
    assert other.recover(first.meter, lambda *_: None) == []
    assert first.names() == ["journal_sealed"]
    again = Desk(tmp_path, pki, RecordKeys(tmp_path / "keys"))
    assert again.archive.recover(again.meter, lambda *_: None) == [SESSION]


def test_a_journal_of_a_certificate_that_was_replaced_in_the_meantime_is_named(desk: Desk) -> None:
    """What the new one signs does not verify: nobody else would say so."""
    desk.begin()
    owner = msgspec.structs.replace(desk.owner, chargers=(desk.pki.credentials("vehicle"),))
    renewed = Archive(desk.folder, owner, clock=desk.clock, observe=desk.events.append, keys=desk.keys)
    assert renewed.recover(desk.meter, lambda *_: None) == [SESSION]
    assert desk.names() == ["certificate_replaced", "bundle_written", "journal_recovered"]
    with pytest.raises(VerificationError):
        desk.verify()


def test_a_kill_between_the_end_and_the_bundle_is_made_good(desk: Desk) -> None:
    desk.begin()
    desk.end()
    assert desk.archive.recover(desk.meter, lambda *_: None) == [SESSION]
    desk.verify()


def test_a_kill_before_the_first_line_leaves_nothing_to_settle(desk: Desk) -> None:
    desk.archive.open_journal(SESSION, ()).close()
    desk.archive.recover(desk.meter, lambda *_: None)
    assert not list((desk.folder / "settlements").iterdir())


def test_a_journal_that_does_not_hold_is_kept_aside_and_named(desk: Desk) -> None:
    desk.begin()
    path = desk.folder / "journals" / f"{SESSION}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((lines[0], lines[2])))
    assert desk.archive.recover(desk.meter, lambda *_: None) == []
    assert desk.names() == ["journal_damaged"]
    assert path.with_suffix(".damaged").exists()


@pytest.mark.requirement("R133")
def test_a_journal_that_an_older_version_set_aside_is_settled_without_what_came_after(desk: Desk) -> None:
    """It ends with its last reading: the meter has counted other sessions since."""
    desk.begin()
    path = desk.folder / "journals" / f"{SESSION}.jsonl"
    path.rename(path.with_suffix(".damaged"))
    last = desk.ledger.state
    assert desk.archive.recover(desk.meter, lambda *_: None) == [SESSION]
    assert desk.names() == ["bundle_written", "journal_recovered"]
    desk.verify()
    journal = read_files(desk.archive.settlements / SESSION, desk.keys)["journal.jsonl"]
    assert verify_lines(journal)[-1].data == SessionEnded(
        reason="aborted", import_mwh=last.import_mwh, export_mwh=last.export_mwh
    )
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, pki: PkiTree) -> None:
    (tmp_path / "journals").write_text("a file where a folder belongs")
    with pytest.raises(StoreError, match=r"exists|Not a directory"):
        Desk(tmp_path, pki)


@pytest.mark.parametrize("damage", ["missing", "no PEM"])
def test_a_journal_without_its_contract_chain_does_not_keep_the_charger_from_starting(desk: Desk, damage: str) -> None:
    desk.begin()
    contract = desk.folder / "journals" / f"{SESSION}.contract.pem"
    contract.unlink() if damage == "missing" else contract.write_text(damage)
    assert desk.archive.recover(desk.meter, lambda *_: None) == []
    assert (desk.folder / "journals" / f"{SESSION}.damaged").exists()
    assert "journal_damaged" in desk.names()


def test_a_page_counter_that_is_no_number_is_named(desk: Desk) -> None:
    desk.begin()
    desk.end()
    (desk.folder / "pagination").write_text("twelve")
    with pytest.raises(StoreError, match="pagination"):
        desk.archive.make_bundle(SESSION)


class Power:
    """A charger whose power fails: a clock moved by hand, a meter with its file, and what really flowed."""

    STORED_MS = 1_000
    """The registers that survive are at most this old: those of a meter with its own supply, or of the simulated one
    if only the process was killed."""

    def __init__(self, folder: Path, pki: PkiTree) -> None:
        self.now = int(datetime.now(UTC).timestamp() * 1000) // QUARTER_MS * QUARTER_MS + 1
        self.folder, self.pki = folder, pki
        self.flowed = {"import": 0, "export": 0}  # mV x mA x ms
        self.archive, self.meter = self._start()

    def utc_ms(self) -> int:
        return self.now

    def _start(self) -> tuple[Archive, SimulatedMeter]:
        owner = ChargerOwner(
            chargers=(self.pki.credentials("secc"),),
            meter=self.pki.credentials("meter"),
            roots=self.pki.anchors("v2g", "mo"),
        )
        archive = Archive(self.folder, owner, clock=self, observe=lambda _: None)  # type: ignore[arg-type]
        return archive, SimulatedMeter(archive.meter_serial, self.folder / "meter", now_ms=self.utc_ms)

    def run(self, parts: list[tuple[int, int]], cut_ms: int, torn: bytes) -> Settlement:
        """Feed (s, mA) at 400 V until the power fails after `cut_ms`, restart, and return the settlement."""
        ledger, begin = SessionJournal(), self.now
        file = self.archive.open_journal(SESSION, ())
        file.append(
            ledger.record(
                SessionStarted(
                    station_id="CS-V2G-0001",
                    evse_id="DEV2GE00001",
                    session_id=SESSION,
                    meter_serial=self.archive.meter_serial,
                    meter_certificate=hashlib.sha256(self.pki.chain("meter")[0]).hexdigest(),
                    charger_certificate=hashlib.sha256(self.pki.chain("secc")[0]).hexdigest(),
                    import_mwh=0,
                    export_mwh=0,
                    discharge="standard",
                ),
                self.now,
            )
        )
        changes = dict(
            zip(accumulate((s * 1000 for s, _ in parts), initial=begin), (ma for _, ma in parts), strict=False)
        )
        end = begin + cut_ms
        quarters = range(begin // QUARTER_MS * QUARTER_MS + QUARTER_MS, end, QUARTER_MS)
        stored = (end - begin) // self.STORED_MS * self.STORED_MS + begin
        current = 0
        for moment in sorted({*changes, *quarters, stored, end}):
            if moment > end:
                break
            flow = 400_000 * current * (moment - self.now)
            self.flowed["import" if flow > 0 else "export"] += abs(flow)
            self.now = moment
            if moment in quarters:
                reading = self.meter.read(moment)
                file.append(
                    ledger.record(
                        MeterReading(import_mwh=reading.import_mwh, export_mwh=reading.export_mwh), reading.utc_ms
                    )
                )
            if moment in quarters or moment == stored:
                self.meter.read(moment)
                self.meter.save()
            current = changes.get(moment, current)
            self.meter.flow(moment, 400_000, current)
        file.close()
        with (self.folder / "journals" / f"{SESSION}.jsonl").open("ab") as journal:
            journal.write(torn)  # a line that was being written
        self.now += 60_000
        archive, meter = self._start()  # what was in memory is gone
        assert archive.recover(meter, lambda *_: None) == [SESSION]
        files = read_files(self.folder / "settlements" / SESSION)
        return verify_bundle(files, anchors=self.pki.anchors("v2g", "mo")).settlement


@pytest.mark.requirement("R31")
@given(
    parts=st.lists(
        st.tuples(st.integers(60, 1800), st.integers(20_000, 125_000) | st.integers(-125_000, -20_000)),
        min_size=1,
        max_size=6,
    ),
    minutes=st.integers(30, 90),
    more_ms=st.integers(0, 59_999),
    torn=st.sampled_from((b"", b"{", b'{"data":{"kind":"meter_reading"')),
)
def test_a_session_cut_by_a_power_failure_settles_within_half_a_percent_of_what_flowed(
    pki: PkiTree, parts: list[tuple[int, int]], minutes: int, more_ms: int, torn: bytes
) -> None:
    """The last part goes on until the cut. Energy since the registers were stored last is lost, nothing else."""
    with TemporaryDirectory() as folder:
        power = Power(Path(folder), pki)
        settlement = power.run(parts, minutes * 60_000 + more_ms, torn)
    settled = {
        "import": settlement.end.import_mwh - settlement.begin.import_mwh,
        "export": settlement.end.export_mwh - settlement.begin.export_mwh,
    }
    assert sum(settled.values()) == settlement.battery.throughput_mwh
    for direction, flowed in power.flowed.items():
        exact = flowed / PER_MWH
        lost = exact - settled[direction]
        assert -1e-6 <= lost <= 400_000 * 125_000 * Power.STORED_MS / PER_MWH + 1
    total = sum(power.flowed.values()) / PER_MWH
    assert sum(settled.values()) == pytest.approx(total, rel=0.005)


@pytest.mark.requirement("R31")
def test_the_command_shows_what_flowed_before_a_power_failure(pki: PkiTree, tmp_path: Path) -> None:
    """Registers, intervals and lines are equal to the mWh."""
    power = Power(tmp_path, pki)
    power.run([(1800, 125_000), (1500, -60_000)], 48 * 60_000 + 123, b"{")
    code, output, errors = run("settle", "verify", str(tmp_path / "settlements" / SESSION), "--json")
    assert (code, errors) == (10, ""), "verified, without prices"
    shown = json.loads(output)["report"]["settlement"]
    for direction, flowed in power.flowed.items():
        settled = sum(each["energy_mwh"] for each in shown["lines"] if each["direction"] == direction)
        assert settled == shown["end"][f"{direction}_mwh"] - shown["begin"][f"{direction}_mwh"]
        steps = (each[f"{direction}_end_mwh"] - each[f"{direction}_begin_mwh"] for each in shown["intervals"])
        assert settled == sum(steps) == pytest.approx(flowed / PER_MWH, rel=0.005)
