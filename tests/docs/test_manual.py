"""What the page says of the manual's names holds: its commands show it, or files do (R216)."""

from pathlib import Path

import pytest

from docs.manual import rows
from tests.docs.documents import ROOT, Command, steps
from tests.docs.reader import Reader
from tests.packages import need

PAGE = ROOT / "docs" / "how-to" / "from-the-manual.md"
NAMES = (
    *("/etc/v2g-engine/config.yaml", "voltmeter_offset", "0x1A4", "0x2B9", "eBPF", "uwsgi.ini", "serial console"),
    *("thermal inertia", "AIS-156", "ifconfig can0", "mosquitto_sub", "journald", "/var/log/v2g-bridge.log"),
)
"""What the requirements quote of it."""


@pytest.mark.requirement("R216")
def test_each_name_is_in_a_row_that_can_be_checked() -> None:
    members = {name: row for section in rows().values() for name, row in section.items()}
    assert [name for name, row in members.items() if bool(row.run) == bool(row.file)] == []
    assert [name for name in NAMES if not any(name in each for each in members)] == []
    files = {name: row for name, row in members.items() if row.file}
    assert [name for name, row in files.items() if row.shows not in (ROOT / row.file).read_text()] == []


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R216")
def test_each_command_of_the_manual_s_rows_shows_what_the_row_says(tmp_path: Path) -> None:
    need("mosquitto")
    need("mosquitto-clients", program="mosquitto_sub")
    reader, wrong = Reader(tmp_path), dict[str, str]()
    try:
        for step in steps(PAGE.read_text()):
            reader.do(step)
        for row in (row for section in rows().values() for row in section.values() if row.run):
            try:
                reader.do(Command(f"{{ {row.run}; }} > shown 2>&1", row.exit))
            except AssertionError as error:
                wrong[row.run] = str(error).splitlines()[0]
            if row.shows not in " ".join((tmp_path / "shown").read_text().split()):
                wrong[row.run] = (tmp_path / "shown").read_text()
    finally:
        reader.leave()
    assert wrong == {}
