"""Lines as rows: exact, complete, and harmless in a spreadsheet."""

import csv
import io
import json
from decimal import Decimal

import pytest
from msgspec.structs import replace

from tests.energy.settlement.conftest import Session
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.rows import iso_time, to_csv, to_json
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError


def test_every_line_is_a_row_and_amounts_add_up_to_the_balance(finished: Session) -> None:
    settlement = settle(verify_lines(finished.journal))
    rows = list(csv.DictReader(io.StringIO(to_csv(settlement), newline="")))
    assert len(rows) == len(settlement.lines)
    (total,) = settlement.totals
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(total.balance).scaleb(-6)
    for direction, energy in (("import", total.import_mwh), ("export", total.export_mwh)):
        mine = [Decimal(row["energy_kwh"]) for row in rows if row["direction"] == direction]
        assert sum(mine) == Decimal(energy).scaleb(-6)
    twin = json.loads(to_json(settlement))
    assert [{name: value or "" for name, value in row.items()} for row in twin] == rows
    assert rows[0]["start"] == iso_time(settlement.begin.utc_ms)


@pytest.mark.parametrize("name", ["=1+1", "+49", "-x", "@sum", "\uff1d1", 'a"b,\nc'])
def test_no_text_from_elsewhere_is_a_formula(finished: Session, name: str) -> None:
    settlement = replace(settle(verify_lines(finished.journal)), station_id=name)
    row = next(csv.DictReader(io.StringIO(to_csv(settlement), newline="")))
    assert row["station_id"] == (name if name.startswith("a") else f"'{name}")


def test_times_beyond_the_calendar_are_refused() -> None:
    with pytest.raises(VerificationError, match="beyond the calendar"):
        iso_time(2**53)
