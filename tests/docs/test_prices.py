"""The worked example of the prices page comes out as it says."""

import json
import re
from fractions import Fraction

import msgspec

from tests.docs.documents import ROOT
from v2g.exi.json import from_json
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule
from v2g.iso15118.d20.prices import Algorithm, Flow, cost, read_prices
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

PAGE = (ROOT / "docs/reference/prices.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading, in the example."""
    table = PAGE.split("## Example")[1].split(f"| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_example_costs_what_the_page_says() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(text)
    schedule = from_json(text, COMMON_MESSAGES)
    assert isinstance(schedule, AbsolutePriceSchedule)
    begin = schedule.time_anchor * 1000
    flows = []
    for minutes, power, energy in rows("Minutes"):
        assert Fraction(energy) == Fraction(minutes) * Fraction(power) / 60_000
        flows.append(Flow(begin, begin + int(minutes) * 60_000, int(power)))
        begin = flows[-1].end_ms
    algorithms = {each.value: each for each in Algorithm}
    expected = rows("PriceAlgorithm")
    assert [each[0] for each in expected] == list(algorithms)
    for name, *amounts in expected:
        changed = msgspec.structs.replace(schedule, price_algorithm=algorithms[name].uri)
        found = cost(read_prices(changed), flows)
        reported = [found.energy, found.parking, found.overstay, sum(due for _, due in found.taxes), found.total]
        assert reported == [Fraction(each) for each in amounts], name
