"""Forged bundles: each alteration, by the holder of each set of keys, judged in each mode of `v2g settle verify`.

An attacker has all public files, and tries everything here that these keys allow; what is kept is what deceives a mode
most. `python -m tests.energy.settlement.attacks` writes the result into docs/explanation/settlement-and-trust.md.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET
from msgspec.structs import replace

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.energy.grid_signal import QUARTER_MS
from v2g.energy.settlement.bundle import (
    JOURNAL,
    MANIFEST,
    OCMF_FILES,
    RECEIPT,
    SETTLEMENT,
    SIGNATURE,
    verify_bundle,
    write_bundle,
)
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.corrections import read_addendum, read_corrected
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.operator import JournalReceipt, JournalReceived, seal
from v2g.energy.settlement.records import (
    AnyRecord,
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    CommandRejected,
    ContractAuthorized,
    IntervalClosed,
    LineCorrected,
    MeteringConfirmed,
    MeterReading,
    SessionEnded,
    SessionStarted,
    TariffSet,
    TermsDecided,
    TermsOffered,
    VehicleDescribed,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle
from v2g.errors import V2GError, VerificationError
from v2g.pki.keys import PublicKey, SoftwareKey
from v2g.pki.profiles import KeyKind

Records = list[tuple[AnyRecord, int]]
"""Entries of a journal: what they hold, and their times (UTC ms)."""

Files = dict[str, bytes]

SEALING: Final = ("charger", "charger and meter")
POWERLESS: Final = ("vehicle", "contract", "operator's database")
"""Sets that make no other bundle than nobody's: the vehicle's key (TLS) signs nothing in one, the contract's only what
is bound to the charger's messages and journal; who writes in the operator's database has not its key.
"""
KEY_SETS: Final = ("none", *SEALING, *POWERLESS)


class Outcome(IntEnum):
    """What a reader learns of a forgery, the best for the forger last."""

    REFUSED = 0
    INCOMPLETE = 1
    UNNOTICED = 2


MODES: Final = ("alone", "--root", "--require signed", "--require checkpoints", "--checkpoints", "--operator")

_VEHICLE: Final = (
    TermsOffered,
    TermsDecided,
    CommandAccepted,
    CommandRejected,
    CheckpointIssued,
    CheckpointAnswered,
    MeteringConfirmed,
)
_CHECKPOINTS: Final = (CheckpointIssued, CheckpointAnswered)


class Scene:
    """A finished session, its bundle, and what honest parties keep of it."""

    def __init__(self, pki: PkiTree, start_ms: int, *, signed: bool, every: int = 1, share: int = 1) -> None:
        self._every, self._refused = every, 0
        self.share = share
        self.session = session = Session(pki, start_ms, checkpoints=signed)
        self.signed = signed
        self.operator, self.stranger = (SoftwareKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
        session.start("signed" if signed else "standard")
        session.read(reason="begin")
        session.flow(11_000, 780_000, 60_000)
        self._quarter()
        if signed:
            session.offer()
            session.flow(-9_000, 60_000)
        else:
            session.export_mwh += 150_000
            session.now += 60_000
            session.read(-9_000)
        session.flow(11_000, 60_000, 60_000)
        self._quarter()
        if signed:
            session.checkpoint(final=True)
        session.end()
        self.files = session.bundle()
        self.copies = list(session.copies)
        if not signed:
            self.files = self.receipted(self.files, self.operator)

    def _quarter(self) -> None:
        """A quarter hour is over: the meter is read, and the vehicle signs what it can sign."""
        session = self.session
        session.now = (session.now // QUARTER_MS + 1) * QUARTER_MS
        session.read(reason="interval")
        if self.signed:
            session.checkpoint()
        else:
            session.read(reason="confirmation")
            session.record(MeteringConfirmed(payload=b"%d" % (session.import_mwh - session.begin[0])))

    @property
    def records(self) -> Records:
        """The honest journal."""
        return [(each.data, each.utc_ms) for each in verify_lines(self.files[JOURNAL])]

    def receipted(self, files: Files, key: SoftwareKey) -> Files:
        """The files with a receipt of their journal, signed with this key."""
        entries = verify_lines(files[JOURNAL])
        received = JournalReceived(
            station_id="CS-V2G-0001",
            session_id=SESSION_ID.hex(),
            entries=len(entries),
            head=entries[-1].hash,
            utc_ms=self.session.now,
        )
        return {**files, RECEIPT: canonical(JournalReceipt(received=received, seal=seal(received, key)))}

    def judged(self, files: Mapping[str, bytes]) -> dict[str, Outcome]:
        """What each mode says of these files.

        An option only adds a demand, so what is refused without any is refused. That is tried of every nth (`every`).
        """
        if _judged(files) is Outcome.REFUSED:
            self._refused += 1
            if self._refused % self._every:
                return dict.fromkeys(MODES, Outcome.REFUSED)
        anchors = self.session.pki.anchors("v2g", "mo")
        modes: dict[str, dict[str, Any]] = {
            "alone": {},
            "--root": {"anchors": anchors},
            "--require signed": {"require": {"signed"}},
            "--require checkpoints": {"require": {"signed", "checkpoints"}},
            "--checkpoints": {"copies": [("copies:1", each) for each in self.copies]},
            "--operator": {"operators": [self.operator.public_key]},
        }
        return {mode: _judged(files, **modes[mode]) for mode in MODES}


def _judged(files: Mapping[str, bytes], **mode: Any) -> Outcome:
    try:
        report = verify_bundle(files, confirmations=_confirmed, **mode)
    except VerificationError:
        return Outcome.REFUSED
    return Outcome.UNNOTICED if report.complete else Outcome.INCOMPLETE


def _confirmed(payload: bytes, _key: PublicKey) -> tuple[bytes, int, int]:
    """A vehicle's signature that always holds: attackers here repeat or drop it, none makes one."""
    return SESSION_ID, int(payload) // 1000, 0


# -- what is altered


def _dearer(records: Records) -> Records:
    def slots(record: TariffSet) -> TariffSet:
        dearer = tuple(replace(each, import_price=each.import_price + 1_000_000) for each in record.tariff.slots)
        return replace(record, tariff=replace(record.tariff, slots=dearer))

    return [(slots(record) if isinstance(record, TariffSet) else record, at) for record, at in records]


def _corrected(records: Records, line: str) -> Records:
    change = LineCorrected(line=line, price=9_000_000, reason="dearer", by="charger")
    return [*records, (change, records[-1][1])]


def _moved(records: Records) -> Records:
    """Energy of the first quarter hour counts in the second."""
    place = next(
        n for n, (each, _) in enumerate(records) if isinstance(each, MeterReading) and each.reason == "interval"
    )
    reading, at = records[place]
    assert isinstance(reading, MeterReading)
    less = replace(reading, import_mwh=reading.import_mwh - 150_000)
    return [*records[:place], (less, at), *records[place + 1 :]]


def _more(records: Records) -> Records:
    """Two kWh more were taken."""

    def added(record: AnyRecord) -> AnyRecord:
        if isinstance(record, MeterReading | SessionEnded):
            return replace(record, import_mwh=record.import_mwh + 2_000_000)
        return record

    place = next(
        n for n, (each, _) in enumerate(records) if isinstance(each, MeterReading) and each.reason == "interval"
    )
    return [*records[:place], *((added(record), at) for record, at in records[place:])]


def _fed_back(records: Records) -> Records:
    """A kWh more was fed back."""

    def added(record: AnyRecord) -> AnyRecord:
        if isinstance(record, MeterReading | SessionEnded):
            return replace(record, export_mwh=record.export_mwh + 1_000_000)
        return record

    return [*records[:-3], *((added(record), at) for record, at in records[-3:])]


def _later(records: Records) -> Records:
    return [(record, at + QUARTER_MS) for record, at in records]


def _cut(records: Records) -> Records:
    """What followed the first quarter hour never was."""
    end = next(n for n, (each, _) in enumerate(records) if isinstance(each, CheckpointAnswered | MeteringConfirmed))
    kept = records[: end + 1]
    last = next(each for each, _ in reversed(kept) if isinstance(each, MeterReading))
    ended = SessionEnded(reason="vehicle", import_mwh=last.import_mwh, export_mwh=last.export_mwh)
    return [*kept, (ended, kept[-1][1])]


def _without(records: Records, *kinds: type[AnyRecord]) -> Records:
    return [(record, at) for record, at in records if not isinstance(record, kinds)]


def _one_less(records: Records) -> Records:
    """The second checkpoint and its answer."""
    return [(r, at) for r, at in records if not (isinstance(r, _CHECKPOINTS) and r.number == 2)]


def _other_contract(records: Records) -> Records:
    return [
        (replace(record, emaid="DEV2GC00000002") if isinstance(record, ContractAuthorized) else record, at)
        for record, at in records
    ]


def _other_vehicle(records: Records) -> Records:
    return [
        (replace(record, battery_capacity_wh=1) if isinstance(record, VehicleDescribed) else record, at)
        for record, at in records
    ]


def _older(records: Records) -> Records:
    return [
        (replace(record, bundle=UNSET) if isinstance(record, SessionStarted) else record, at) for record, at in records
    ]


Alteration = Callable[[Records], Records]


def alterations(scene: Scene) -> dict[str, Alteration]:
    """Return what may be altered in a journal; of that every nth (`share`)."""
    line = settle(verify_lines(scene.files[JOURNAL])).lines[0].id
    all_of_them: dict[str, Alteration] = {
        "a price": _dearer,
        "a correction before the seal": partial(_corrected, line=line),
        "energy moved to another quarter hour": _moved,
        "more energy taken": _more,
        "more energy fed back": _fed_back,
        "the time": _later,
        "all after the first quarter hour dropped": _cut,
        "checkpoints or confirmations dropped": lambda records: _without(records, *_CHECKPOINTS, MeteringConfirmed),
        "one checkpoint dropped": _one_less,
        "another contract": _other_contract,
        "a fact without energy (battery)": _other_vehicle,
        "relabelled as version 1, data sets dropped": _older,
        "the meter's data sets dropped": lambda records: records,
    }
    return dict([*all_of_them.items()][:: scene.share])


# -- what a forger tries


def rebuilt(records: Iterable[tuple[AnyRecord, int]]) -> bytes:
    """Return the journal that a charger would write of these; intervals follow from the readings."""
    ledger = SessionJournal()
    lines: list[bytes] = []
    for record, at in records:
        if isinstance(record, IntervalClosed) or (isinstance(record, MeterReading) and record.reason == "end"):
            continue
        if isinstance(record, SessionEnded):
            lines += ledger.end(record.reason, at, import_mwh=record.import_mwh, export_mwh=record.export_mwh)
        else:
            lines += ledger.record(record, at)
    return b"".join(lines)


def _stripped(records: Records) -> Records:
    """Without anything that the vehicle signed, as a session of the plain standard."""
    return [
        (replace(record, discharge="standard") if isinstance(record, SessionStarted) else record, at)
        for record, at in _without(records, *_VEHICLE)
    ]


def _journals(records: Records, altered: Alteration) -> Iterator[bytes]:
    """Yield journals with the alteration: with all that the vehicle signed, less and less of it, and none."""
    for kept in (
        records,
        _without(records, *_CHECKPOINTS, MeteringConfirmed),
        _cut(records),
        _stripped(records),
        _stripped(_cut(records)),
    ):
        try:
            yield rebuilt(altered(kept))
        except (V2GError, StopIteration):  # it makes no journal
            continue


def forgeries(scene: Scene, keys: str, altered: Alteration) -> Iterator[Files]:
    """Yield what the holder of these keys can make of an alteration."""
    session = scene.session
    genuine = {direction: scene.files[name].decode() for direction, name in OCMF_FILES.items()}
    brief = {direction: text.split("\n")[0] for direction, text in genuine.items()}
    for journal in _journals(scene.records, altered):
        if not keys.startswith("charger"):
            yield {**scene.files, JOURNAL: journal, SETTLEMENT: canonical(settle(verify_lines(journal)))}
            yield {**scene.files, JOURNAL: journal}
            continue
        metered = [genuine, brief]
        if keys == "charger and meter":
            session.lines = [journal]
            signed = session.signed()
            metered += [signed, {direction: text.split("\n")[0] for direction, text in signed.items()}]
        for data_sets in metered:
            files = write_bundle(
                journal,
                ocmf_import=data_sets["import"],
                ocmf_export=data_sets["export"],
                chains=session.chains(),
                key=session.charger.key,
                created_ms=session.now,
            )
            if files[JOURNAL] == scene.files[JOURNAL] and data_sets is genuine:
                continue  # nothing is altered
            yield files
            yield scene.receipted(files, scene.stranger)
            if RECEIPT in scene.files:
                yield {**files, RECEIPT: scene.files[RECEIPT]}


def best(scene: Scene, found: Iterable[Mapping[str, bytes]]) -> dict[str, Outcome]:
    """Return what deceives each mode most. A forgery that equals the honest bundle is none."""
    outcome = dict.fromkeys(MODES, Outcome.REFUSED)
    for files in found:
        if _says(files) == _says(scene.files):
            continue
        for mode, each in scene.judged(files).items():
            outcome[mode] = max(outcome[mode], each)
    return outcome


def _says(files: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """What a reader learns from a bundle, without signatures: those differ each time."""
    signed = (line.split(b"|")[1:2] for name in OCMF_FILES.values() for line in files[name].split(b"\n"))
    return files[JOURNAL], files[SETTLEMENT], *(part for parts in signed for part in parts)


def results(scene: Scene, stranger: Scene) -> dict[str, dict[str, dict[str, Outcome]]]:
    """Return alteration -> set of keys -> mode -> outcome; `stranger` has a family of certificates of its own."""
    found: dict[str, dict[str, dict[str, Outcome]]] = {}
    for what, altered in alterations(scene).items():
        if what == "one checkpoint dropped" and not scene.signed:
            continue
        found[what] = {keys: best(scene, forgeries(scene, keys, altered)) for keys in ("none", *SEALING)}
        found[what] |= dict.fromkeys(POWERLESS, found[what]["none"])
    found["a byte of a file"] = dict.fromkeys(KEY_SETS, best(scene, _bytes(scene)))
    invented = best(scene, [stranger.files, stranger.receipted(stranger.files, stranger.stranger)])
    found["a session invented, with roots of its own"] = dict.fromkeys(KEY_SETS, invented)
    return found


def _bytes(scene: Scene) -> Iterator[Files]:
    """Yield the bundle with one byte changed, in each file."""
    for name, data in scene.files.items():
        place = len(data) // 2
        yield {**scene.files, name: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]}
    yield {**scene.files, MANIFEST: scene.files[SIGNATURE]}


def copies_outcome(scene: Scene, *, operator: bool) -> Outcome:
    """What is said of a correction that who writes in the operator's database appends to the copy of the journal."""
    journal = scene.files[JOURNAL]
    change = LineCorrected(line=settle(verify_lines(journal)).lines[0].id, price=1, reason="cheaper", by="alice")
    writer = Journal.resume(journal)
    entries = read_corrected(journal + writer.append(change, scene.session.now), journal, name="copy")
    try:
        (made,) = read_addendum(
            entries, operators=[scene.operator.public_key] if operator else None, name="copy"
        ).changes
    except VerificationError:
        return Outcome.REFUSED
    return Outcome.INCOMPLETE if made.key is None else Outcome.UNNOTICED


# -- the table

_WORDS: Final = {
    Outcome.REFUSED: "refused",
    Outcome.INCOMPLETE: "incomplete",
    Outcome.UNNOTICED: "**not noticed**",
}


def cell(found: Mapping[str, Outcome]) -> str:
    """Return what holds: without an option, and where options change it."""
    alone = found["alone"]
    words = [_WORDS[alone]]
    for outcome in Outcome:
        modes = [f"`{mode}`" for mode, each in found.items() if each is outcome and outcome is not alone]
        if modes:
            words.append(f"{_WORDS[outcome]} with {', '.join(modes)}")
    return "; ".join(words)


def table(found: Mapping[str, Mapping[str, Mapping[str, Outcome]]]) -> str:
    """Return the results as a table: a row for each alteration, a column for each power to sign."""
    lines = [("altered", "by whom the charger's key is not known", *(f"with the key of {each}" for each in SEALING))]
    lines += [(what, *(cell(by_keys[keys]) for keys in ("none", *SEALING))) for what, by_keys in found.items()]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], "|" + "---|" * len(lines[0]), *text[1:]]) + "\n"


PAGE: Final = Path(__file__).parents[3] / "docs/explanation/settlement-and-trust.md"
_BLOCK: Final = re.compile(
    r"(?<=<!-- attacks, by tests/energy/settlement/attacks.py -->\n).*?(?=<!-- end -->)", re.DOTALL
)


def scenes(folder: Path, every: int = 1, share: int = 1) -> Iterator[tuple[str, Scene, Scene]]:
    """Yield each kind of session: its title, the honest scene, and a stranger's. `every`: see `Scene.judged`, `share`:
    see `alterations`.
    """
    now = datetime.now(UTC)
    start_ms = int(now.timestamp() * 1000) // QUARTER_MS * QUARTER_MS + 67_890
    options = PkiOptions(key_kind=KeyKind.SECP256R1)  # sooner verified
    pki, other = (make_pki(folder / name, now=now, options=options) for name in ("own", "other"))
    for title, signed in (
        ("Signed discharge, version 3, ended by the vehicle", True),
        ("The plain standard with confirmed readings, and the operator's receipt", False),
    ):
        scene = Scene(pki, start_ms, signed=signed, every=every, share=share)
        yield title, scene, Scene(other, start_ms, signed=signed)


def page_with(tables: Mapping[str, str]) -> str:
    """Return the page with the tables in it, each under its title."""
    body = "\n".join(f"**{title}**\n\n{text}" for title, text in tables.items())
    return _BLOCK.sub(lambda _: f"\n{body}\n", PAGE.read_text())


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        PAGE.write_text(page_with({title: table(results(*both)) for title, *both in scenes(Path(made))}))
