"""Stations of a file (CSV): what each line asks for, and what is wrong with it, before anything is changed."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from csms.sites.rules import Place, Site
from v2g.energy.settlement.rows import csv_records, unmarked
from v2g.io.websocket.server import IDENTITY

MOST_OCTETS: Final = 1_000_000
MOST_LINES: Final = 5000

_NUMBERS: Final = {"evses": (1, 1, 20), "most_a": (32, 6, 1000)}
"""Columns with a number: the usual one, the least and the greatest."""


class Wrong(NamedTuple):
    """What is wrong: a text with its fields' values."""

    text: str
    values: Mapping[str, str] = {}


class ImportedStation(msgspec.Struct, frozen=True, kw_only=True):
    """A line: a station, and its EVSEs 1 to `evses` behind a node of a site, "" for none, with at most `most_a` A each.

    `wrong`: why it is left out.
    """

    line: int
    station: str
    known: bool = False
    site: str = ""
    node: str = ""
    evses: int = 1
    most_a: int = 32
    wrong: Wrong | None = None


def read_stations(text: str, known: Iterable[str], sites: Mapping[str, Site]) -> list[ImportedStation]:
    """Return the stations of a file with the columns station, site, node, evses and most_a, of which only the first is
    needed; separated by commas or semicolons. `known`: stations that are admitted.

    A file that is none has one wrong line.
    """
    reader = csv_records(io.StringIO(text, newline=""))
    admitted, seen = frozenset(known), set[str]()
    taken = {(each.station_id, each.evse_id) for site in sites.values() for each in site.places}
    found: list[ImportedStation] = []
    try:
        names = {name: name.strip().lower().lstrip("\ufeff") for name in reader.fieldnames or ()}
        if "station" not in names.values():
            return [_wrong(1, "", "The first line names the columns: station, site, node, evses, most_a")]
        for row in reader:
            cells = {names[name]: unmarked((value or "").strip()) for name, value in row.items() if name in names}
            each = _line(reader.line_num, cells, sites)
            if each.wrong is None and each.station in seen:
                each = _wrong(each.line, each.station, "The station is listed twice")
            evses = {(each.station, number) for number in range(1, each.evses + 1)}
            if each.wrong is None and each.site and evses & taken:
                each = _wrong(each.line, each.station, "Its EVSEs are at a site already")
            seen.add(each.station)
            found.append(replace(each, known=each.station in admitted))
            if len(found) == MOST_LINES:
                break
    except (csv.Error, ValueError):  # a cell of more than 128 kB; NUL
        found.append(_wrong(reader.line_num, "", "The line is not CSV"))
    return found or [_wrong(1, "", "There is no line below the first one")]


def _line(number: int, cells: Mapping[str, str], sites: Mapping[str, Site]) -> ImportedStation:
    station, site_id, node = (cells.get(each, "") for each in ("station", "site", "node"))
    if not IDENTITY.fullmatch(station):
        return _wrong(number, station, "A station's name has at most 48 letters, digits and * _ = + | @ . -")
    site = sites.get(site_id)
    if site_id and site is None:
        return _wrong(number, station, "There is no site {site}", site=site_id)
    nodes = [each.id for each in site.nodes] if site else []
    if node and node not in nodes:
        return _wrong(number, station, "The site has no node {node}", node=node)
    if site and not node:
        if len(nodes) > 1:
            return _wrong(number, station, "The site has several nodes: name one")
        node = nodes[0]
    evses, most_a = (_number(cells.get(name, ""), *bounds) for name, bounds in _NUMBERS.items())
    if evses is None or most_a is None:
        name = "evses" if evses is None else "most_a"
        least, most = map(str, _NUMBERS[name][1:])
        return _wrong(number, station, "{name} is a number from {least} to {most}", name=name, least=least, most=most)
    return ImportedStation(line=number, station=station, site=site_id, node=node, evses=evses, most_a=most_a)


def _number(said: str, usual: int, least: int, most: int) -> int | None:
    """Return a number of a cell, `usual` of an empty one, None of another one."""
    if not said:
        return usual
    fits = said.isascii() and said.isdecimal() and len(said) < 6 and least <= int(said) <= most
    return int(said) if fits else None


def _wrong(line: int, station: str, text: str, **values: str) -> ImportedStation:
    wrong = Wrong(text, {name: of[:60] for name, of in values.items()})
    return ImportedStation(line=line, station=station[:60], wrong=wrong)


def placed(site: Site, stations: Iterable[ImportedStation]) -> Site:
    """Return a site with the EVSEs of stations of a file."""
    added = tuple(
        Place(station_id=each.station, evse_id=number, node=each.node, most_ma=1000 * each.most_a)
        for each in stations
        for number in range(1, each.evses + 1)
    )
    return replace(site, places=site.places + added)
