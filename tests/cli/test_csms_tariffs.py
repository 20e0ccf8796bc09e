"""`v2g csms tariffs`: tariffs stored from files, where they apply, and what an example costs."""

from pathlib import Path

import pytest

from csms.accounts.rules import Role
from tests.cli.csms import Cli, cli
from tests.csms.conftest import start

__all__ = ["cli", "start"]

SUMMER = """
id = "summer"
currency = "EUR"
description = "Summer \\u001B[31m"
energy = {rates = [{price = "0.50"}], taxes = [{kind = "VAT", ppm = 190000}]}
export = {rates = [{price = "0.20"}]}
"""


@pytest.mark.long
@pytest.mark.requirement("R33")
async def test_a_tariff_is_stored_priced_assigned_and_deleted(cli: Cli, tmp_path: Path) -> None:
    assert (await cli("tariffs", "list"))[1:] == ("", "Tariffs, without tax: none\n")
    file = tmp_path / "summer.toml"
    file.write_text(SUMMER)
    code, priced, errors = await cli("tariffs", "price", "--file", str(file), "--import-kwh", "10.01")
    assert (code, errors) == (0, "")
    assert "5.96 EUR with tax, 5.01 EUR without" in priced, "as it can be paid: 5.95595 and 5.005"
    assert await cli.records("tariffs", "list") == [], "an example stores nothing"
    (stored,) = await cli.records("tariffs", "set", str(file), "--everywhere")
    assert await cli.records("tariffs", "show", "summer", role=Role.VIEWER) == [stored]
    words = ("tariffs", "price", "summer", "--import-kwh", "10", "--export-kwh", "5", "--idle-min", "9")
    (cost,) = await cli.records(*words)
    assert (cost["incl_tax"], {each["kind"]: each["incl_tax"] for each in cost["lines"]}) == (
        "4.95", {"energy": "5.95", "export": "-1.00"}
    )  # fmt: skip
    _, table, _ = await cli("tariffs", "list")
    assert "\x1b" not in table
    assert table.split("\t")[:4] == ["summer", "EUR", "0.50", "0.20"]
    assert table.split("\t")[7] == "every station"
    code, _, errors = await cli("tariffs", "delete", "summer")
    assert (code != 0, "summer" in errors) == (True, True), "it applies somewhere"
    winter = tmp_path / "winter.json"
    winter.write_text('{"id": "winter", "currency": "EUR", "fixed": {"rates": [{"price": "1"}]}}')
    await cli.records("tariffs", "set", str(winter), "--station", "CS-9")
    _, table, _ = await cli("tariffs", "list")
    assert [line.split("\t")[7] for line in table.splitlines()] == ["every station", "CS-9"]
    await cli.records("tariffs", "set", str(winter), "--everywhere")
    assert (await cli("tariffs", "delete", "summer"))[0] == 0
    assert [each["id"] for each in await cli.records("tariffs", "list")] == ["winter"]


async def test_what_is_no_tariff_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SUMMER.replace('price = "0.50"', 'price = "cheap"'))
    for words, code, text in (
        (("set", str(file)), 2, "energy"),
        (("set", str(tmp_path / "none.toml")), 2, "none.toml"),
        (("set", str(file), "--everywhere", "--station", "CS-1"), 2, "one of --station"),
        (("price",), 2, "--file"),
        (("price", "unknown"), 5, "plan"),
    ):
        found, _, errors = await cli("tariffs", *words)
        assert (found, text in errors) == (code, True), errors
    file.write_text(SUMMER)
    assert (await cli("tariffs", "set", str(file), role=Role.VIEWER))[0] == 4
