"""A back end's copy with corrections continues the journal that the charger signed, and nothing else."""

import pytest

from tests.energy.settlement.conftest import Session
from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
from v2g.energy.settlement.corrections import read_corrected
from v2g.energy.settlement.journal import Journal
from v2g.energy.settlement.records import LineCorrected
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError


@pytest.mark.requirement("R32", "R33")
def test_a_correction_continues_the_signed_journal_and_names_who_when_and_why(finished: Session) -> None:
    files = finished.bundle()
    settlement = verify_bundle(files).settlement
    change = LineCorrected(line=settlement.lines[0].id, price=100_000, reason="free hour", by="alice")
    copy = files[JOURNAL] + Journal.resume(files[JOURNAL]).append(change, finished.now + 5)
    entries = read_corrected(copy, files[JOURNAL], name="copy.jsonl")
    assert (entries[-1].data, entries[-1].utc_ms) == (change, finished.now + 5)
    corrected = settle(entries)
    assert [each.kind for each in corrected.lines[-2:]] == ["reversal", "replacement"]
    assert corrected.end == settlement.end
    assert read_corrected(files[JOURNAL], files[JOURNAL], name="copy.jsonl")[-1].hash == settlement.journal_head


def test_a_copy_of_another_journal_or_an_edited_one_is_rejected(finished: Session) -> None:
    journal = finished.bundle()[JOURNAL]
    lines = journal.splitlines(keepends=True)
    with pytest.raises(VerificationError, match=rf"copy\.jsonl:{len(lines)}: the line differs"):
        read_corrected(b"".join(lines[:-1]), journal, name="copy.jsonl")
    with pytest.raises(VerificationError, match=r"copy\.jsonl:2"):
        read_corrected(journal.replace(b"DEV2GC00000001", b"DEV2GC00000002"), journal, name="copy.jsonl")
