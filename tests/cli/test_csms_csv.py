"""Stations and tokens as CSV: what is exported is imported, and no faulty file changes anything."""

import stat
from pathlib import Path

import pytest

from tests.cli.csms import Cli, cli
from tests.csms.conftest import start

__all__ = ["cli", "start"]


async def test_tokens_go_out_and_come_back_with_terms_that_the_file_does_not_have(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    terms = '{"terms": {"group_id": "fleet", "language1": "de"}}'
    assert (await cli("request", "PUT", "/tokens/ISO14443/04A1B2C3", terms))[0] == 0
    assert (await cli("allow", "=SUM+1", "--until", "2027-01-01T00:00:00"))[0] == 0
    before = await cli.records("tokens")
    code, output, errors = await cli("csv", "export", "tokens", str(file))
    assert (code, f"{len(before)} tokens written" in output) == (0, True), errors
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Central,'=SUM+1,Accepted,,2027-01-01T00:00:00+00:00," in file.read_text().splitlines()
    assert (await cli("csv", "export", "tokens", str(file)))[0] != 0, "no file is overwritten"
    for each in before:
        if each["id_token"] in ("04A1B2C3", "=SUM+1"):
            await cli("request", "DELETE", f"/tokens/{each['token_type']}/{each['id_token']}".replace("=", "%3D"))
    text = file.read_text()
    file.write_text(text)
    assert (await cli("request", "PUT", "/tokens/ISO14443/04A1B2C3", '{"terms": {"language1": "de"}}'))[0] == 0
    code, output, errors = await cli("csv", "import", "tokens", str(file))
    assert (code, f"{len(before)} tokens stored" in output) == (0, True), errors
    assert await cli.records("tokens") == before


async def test_stations_are_admitted_and_refused_from_a_spreadsheet(cli: Cli, tmp_path: Path) -> None:
    file, again = tmp_path / "stations.csv", tmp_path / "again.csv"
    for between in (b",", b";"):  # where the decimal separator is a comma, spreadsheets write ;
        lines_of_file = b"station,place,decision\r\nCS-A,north,\r\nCS-B,south,Refused\r\n".replace(b",", between)
        file.write_bytes(b"\xef\xbb\xbf" + lines_of_file)
        code, output, errors = await cli("csv", "import", "stations", str(file))
        assert (code, "2 stations stored" in output) == (0, True), errors
    assert (await cli("csv", "export", "stations", str(again)))[0] == 0
    lines = again.read_text().splitlines()
    assert lines[0] == "station,decision,vendor,model,serial_number,firmware"
    assert {"CS-A,Accepted,,,,", "CS-B,Refused,,,,"} <= set(lines)


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"station,decision\nCS-A,Accepted\nCS-B,Maybe\n", ":3: decision is 'Maybe'"),
        (b"station\nCS-A\nCS-B,Accepted\n", ":3: 1 cells expected"),
        (b"station,decision\n,Accepted\n", ":2: station is empty"),
        (b"name\nCS-A\n", ":1: no column station"),
        (b"station\n", "no lines below its header"),
        (b"", "no column station"),
        (b"station\n\xff\n", "not UTF-8"),
        (b'station\n"CS-A\n', "invalid CSV"),
    ],
)
async def test_a_faulty_file_changes_nothing(cli: Cli, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "stations.csv"
    file.write_bytes(content)
    code, output, errors = await cli("csv", "import", "stations", str(file))
    assert (code != 0, output, said in errors) == (True, "", True), errors
    assert "CS-A" not in str(await cli.records("admissions"))


async def test_a_line_that_the_back_end_refuses_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text("type,token,status\nCentral,one,Accepted\nCentral,two,Perhaps\n")
    code, _, errors = await cli("csv", "import", "tokens", str(file))
    assert (code != 0, f"{file}:3: " in errors) == (True, True), errors
