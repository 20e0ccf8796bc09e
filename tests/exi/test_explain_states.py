"""Grammars, generated source and pages as people read them."""

import ast

import pytest
from lxml import etree

from tests.exi.vectors import Vector
from tests.exi.vectors_support import VECTORS, ids, prefix
from tests.together import together
from v2g.exi.declare import Element
from v2g.exi.decoder import write_decoder
from v2g.exi.encoder import write_encoder
from v2g.exi.explain import explain, readable_source
from v2g.exi.explain_html import to_html
from v2g.exi.explain_states import grammar_of
from v2g.exi.model import model_of
from v2g.exi.source import SourceText
from v2g.iso15118.select import NAMESPACES


def types() -> list[type[Element]]:
    found = [kind for schema in NAMESPACES.values() for each in schema.closure() for kind in each.types()]
    return list(dict.fromkeys(found))


def module(kind: type[Element]) -> str:
    return kind.__module__.rpartition(".")[2]


@together("kind", types(), ids=lambda kind: kind.__name__, by=module)
def test_states_lead_to_states_and_codes_fit_their_bits(kind: type[Element]) -> None:
    grammar = grammar_of(kind)
    states = dict(grammar.states())
    assert grammar.first in states
    for state in states.values():
        assert [each.code for each in state.productions] == list(range(len(state.productions)))
        assert len(state.productions) < 1 << state.width  # one code is left for deviations
        assert all(each.next is None or each.next in states for each in state.productions)
    assert any(each.event == "EE" for state in states.values() for each in state.productions)


@pytest.mark.some(4)
@together("kind", types(), ids=lambda kind: kind.__name__, by=module)
def test_readable_source_is_the_generated_source(kind: type[Element]) -> None:
    lines = []
    for write in (write_decoder, write_encoder):
        source = SourceText()
        write(model_of(kind), source)
        lines += source.lines
    assert ast.dump(ast.parse(readable_source(kind))) == ast.dump(ast.parse("\n".join(lines)))


@pytest.mark.some(2)
@together("vector", [each for each in VECTORS if each.variant.startswith(("min", "max"))], ids=ids, by=prefix)
def test_pages_are_well_formed(vector: Vector) -> None:
    page = to_html(explain(vector.octets, vector.schema, is_fragment=vector.fragment))
    assert etree.fromstring(page.encode()) is not None
    broken = to_html(explain(vector.octets[:-2] + b"\xff", vector.schema, is_fragment=vector.fragment))
    assert etree.fromstring(broken.encode()) is not None
