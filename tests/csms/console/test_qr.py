"""QR codes: module by module those of a package that we did not write, and pages that have them."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from csms.accounts.rules import Role
from csms.console import qr
from tests.csms.api.support import ApiClient
from tests.csms.console.support import employ

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "qr.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["codes"], ids=lambda each: f"version {each['version']}")
def test_a_code_is_that_of_another_implementation(vector: dict[str, str]) -> None:
    made = qr.code(vector["text"], int(vector["mask"]))
    assert [f"{sum(dark << at for at, dark in enumerate(reversed(row))):x}" for row in made] == vector["rows"]


@settings(max_examples=20)
@given(some.text(max_size=300))
def test_any_text_has_a_code_or_is_too_long(text: str) -> None:
    if len(text.encode()) > qr.MOST:
        with pytest.raises(ValueError, match="at most 213 octets"):
            qr.code(text)
    else:
        made = qr.code(text)
        assert {len(row) for row in made} == {len(made)}
        assert qr.svg(text, text).count("<path") == 1


async def test_a_station_has_codes_to_print_for_drivers_and_its_installer(ask: ApiClient) -> None:
    station = "CS-V2G-0001"
    await ask.backend.booted(station)
    (driver,) = (await ask("GET", f"/stations/{station}/driver-pages")).json
    ada = await employ(ask, "ada", Role.VIEWER)
    page = (await ada.get(f"/console/stations/{station}/codes")).body.decode()
    shown = re.findall(r'<path d="([^"]+)" fill="#000"', page)
    addresses = [f"https://console.test/console/stations/{station}", f"https://console.test{driver['path']}"]
    assert shown == [re.findall(r'<path d="([^"]+)"', qr.svg(each, ""))[0] for each in addresses]
    assert all(each in page for each in addresses)
    hostile = await ada.get(f"/console/stations/{station}/codes", host='x"><script>')
    assert "<script>" not in hostile.body.decode()
    assert "<script>" not in qr.svg("x", '"><script>')
