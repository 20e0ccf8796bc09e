"""Every response code that the charger can say stands in the reference, with the tests that prove it."""

import pytest

from docs import response_codes
from docs.response_codes import OLDER, emitted, proofs
from tests.docs.documents import ROOT
from tests.together import together
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.response_codes import USES
from v2g.iso15118.engine.app_protocol import ResponseCode as ProtocolCode

pytestmark = pytest.mark.one_worker("pages")  # what pages are made of takes seconds, and is kept for all of them

RESPONSES = {
    each.__name__
    for module in (cm, ac, dc, wpt, acdp)
    for each in module.ELEMENTS.values()
    if each.__name__.endswith("Res")
}

EXPLAINED = {*USES, *(each.name for each in ProtocolCode)}


def test_every_code_of_the_schema_is_explained_in_its_order() -> None:
    assert list(USES) == [code.name for code in ResponseCode]
    assert {name for use in USES.values() for name in use.responses} <= RESPONSES | {"every"}


def test_every_code_that_a_charger_can_meet_is_said_somewhere() -> None:
    assert set(USES) <= set(emitted())
    assert {code.name for code in ProtocolCode} <= set(emitted())


def test_every_code_that_is_said_somewhere_is_explained() -> None:
    older = {code for codes in OLDER.values() for code in codes}  # modules that editions share say theirs, too
    assert set(emitted()) <= EXPLAINED | older


@pytest.mark.parametrize("edition", sorted(OLDER))
def test_a_code_that_is_said_in_an_older_edition_is_explained_and_tested(edition: str) -> None:
    said = set(emitted(edition)) - {code.name for code in ProtocolCode}
    assert len(said) > 10
    assert said <= set(OLDER[edition])
    assert not [code for code in said if not proofs().get(code)]


@together("code", sorted(EXPLAINED))
def test_a_code_that_can_be_said_is_tested(code: str) -> None:
    assert proofs().get(code), f"no test asserts {code}"


def test_the_tests_that_are_named_exist_in_their_files() -> None:
    for ids in proofs().values():
        for each in ids:
            file, _, name = each.partition("::")
            assert f"def {name}(" in (ROOT / file).read_text()


def test_a_code_that_nobody_asserts_is_noticed() -> None:
    """What the search takes for a test of a code, and what not."""
    import ast

    tree = ast.parse(
        "def test_a():\n  assert x == 'FAILED_SequenceError'\n"
        "def test_b():\n  x = 'FAILED_UnknownSession'\n"
        "def helper():\n  assert x is ResponseCode.FAILED\n"
        "@parametrize(ResponseCode.WARNING_WPT)\ndef test_c(): pass\n"
    )
    assert dict(response_codes.asserted(tree)) == {
        "test_a": {"FAILED_SequenceError"},
        "test_b": set(),
        "test_c": {"WARNING_WPT"},
    }
