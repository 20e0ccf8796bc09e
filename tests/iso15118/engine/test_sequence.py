"""What all editions share of their charts."""

from v2g.iso15118.d2.charts import CHARTS as CHARTS_2
from v2g.iso15118.d20.charts import AC_DER, CHARTS, SIDE_CHARTS
from v2g.iso15118.din.charts import CHART as CHART_DIN
from v2g.iso15118.engine.sequence import Asks, Edge, Says, State, edges, extended

EVERY = (*CHARTS.values(), AC_DER, *SIDE_CHARTS.values(), *CHARTS_2.values(), CHART_DIN)


def test_every_state_belongs_to_a_chart_of_an_edition() -> None:
    assert {state for chart in EVERY for state in chart} == set(State)


def test_every_condition_is_used_by_an_edition() -> None:
    used = [edge for chart in EVERY for _, _, edge in edges(chart)]
    assert {edge.asks for edge in used} == set(Asks)
    assert {edge.says for edge in used} == set(Says)


def test_every_edge_leads_to_a_state_of_its_chart() -> None:
    for chart in EVERY:
        assert {edge.to for _, _, edge in edges(chart)} <= set(chart)


def test_a_charts_own_edges_come_before_those_it_is_extended_with_and_none_twice() -> None:
    stay, end = Edge(State.POWER_DELIVERY), Edge(State.ENDED)
    chart = {State.POWER_DELIVERY: {"A": (stay,)}, State.ENDED: {}}
    more = {State.POWER_DELIVERY: {"A": (end, stay), "B": (end,)}}
    assert extended(chart, more) == {State.POWER_DELIVERY: {"A": (stay, end), "B": (end,)}, State.ENDED: {}}
