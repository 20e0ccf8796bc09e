"""Messages as Python: what is written builds the message, and nothing that is read is run."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exi.codec import ANY_FRAGMENT
from tests.exi.strategies import Wishes, elements
from tests.exi.vectors import Vector
from tests.exi.vectors_support import VECTORS, ids, prefix, read
from tests.together import together
from v2g.errors import ExiEncodeError
from v2g.exi.declare import Element, Schema
from v2g.exi.model import QName
from v2g.exi.python import from_python, to_python
from v2g.iso15118.d20.schemas import DC


def run(text: str) -> Any:
    imports, _, expression = text.rpartition("\n\n")
    scope: dict[str, Any] = {}
    exec(imports, scope)
    return eval(expression, scope)


@pytest.mark.some(1)
@together("vector", VECTORS, ids=ids, by=prefix)
def test_python_builds_the_message_and_is_read_back(vector: Vector) -> None:
    element = read(vector)
    text = to_python(element)
    assert run(text) == element
    assert from_python(text, [vector.schema]) == element


@pytest.mark.long
@given(which=ANY_FRAGMENT, data=st.data())
def test_every_structure_comes_back(which: tuple[Schema, QName, type[Element]], data: st.DataObject) -> None:
    schema, _, declaration = which
    element = data.draw(elements(declaration, Wishes()))
    text = to_python(element)
    assert run(text) == element
    assert from_python(text, [schema]) == element


PIECES = ["RationalNumber", "(", ")", "exponent=", "1", ",", "-", "\n", "**", "lambda: "]


@given(text=st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ExiEncodeError):
        from_python(text, [DC])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not the Python of a message"),
        ("1 +", "not Python"),
        ("(" * 10_000, "not Python"),
        ("-" * 50_000 + "1", ""),
        ("1", "int where a message is expected"),
        ("import os\nRationalNumber(exponent=1, value=1)", "line 1: only classes of the declarations"),
        ("from os import path\nRationalNumber(exponent=1, value=1)", "line 1: only classes of the declarations"),
        ("from v2g.iso15118.d20.messages.dc import Nothing\nNothing()", "declares no Nothing"),
        ("Nothing()", "Nothing is not declared"),
        ("RationalNumber(exponent=1)", "line 1: RationalNumber: Missing required argument 'value'"),
        ("RationalNumber(exponent=1,\n value=print(1))", "line 2: print is not declared"),
        ("RationalNumber(exponent=1, value=1 + 1)", "neither a literal"),
        ("RationalNumber(**{})", "** is not supported"),
        ("RationalNumber(exponent=Processing.Never, value=1)", "Processing has no 'Never'"),
        ("RationalNumber(exponent=Processing('Never'), value=1)", "Processing has no 'Never'"),
        ("RationalNumber(exponent=RationalNumber.x, value=1)", "RationalNumber is not an enumeration"),
        ("Processing()", "Processing is not a structure"),
    ],
)
def test_everything_else_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ExiEncodeError) as caught:
        from_python(text, [DC])
    assert words in str(caught.value)
