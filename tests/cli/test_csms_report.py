"""`v2g csms report`: all transactions that ended, as table, CSV and picture."""

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sqlalchemy import Connection

from csms.accounts.rules import Role
from csms.db.store import open_store
from csms.stations.store import touch
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import IMPORT_REGISTER, Event, Sample
from tests.cli.csms import Cli, boot, cli
from tests.csms.conftest import start
from tests.csms.settlement.journals import T0, delivery, journal, seen, transfer
from tests.csms.support import STATION

__all__ = ["cli", "start"]

FORMULA = "=HYPERLINK(1)\x1b[31m"


def ordinary(connection: Connection) -> None:
    """Store a transaction without a price, whose station reported a tariff that is a formula."""
    touch(connection, "CS-2", "ocpp2.1", T0)
    for number, kind in enumerate(("Started", "Ended")):
        at_ms = T0 + number * 60_000
        sample = Sample(at_ms=at_ms, measurand=IMPORT_REGISTER, value=str(100 + 1500 * number), unit="Wh")
        event = Event(
            station_id="CS-2", transaction_id="t", seq_no=number, kind=kind, at_ms=at_ms, trigger="",  # type: ignore[arg-type]
            digest=kind, tariff_id=FORMULA, samples=(sample,),
        )  # fmt: skip
        add_events(connection, [EventArrival(event, b'{"transactionInfo":{}}', at_ms)])


@pytest.mark.requirement("R33")
async def test_a_report_is_a_table_a_csv_file_and_a_picture(cli: Cli, tmp_path: Path) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        seen(cli.csms, journal())
        await transfer(station, delivery(journal()))
    store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
    store.do(ordinary)
    store.close()
    code, output, _ = await cli("report", "--by", "station", role=Role.BILLING)
    rows = [line.split("\t") for line in output.splitlines()]
    assert (code, [[*row[:3], *row[5:8]] for row in rows]) == (
        0, [["CS-2", "", "1", "0", "1.5", "0"], [STATION, "EUR", "1", "0", "2", "1"]]
    )  # fmt: skip
    assert (rows[0][8:], rows[1][9:]) == (["60", "", "", ""], ["0.40", "0.00", "0.40"])
    assert [each["transactions"] for each in await cli.records("report", "--by", "tariff")] == [1, 1]
    code, output, _ = await cli("report", "--by", "tariff")
    assert (code, "\x1b" in output) == (0, False)
    file = tmp_path / "tariffs.csv"
    assert (await cli("report", "--by", "tariff", "--csv", str(file)))[:2] == (0, "")
    table = list(csv.reader(io.StringIO(file.read_text())))
    assert table[0][:3] == ["tariff", "currency", "transactions"]
    assert [row[0] for row in table[1:]] == ["", f"'{FORMULA}"], "no cell starts a formula"
    assert file.stat().st_mode & 0o077 == 0
    assert (await cli("report", "--csv", "-"))[1].startswith("month,currency,")
    for by in ("day", "month"):
        picture = tmp_path / f"{by}.svg"
        assert (await cli("report", "--by", by, "--plot", str(picture)))[:2] == (0, "")
        drawn = ElementTree.fromstring(picture.read_text())
        assert drawn.get("aria-label") == f"Transactions by {by}"
        assert "gross, EUR" in picture.read_text()
    for words, code, text in (
        (("--by", "colour"), 2, "month, day, site, station, token or tariff"),
        (("--plot", str(tmp_path / "no.svg"), "--by", "token"), 2, "--by month or --by day"),
        (("--plot", str(tmp_path / "no.svg"), "--to", "2000-01-01"), 2, "nothing to draw"),
        (("--from", "2026-13-01"), 2, "from_day"),
        (("--csv", str(file)), 2, "exists"),
    ):
        found, _, errors = await cli("report", *words)
        assert (found, text in errors) == (code, True), errors
    assert (await cli("report", role=Role.INSTALLER))[0] == 4
