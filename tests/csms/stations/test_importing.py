"""Stations of a file: what is wrong in it is said by line, whatever it contains."""

from hypothesis import given
from hypothesis import strategies as st

from csms.sites.rules import Place, Site
from csms.stations.importing import MOST_LINES, placed, read_stations
from tests.together import together
from v2g.energy.balancing import Node

FUSE = (63_000, 63_000, 63_000)
NORTH = Site(
    id="north",
    nodes=(Node(id="main", limits=FUSE),),
    places=(Place(station_id="CS-OLD", evse_id=1, node="main", most_ma=32_000),),
)
SOUTH = Site(id="south", nodes=(Node(id="main", limits=FUSE), Node(id="yard", parent="main", limits=FUSE)))
SITES = {"north": NORTH, "south": SOUTH}


def test_a_file_says_where_stations_are_behind_which_fuse() -> None:
    text = "\ufeffStation;Site;Node;EVSEs;most_A\nCS-1;north;;2;63\nCS-2;south;yard;;\nCS-3;;;;\n"
    one, two, three = read_stations(text, ["CS-3"], SITES)
    assert (one.site, one.node, one.evses, one.most_a, one.known, one.wrong) == ("north", "main", 2, 63, False, None)
    assert (two.node, two.evses, two.most_a) == ("yard", 1, 32)
    assert (three.known, three.site) == (True, "")
    site = placed(NORTH, [one])
    added = [(each.id, each.node, each.most_ma) for each in site.places[1:]]
    assert added == [("CS-1/1", "main", 63_000), ("CS-1/2", "main", 63_000)]


@together(
    ("line", "said"),
    [
        ("CS 1,,,,", "letters, digits"),
        (f"{'x' * 49},,,,", "letters, digits"),
        ("CS-1,none,,,", "no site"),
        ("CS-1,north,yard,,", "no node"),
        ("CS-1,south,,,", "several nodes"),
        ("CS-1,north,main,0,", "from {least}"),
        ("CS-1,north,main,1,99999", "from {least}"),
        ("CS-1,north,main,\u0661,", "from {least}"),
        ("CS-OLD,north,main,,", "at a site already"),
        ('CS-1,"', "not CSV"),
    ],
)
def test_what_is_wrong_is_said_of_its_line(line: str, said: str) -> None:
    *_, last = read_stations(f"station,site,node,evses,most_a\n{line}", [], SITES)
    assert last.wrong is not None
    assert said in last.wrong.text
    assert last.wrong.text.format_map(last.wrong.values)


def test_a_file_without_lines_or_columns_is_one_wrong_line_and_a_long_one_is_cut() -> None:
    for text in ("", "name\nCS-1", "station\n"):
        (only,) = read_stations(text, [], {})
        assert only.wrong is not None
    lines = "\n".join(f"CS-{each}" for each in range(MOST_LINES + 9))
    assert len(read_stations(f"station\n{lines}", [], {})) == MOST_LINES
    first, second = read_stations("station\nCS-1\nCS-1", [], {})
    assert first.wrong is None
    assert second.wrong is not None


@given(st.text(max_size=300), st.sampled_from(["", "station,site,node,evses,most_a\n", "station;site\n", "station\n"]))
def test_any_text_is_lines_with_what_is_wrong(text: str, head: str) -> None:
    for each in read_stations(head + text, ["CS-1"], SITES):
        if each.wrong is not None:
            assert each.wrong.text.format_map(each.wrong.values)
        elif each.site:
            placed(SITES[each.site], [each])
