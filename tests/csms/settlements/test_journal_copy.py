"""What a copy of a journal takes: the one continuation and repetitions of it, in deliveries of a certain form."""

import hashlib
from typing import Any

import pytest

from csms.settlements.rules import Copy, SettlementRules, entries_of, read_certificates, read_delivery
from tests.csms.settlement.journals import SESSION, T0, delivery, journal
from tests.csms.support import STATION
from tests.together import together
from v2g import typed_json
from v2g.energy.settlement.records import LineCorrected, MeterReading, SessionEnded, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.errors import CodecError, RefusedError, VerificationError

WITH_FEEDS = journal()
LINES = [line.removesuffix(b"\n") for line in WITH_FEEDS]
OTHER = [line.removesuffix(b"\n") for line in journal(price=999_999)]
CORRECTION = SessionJournal.resume(b"".join(WITH_FEEDS)).record(
    LineCorrected(line=f"{T0}/import", price=100_000, reason="wrong tariff"), T0 + 2_000_000
)


def copied(count: int = len(LINES)) -> Copy:
    """Return a copy of the first lines."""
    copy = Copy(STATION, SESSION)
    if count:
        assert copy.take(LINES[:count]) == WITH_FEEDS[:count]
    return copy


def test_every_portion_is_taken_once_and_repetitions_add_nothing() -> None:
    copy = copied(0)
    assert (copy.lines, copy.head, copy.ended) == (0, "0" * 64, False)
    for first, last in ((0, 3), (0, 3), (1, 4), (4, 6), (2, len(LINES)), (0, len(LINES))):
        new = max(copy.lines, first)
        assert copy.take(LINES[first:last]) == WITH_FEEDS[new:last]
        assert copy.ended == (copy.lines == len(LINES))
    assert copy.lines == len(LINES)
    assert len(copy.head) == 64
    assert copy.head in CORRECTION[0].decode()


def test_lines_with_a_hole_between_them_are_refused() -> None:
    copy = copied(2)
    for wrong in (LINES[3:], [LINES[2], LINES[4]], [LINES[1], LINES[0]], [LINES[0], LINES[2]]):
        with pytest.raises(RefusedError, match="entry") as refused:
            copy.take(wrong)
        assert refused.value.reason == "gap"
    with pytest.raises(RefusedError) as refused:
        copy.take(LINES[3:])
    assert refused.value.hint == "deliver from entry 2 on"
    assert copy.lines == 2
    copy.take(LINES[2:])


def test_another_history_is_a_fork_and_changes_nothing() -> None:
    copy = copied(4)
    for fork in (OTHER[:4], OTHER[3:4], OTHER[4:], OTHER, [*LINES[:4], OTHER[4]]):
        with pytest.raises(RefusedError, match="entry") as refused:
            copy.take(fork)
        assert refused.value.reason == "fork"
    assert copy.take(LINES) == WITH_FEEDS[4:]


def test_only_the_operator_corrects() -> None:
    correction = [line.removesuffix(b"\n") for line in CORRECTION]
    for count, lines in ((len(LINES), correction), (0, LINES + correction)):
        copy = copied(count)
        with pytest.raises(RefusedError) as refused:
            copy.take(lines)
        assert refused.value.reason == "correction"
        assert copy.lines == count
        assert copy.take(lines, stored=True)[-1:] == CORRECTION
        assert copy.take(correction) == [], "a station may deliver again what is there"


@pytest.mark.parametrize("place", [0, 3, 6])
def test_any_changed_byte_is_refused(place: int) -> None:
    line = LINES[place]
    for position in range(0, len(line), 7):
        copy = Copy(STATION, SESSION)
        changed = line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :]
        with pytest.raises((RefusedError, VerificationError)):
            copy.take([*LINES[:place], changed])


def test_what_does_not_follow_is_invalid_at_its_place() -> None:
    copy = copied(4)
    wrong_hash = LINES[4].replace(b'"import_mwh":2001000', b'"import_mwh":2001001')
    impossible = LINES[4].replace(b'"import_mwh":2001000', b'"import_mwh":0')  # less than before
    for line in (wrong_hash, impossible):
        assert line != LINES[4]
        with pytest.raises(VerificationError) as failed:
            copied(4).take([line])
        assert failed.value.where == f"{SESSION}: entry 4"
    with pytest.raises(VerificationError) as failed:
        copy.take([LINES[4], b"no line"])
    assert f"{SESSION}: delivered line 2" in str(failed.value)


def test_a_journal_of_another_session_or_station_is_refused() -> None:
    for station, session in (("CS-OTHER", SESSION), (STATION, "ff")):
        with pytest.raises(RefusedError, match="is of session") as caught:
            Copy(STATION, SESSION).take([line.removesuffix(b"\n") for line in journal(session, station)])
        assert caught.value.reason == "foreign"


def test_entries_are_those_of_the_kinds_that_are_asked_for() -> None:
    for kinds in ((TariffSet,), (MeterReading, SessionEnded)):
        for lines in (LINES, WITH_FEEDS):
            assert {type(each.data) for each in entries_of(SESSION, lines, *kinds)} == set(kinds)


CHAIN = [hashlib.sha256(bytes([number])).digest() for number in range(6)]


@together(
    ("change", "fits"),
    [
        ({}, True),
        ({"lines": ["x"] * 2000}, True),
        ({"lines": ["x"] * 2001}, False),
        ({"lines": []}, False),
        ({"more": 1}, False),
        *(({key: name}, True) for key in ("stationId", "sessionId") for name in ("a", "_a.=+@*|-9", "x" * 64)),
        *(
            ({key: name}, False)
            for key in ("stationId", "sessionId")
            for name in ("", ".", "..", ".a", "=a", "a/b", "../a", "a\n", "a b", "x" * 65)
        ),
    ],
)
def test_a_delivery_names_a_session_as_a_file_may_be_called(change: dict[str, Any], fits: bool) -> None:
    data = delivery(WITH_FEEDS) | change
    if fits:
        read = read_delivery(data)
        assert (read.station_id, read.session_id, list(read.lines)) == tuple(data.values())
    else:
        with pytest.raises(CodecError, match=r"^JournalEntries: "):
            read_delivery(data)


@together(
    ("charger", "contract", "fits"),
    [
        (CHAIN[:1], [], True),
        (CHAIN[:5], CHAIN[:5], True),
        ([], [], False),
        (CHAIN[:6], [], False),
        (CHAIN[:1], CHAIN[:6], False),
        ([b"x"], [b"x"], True),
        ([b"x" * 8192], [b"x" * 8192], True),
        ([b""], [], False),
        ([b"x"], [b""], False),
        ([b"x" * 8193], [], False),
    ],
)
def test_chains_of_certificates_have_a_limit(charger: list[bytes], contract: list[bytes], fits: bool) -> None:
    data = {"stationId": STATION, "sessionId": SESSION, "charger": charger, "contract": contract}
    if fits:
        read = read_certificates(data)
        assert (list(read.charger), list(read.contract)) == (charger, contract)
        data["more"] = 1
    with pytest.raises(CodecError, match=r"^JournalCertificates: "):
        read_certificates(data)


def test_by_default_a_journal_waits_an_hour_and_only_what_is_signed_is_booked() -> None:
    rules = SettlementRules()
    assert (rules.wait_s, rules.wear_per_kwh) == (3600, None)
    assert not rules.unsigned_feed_in
    assert not rules.unsigned_contracts
    for wait_s, fits in ((0, False), (0.5, True), (2_678_400, True), (2_678_401, False)):
        try:
            assert typed_json.convert({"wait_s": wait_s}, SettlementRules).wait_s == wait_s
            assert fits
        except ValueError:
            assert not fits
