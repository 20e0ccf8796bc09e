"""QR codes to print, read from their pages by a scanner that we did not write."""

import re
from html import unescape

import numpy as np
import zxingcpp

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient
from tests.csms.console.support import employ


def scanned(svg: str) -> str:
    """Return what a scanner reads in a picture: dark lines, a unit wide, on a light ground, eight pixels a unit."""
    box = re.search(r'viewBox="0 0 (\d+) \1"', svg)
    ground, lines = re.findall(r'd="([^"]+)"', svg)
    assert box is not None
    size = int(box[1])
    assert ground == f"M0 0h{size}v{size}h-{size}z"
    pixels = np.full((size, size), 255, np.uint8)
    x = y = 0.0
    for kind, first, _, second in re.findall(r"([Mmh])(-?[\d.]+)( (-?[\d.]+))?", lines):
        if kind == "h":
            pixels[int(y), int(x) : int(x) + int(first)] = 0
            x += int(first)
        else:
            x, y = (float(first), float(second)) if kind == "M" else (x + float(first), y + float(second))
    (found,) = zxingcpp.read_barcodes(np.kron(pixels, np.ones((8, 8), np.uint8)))
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found.text


async def test_a_station_has_codes_to_print_for_drivers_and_its_installer(ask: ApiClient) -> None:
    station = "CS-V2G-0001"
    await ask.backend.booted(station)
    (driver,) = (await ask("GET", f"/stations/{station}/driver-pages")).json
    ada = await employ(ask, "ada", Role.VIEWER)
    page = (await ada.get(f"/console/stations/{station}/codes")).body.decode()
    pictures = re.findall(r'<span role="img" aria-label="([^"]+)">(<svg.+?</svg>)</span>', page)
    addresses = [f"https://console.test/console/stations/{station}", f"https://console.test{driver['path']}"]
    assert [scanned(svg) for _, svg in pictures] == addresses == [unescape(name) for name, _ in pictures]
    assert all(len(svg) < 4000 for _, svg in pictures)
    hostile = await ada.get(f"/console/stations/{station}/codes", host='x"><script>')
    assert "<script>" not in hostile.body.decode()
