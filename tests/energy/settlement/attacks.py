"""Forged bundles: each alteration, by the holders of each set of keys, judged in each mode of `v2g settle verify`.

An attacker has all public files, and tries everything here that these keys allow; what is kept is what deceives a mode
most. `python -m tests.energy.settlement.attacks` writes the result into docs/explanation/settlement-and-trust.md.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET
from msgspec.structs import replace

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.energy.grid_signal import Tariff
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
from v2g.energy.settlement.operator import JournalReceipt, JournalReceived, prices_in, seal
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    CommandRejected,
    ContractAuthorized,
    IntervalClosed,
    LineCorrected,
    MeteringConfirmed,
    MeterReading,
    ServiceChanged,
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
from v2g.iso15118.signed_requests import read_authorization
from v2g.pki.keys import PublicKey, SoftwareKey
from v2g.pki.profile import KeyKind
from v2g.units import QUARTER_MS

Records = list[tuple[AnyRecord, int]]
"""Entries of a journal: what they hold, and their times (UTC ms)."""

Files = dict[str, bytes]

KEYS: Final = ("charger", "meter", "contract", "operator")
"""Whose keys may be in one hand. The vehicle's (TLS) signs nothing in a bundle; who writes in the operator's database
has not its key.
"""
Keys = frozenset[str]
KEY_SETS: Final = tuple(frozenset(each) for size in range(len(KEYS) + 1) for each in combinations(KEYS, size))


class Outcome(IntEnum):
    """What a reader learns of a forgery, the best for the forger last."""

    REFUSED = 0
    INCOMPLETE = 1
    UNNOTICED = 2


MODES: Final[Mapping[str, str]] = {
    "alone": "nothing changed since it was sealed",
    "--root": "the certificates are of your roots",
    "--require signed": "the vehicle signed terms and commands",
    "--require checkpoints": "the vehicle signed journal and registers",
    "--require authorization": "the contract signed for this session",
    "--operator": "the vehicle signed the end, or the back end got this journal",
    "--require operator": "and the operator signed the prices",
    "--checkpoints": "a party's copies agree",
    "all of these": "all of that",
}
"""Mode -> what a bundle that passes proves; each but the first has `--root`, from `--operator` on also that."""

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


class Signing(Session):
    """A session for which the vehicle signs, by this id."""

    signs = True

    def __init__(self, pki: PkiTree, start_ms: int, session_id: bytes, *, checkpoints: bool) -> None:
        self.session_id = session_id
        super().__init__(pki, start_ms, checkpoints=checkpoints)


class Scene:
    """A finished session, its bundle, and what honest parties keep of it; `dearer` and `more_mwh` are lies of all who
    sign.
    """

    def __init__(
        self,
        pki: PkiTree,
        start_ms: int,
        *,
        signed: bool,
        every: int = 1,
        share: int = 1,
        session_id: bytes = SESSION_ID,
        dearer: bool = False,
        more_mwh: int = 0,
    ) -> None:
        self._every, self._refused = every, 0
        self.share = share
        self.session = session = Signing(pki, start_ms, session_id, checkpoints=signed)
        self.signed = signed
        self.operator, self.stranger = _KEYS
        if dearer:
            session.tariff = _thirty(session.tariff)
        session.start("signed" if signed else "standard")
        session.read(reason="begin")
        session.flow(11_000, 780_000, 60_000)
        session.import_mwh += more_mwh
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
        self.files = self.receipted(self.files, self.operator, priced=True)

    def _quarter(self) -> None:
        """A quarter hour is over: the meter is read, and the vehicle signs what it can sign."""
        session = self.session
        session.now = (session.now // QUARTER_MS + 1) * QUARTER_MS
        session.read(reason="interval")
        if self.signed:
            session.checkpoint()
        else:
            session.read(reason="confirmation")
            charged = session.import_mwh - session.begin[0]
            session.record(MeteringConfirmed(payload=f"{session.session_id.hex()} {charged}".encode()))

    @property
    def records(self) -> Records:
        """The honest journal."""
        return [(each.data, each.utc_ms) for each in verify_lines(self.files[JOURNAL])]

    def anew(self, **lies: Any) -> "Scene":
        """The session as charger, meter and contract together may sign it."""
        honest: dict[str, Any] = {"start_ms": self.session.start_ms, "signed": self.signed}
        return Scene(self.session.pki, **{**honest, **lies})

    def receipted(self, files: Files, key: SoftwareKey, *, priced: bool = False) -> Files:
        """The files with a receipt of their journal, perhaps of its prices, signed with this key."""
        entries = verify_lines(files[JOURNAL])
        session_id = json.loads(files[JOURNAL].split(b"\n")[0])["data"]["session_id"]
        received = JournalReceived(
            station_id="CS-V2G-0001",
            session_id=session_id,
            entries=len(entries),
            head=entries[-1].hash,
            utc_ms=self.session.now,
            prices=prices_in(entries) if priced else UNSET,
        )
        return {**files, RECEIPT: canonical(JournalReceipt(received=received, seal=seal(received, key)))}

    def sealed(self, journal: bytes, data_sets: Mapping[str, bytes]) -> Files:
        """The bundle that the charger makes of a journal and data sets of the meter."""
        session = self.session
        return write_bundle(
            journal,
            ocmf_import=data_sets[OCMF_FILES["import"]].decode(),
            ocmf_export=data_sets[OCMF_FILES["export"]].decode(),
            chains=session.chains(),
            key=session.charger.key,
            created_ms=session.now,
        )

    def judged(self, files: Mapping[str, bytes]) -> dict[str, Outcome]:
        """What each mode says of these files.

        An option only adds a demand, so what is refused without any is refused. That is tried of every nth (`every`).
        """
        if _judged(files) is Outcome.REFUSED:
            self._refused += 1
            if self._refused % self._every:
                return dict.fromkeys(MODES, Outcome.REFUSED)
        anchors = {"anchors": self.session.pki.anchors("v2g", "mo")}
        operators = {"operators": [self.operator.public_key], **anchors}
        modes: dict[str, dict[str, Any]] = {
            "alone": {},
            "--root": anchors,
            "--require signed": {"require": {"signed"}, **anchors},
            "--require checkpoints": {"require": {"signed", "checkpoints"}, **anchors},
            "--require authorization": {"require": {"authorization"}, **anchors},
            "--operator": operators,
            "--require operator": {"require": {"operator"}, **operators},
            "--checkpoints": {"copies": [("copies:1", each) for each in self.copies], **operators},
        }
        demands = {"signed", "checkpoints", "authorization", "operator"}
        modes["all of these"] = {**modes["--checkpoints"], "require": demands}
        return {mode: _judged(files, **modes[mode]) for mode in MODES}


def _judged(files: Mapping[str, bytes], **mode: Any) -> Outcome:
    try:
        report = verify_bundle(files, confirmations=_confirmed, authorizations=read_authorization, **mode)
    except VerificationError:
        return Outcome.REFUSED
    return Outcome.UNNOTICED if report.verdict == "verified" else Outcome.INCOMPLETE


def _confirmed(payload: bytes, _key: PublicKey) -> tuple[bytes, int, int]:
    """A vehicle's signature that always holds: attackers here repeat or drop it, none makes one."""
    session_id, charged = payload.split()
    return bytes.fromhex(session_id.decode()), int(charged) // 1000, 0


_KEYS: Final = tuple(SoftwareKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
"""The operator's, and a stranger's."""


# -- what is altered


def _thirty(tariff: Tariff) -> Tariff:
    """30 EUR a kWh."""
    return replace(tariff, slots=tuple(replace(each, import_price=30_000_000) for each in tariff.slots))


def _dearer(records: Records) -> Records:
    return [
        (replace(record, tariff=_thirty(record.tariff)) if isinstance(record, TariffSet) else record, at)
        for record, at in records
    ]


def _renamed(records: Records) -> Records:
    return [
        (replace(record, session_id=OTHER_ID.hex()) if isinstance(record, SessionStarted) else record, at)
        for record, at in records
    ]


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

OTHER_ID: Final = bytes.fromhex("8899aabbccddeeff")

ANEW: Final[Mapping[str, dict[str, Any]]] = {
    "a price": {"dearer": True},
    "more energy taken": {"more_mwh": 2_000_000},
    "told again under another session id": {"session_id": OTHER_ID},
}
"""Alterations that whoever holds the contract's key, too, signs from the beginning."""


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
        "told again under another session id": _renamed,
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
    """Without anything that the vehicle signed, as a session of the plain standard at a charger of version 2."""

    def plain(record: AnyRecord) -> AnyRecord:
        if isinstance(record, ServiceChanged):
            return replace(record, discharge="standard")
        return replace(record, bundle=2) if isinstance(record, SessionStarted) and record.bundle == 3 else record

    return [(plain(record), at) for record, at in _without(records, *_VEHICLE, AuthorizationSigned)]


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


def forgeries(scene: Scene, keys: Keys, what: str, altered: Alteration) -> Iterator[Files]:
    """Yield what takes all of these keys to make of an alteration, beside what fewer of them make."""
    operator = "operator" in keys
    if "contract" in keys:
        if "charger" in keys and what in ANEW:
            made = scene.anew(**ANEW[what])
            genuine = {name: scene.files[name] for name in OCMF_FILES.values()}
            files = made.files if "meter" in keys else made.sealed(made.files[JOURNAL], genuine)
            yield from _receipts(scene, files, operator=operator)
        return
    if "meter" in keys and "charger" not in keys:
        return
    honest = {name: scene.files[name] for name in OCMF_FILES.values()}
    for journal in _journals(scene.records, altered):
        if not keys:
            yield {**scene.files, JOURNAL: journal, SETTLEMENT: canonical(settle(verify_lines(journal)))}
            yield {**scene.files, JOURNAL: journal}
        if "charger" not in keys:
            continue
        if "meter" in keys:
            scene.session.lines = [journal]
            signed = {OCMF_FILES[each]: text.encode() for each, text in scene.session.signed().items()}
        else:
            signed = honest
        for data_sets in (signed, {name: data.split(b"\n")[0] for name, data in signed.items()}):
            files = scene.sealed(journal, data_sets)
            if files[JOURNAL] == scene.files[JOURNAL] and data_sets is honest:
                continue  # nothing is altered
            yield from _receipts(scene, files, operator=operator)


def _receipts(scene: Scene, files: Files, *, operator: bool) -> Iterator[Files]:
    """Yield a bundle without a receipt, with that of the honest journal, and a stranger's; and with what the operator
    signs for any journal that a charger delivers: its prices only if it had sent them, or if its key is there.
    """
    own = prices_in(verify_lines(files[JOURNAL])) == prices_in(verify_lines(scene.files[JOURNAL]))
    yield scene.receipted(files, scene.operator, priced=own or operator)
    if not operator:
        yield {name: data for name, data in files.items() if name != RECEIPT}
        yield scene.receipted(files, scene.stranger, priced=True)
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


INVENTED: Final = "a session invented, with roots of its own"


def _says(files: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """What a reader learns from a bundle, without signatures: those differ each time."""
    signed = (line.split(b"|")[1:2] for name in OCMF_FILES.values() for line in files[name].split(b"\n"))
    return files[JOURNAL], files[SETTLEMENT], *(part for parts in signed for part in parts)


def results(scene: Scene, stranger: Scene) -> dict[str, dict[Keys, dict[str, Outcome]]]:
    """Return alteration -> set of keys -> mode -> outcome; `stranger` has a family of certificates of its own."""
    found: dict[str, dict[Keys, dict[str, Outcome]]] = {}
    for what, altered in alterations(scene).items():
        if what == "one checkpoint dropped" and not scene.signed:
            continue
        alone = {keys: best(scene, forgeries(scene, keys, what, altered)) for keys in KEY_SETS}
        found[what] = {keys: _most(made for fewer, made in alone.items() if fewer <= keys) for keys in KEY_SETS}
    found["a byte of a file"] = dict.fromkeys(KEY_SETS, best(scene, _bytes(scene)))
    invented = best(scene, [stranger.files, stranger.receipted(stranger.files, stranger.stranger)])
    found[INVENTED] = dict.fromkeys(KEY_SETS, invented)
    return found


def _most(made: Iterable[Mapping[str, Outcome]]) -> dict[str, Outcome]:
    all_of_them = list(made)
    return {mode: max(each[mode] for each in all_of_them) for mode in MODES}


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


HANDS: Final[Mapping[str, Keys]] = {
    "any without charger's or meter's": frozenset({"charger", "contract", "operator"}),
    "charger, meter": frozenset({"charger", "meter"}),
    "charger, meter, contract": frozenset({"charger", "meter", "contract"}),
}
"""Sets of keys with different results; the operator's, too, changes only what it signs itself."""

_KINDS: Final[Mapping[str, str]] = {
    "a price": "price",
    "energy moved to another quarter hour": "energy",
    "more energy taken": "energy",
    "more energy fed back": "energy",
    "the time": "time",
    "told again under another session id": "session",
    "all after the first quarter hour dropped": "end",
}
"""Alteration -> what of the session is false then; of all others: other entries."""


def cell(found: Mapping[str, Mapping[Keys, Mapping[str, Outcome]]], mode: str, keys: Keys) -> str:
    """Return what these keys make of a session's price, energy, and so on; a session of other roots aside."""
    worst: dict[str, Outcome] = {}
    for what, by_keys in found.items():
        if what != INVENTED:
            kind = _KINDS.get(what, "others")
            worst[kind] = max(worst.get(kind, Outcome.REFUSED), by_keys[keys][mode])
    made = {each: [kind for kind, outcome in worst.items() if outcome is each] for each in reversed(Outcome)}
    if max(worst.values()) is Outcome.REFUSED:
        return _WORDS[Outcome.REFUSED]
    if min(worst.values()) is max(worst.values()):
        return f"{_WORDS[min(worst.values())]}: all"
    return "; ".join(f"{_WORDS[each]}: {', '.join(made[each])}" for each in made if each and made[each])


def table(found: Mapping[str, Mapping[Keys, Mapping[str, Outcome]]]) -> str:
    """Return the results as a table: a row for each mode, a column for each hand."""
    lines = [("mode", "proves", *HANDS)]
    for mode, proves in MODES.items():
        if mode == "alone":
            continue  # as with roots, but for invented certificates
        name = f"`{mode}`" if mode.startswith("-") else mode
        lines.append((name, proves, *(cell(found, mode, each) for each in HANDS.values())))
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
