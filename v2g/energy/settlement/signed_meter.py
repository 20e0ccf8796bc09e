"""What the meter signs of a session: begin and end, and every reading at a quarter hour, a price, a suspension.

A file of a bundle has a data set (OCMF) in each line. The first has begin and end, and is what OCPP carries. The next
ones have all signed readings in order, from begin to end. A reading's status is that of the journal: a substitute is
interpolated between its neighbours; after a reset energy is not usable at that reading.

In bundles of version 2 the first data set names the version, and the next ones the journal's head, too: the meter's
signature covers the journal, and none of them may be missing. Bundles of version 1 may end after the first.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET

from v2g.energy.settlement import ocmf
from v2g.energy.settlement.intervals import Registers, Timeline
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import Direction
from v2g.energy.settlement.records import MeterReading, SessionStarted
from v2g.energy.settlement.session_journal import readings_of
from v2g.errors import CodecError, SignatureError, VerificationError
from v2g.pki.keys import SigningKey

_TRANSACTIONS: Final[dict[str, ocmf.Transaction]] = {
    "begin": "C",
    "confirmation": "C",
    "direction": "C",
    "interval": "C",
    "price": "T",
    "resume": "C",
    "stop": "S",
    "suspend": "S",
}
"""Reason of a reading in the journal -> that of OCMF; others are signed if they have a status."""

DIRECTIONS: Final[tuple[Direction, ...]] = ("import", "export")


class _Point(msgspec.Struct, frozen=True):
    transaction: ocmf.Transaction
    at: Registers

    def of(self, direction: Direction) -> tuple[ocmf.Transaction, ocmf.Reading]:
        """Return the reading of one register."""
        status = () if self.at.status is UNSET else self.at.status
        register = self.at.import_mwh if direction == "import" else self.at.export_mwh
        state: ocmf.MeterState = "S" if self.at.basis == "substitute" else "X" if "reset" in status else "G"
        jumped = "time_jump" in status
        errors: ocmf.Errors = "E" if "reset" in status else ""
        if jumped:
            errors = "Et" if errors else "t"
        return self.transaction, ocmf.Reading(self.at.utc_ms, register, "U" if jumped else "S", state, errors)


def _points(entries: Sequence[Entry], end_reason: ocmf.EndReason) -> list[_Point]:
    """Return all readings that the meter signs: begin, those between, end."""
    readings = readings_of(entries)
    timeline = Timeline(readings)
    points = [_Point("B", readings[0])]
    for entry in entries:
        record = entry.data
        if not isinstance(record, MeterReading) or record.reason == "end":
            continue
        status = () if record.status is UNSET else record.status
        known = _TRANSACTIONS.get(record.reason)
        if known is None and not status:
            continue
        at = Registers(entry.utc_ms, record.import_mwh, record.export_mwh, status=record.status)
        if "missing" in status:
            at = msgspec.structs.replace(timeline.at(entry.utc_ms), basis="substitute", status=record.status)
        points.append(_Point("X" if "reset" in status else known or "C", at))
    return [*points, _Point(end_reason, readings[-1])]


def ends(entries: Sequence[Entry], direction: Direction) -> tuple[ocmf.Reading, ocmf.Reading]:
    """Return the first and the last reading that the meter signs."""
    points = _points(entries, "E")
    return points[0].of(direction)[1], points[-1].of(direction)[1]


def version_of(entries: Sequence[Entry]) -> int:
    """Return the version of the bundle that a journal belongs to, as its first entry states."""
    started = entries[0].data
    assert isinstance(started, SessionStarted), "checked by verify_lines"
    return 1 if started.bundle is UNSET else started.bundle


def version_text(entries: Sequence[Entry]) -> str:
    """Return the text of the tariff (TT) in the first data set, which names the bundle's version: none in 1."""
    version = version_of(entries)
    return "" if version == 1 else f"v2g-bundle/{version}"


def journal_text(entries: Sequence[Entry]) -> str:
    """Return the text of the tariff (TT) in the next data sets: the prices are those of the journal with this head."""
    version = version_text(entries)
    return version and f"{version} journal sha256:{entries[-1].hash}"


def data_sets(entries: Sequence[Entry]) -> int:
    """Return how many data sets `sign_meter` makes of each direction."""
    count = len(_points(entries, "E"))
    return 1 if count == 2 and version_of(entries) == 1 else 1 + -(-count // ocmf.MAX_READINGS)


def sign_meter(
    entries: Sequence[Entry],
    *,
    identity: ocmf.MeterIdentity,
    assignment: ocmf.Assignment,
    pagination: int,
    key: SigningKey,
    end_reason: ocmf.EndReason = "E",
) -> dict[Direction, str]:
    """Return the meter's data sets of a session that has ended, one in each line.

    `pagination` is the first number, `data_sets` for each direction are used. `key` is the meter's. Raises CodecError
    and SignatureError like `ocmf.sign_session`.
    """
    points = _points(entries, end_reason)
    brief = msgspec.structs.replace(assignment, tariff_text=version_text(entries))
    whole = msgspec.structs.replace(assignment, tariff_text=journal_text(entries))
    lines, more = dict[Direction, str](), data_sets(entries) - 1
    for direction in DIRECTIONS:
        readings = [point.of(direction) for point in points]
        begin, end = readings[0][1], readings[-1][1]
        made = [
            ocmf.sign_session(
                direction,
                begin=begin,
                end=end,
                identity=identity,
                assignment=brief,
                pagination=pagination,
                key=key,
                end_reason=end_reason,
            )
        ]
        for part in _parts(readings)[:more]:
            made.append(
                ocmf.sign_readings(
                    direction, part, identity=identity, assignment=whole, pagination=pagination + len(made), key=key
                )
            )
        pagination += len(made)
        lines[direction] = "\n".join(made)
    return lines


def _parts(
    readings: Sequence[tuple[ocmf.Transaction, ocmf.Reading]],
) -> list[Sequence[tuple[ocmf.Transaction, ocmf.Reading]]]:
    return [readings[at : at + ocmf.MAX_READINGS] for at in range(0, len(readings), ocmf.MAX_READINGS)]


def check_readings(
    lines: Sequence[str],
    direction: Direction,
    entries: Sequence[Entry],
    end_reason: ocmf.EndReason,
    key: ec.EllipticCurvePublicKey,
    *,
    name: str,
) -> int:
    """Return how many readings the meter signed in the data sets after the first, those of begin and end included.

    Raises VerificationError (`name:line`) unless they are those of the journal. Only in version 1 they may be missing.
    """
    expected = [point.of(direction) for point in _points(entries, end_reason)]
    text = journal_text(entries)
    signed: list[tuple[str, ocmf.Reading]] = []
    for number, line in enumerate(lines, 2):
        try:
            found = ocmf.signed_readings(line, key)
        except (CodecError, SignatureError) as error:
            raise VerificationError(str(error), where=f"{name}:{number}") from None
        for each in found:
            if each.tariff_text != text:
                why = f"the meter signed {each.tariff_text or 'no journal'}, this is {text or 'of version 1'}"
                raise VerificationError(why, where=f"{name}:{number}")
            if each.direction != direction or len(signed) == len(expected):
                raise VerificationError("a reading that is not in the journal", where=f"{name}:{number}")
            if (each.transaction, each.reading) != expected[len(signed)]:
                theirs, ours = each.reading, expected[len(signed)][1]
                raise VerificationError(
                    f"the meter signed {theirs.register_mwh} mWh at {theirs.utc_ms}, the journal has "
                    f"{ours.register_mwh} mWh at {ours.utc_ms}, or another status",
                    where=f"{name}:{number}",
                )
            signed.append((each.transaction, each.reading))
    if (lines or text) and len(signed) < len(expected):
        raise VerificationError(f"{len(expected) - len(signed)} readings of the journal are not signed", where=name)
    return len(signed)
