"""What a case says of itself is said once: by its script, and by its block for all."""

import contextlib
import itertools

import pytest

from v2g.io.runtime.clock import Clock
from v2g_testkit.ocpp.case import Block, CaseTest, Failed, Inconclusive, OcppCase, Script, given

BLOCK: Block[CaseTest] = Block(profiles=("Smart Charging",), versions=("2.1",), needs=("V2X",))


async def _steps(t: CaseTest) -> None:
    """Steps of several cases."""
    t.check(t is None, "A00.FR.999", "what they check is not seen in the script")


async def written(t: CaseTest) -> None:
    """The station does it,
    and says so.
    """

    def again() -> None:
        raise Failed("not again", "A01.FR.03")

    for each in ("A01.FR.02", "no id: A01.FR.2x"):
        t.check(each != "", each, "B01.FR.01 in a sentence is none")
    again()
    await _steps(t)


def _added(**said: object) -> OcppCase[CaseTest]:
    script: Script[CaseTest] = BLOCK.case("TC_A_01_CS", "Title", **said)(written)  # type: ignore[arg-type]
    assert script is written
    return BLOCK.cases[-1]


def test_a_case_requires_what_its_script_says_and_names() -> None:
    case = _added(also=("A00.FR.999",))
    assert case.required == "The station does it, and says so."
    assert case.requirements == ("A00.FR.999", "A01.FR.02", "A01.FR.03")
    assert (case.profiles, case.versions, case.needs) == (("Smart Charging",), ("2.1",), ("V2X",))


def test_what_a_case_is_given_comes_first() -> None:
    case = _added(required="That.", requirements=("B01.FR.01",), profiles=("Core",), versions=("2.0.1",), needs=())
    assert (case.required, case.requirements) == ("That.", ("B01.FR.01",))
    assert (case.profiles, case.versions, case.needs) == (("Core",), ("2.0.1",), ())
    assert _added(requirements=()).requirements == ()


def test_ids_may_be_one_text() -> None:
    assert _added(requirements="B01.FR.02 B01.FR.01").requirements == ("B01.FR.02", "B01.FR.01")
    assert _added(also="A00.FR.999").requirements == ("A00.FR.999", "A01.FR.02", "A01.FR.03")


def test_a_block_having_something_else_adds_to_the_same_cases() -> None:
    core = BLOCK.having(profiles=("Core",), booted=True)
    core.case("TC_A_02_CS", "Title")(written)
    case = BLOCK.cases[-1]
    assert (case.id, case.profiles, case.versions, case.needs) == ("TC_A_02_CS", ("Core",), ("2.1",), ("V2X",))
    assert case.booted
    assert not _added().booted


async def test_a_step_that_fails_on_the_way_makes_a_case_inconclusive() -> None:
    done: list[str] = []

    async def step(name: str) -> str:
        done.append(name)
        if name == "second":
            raise Failed("does not come", "A01.FR.02")
        return name

    assert await given(step("first"), step("last")) == "last"
    with pytest.raises(Inconclusive, match=r"does not come \(A01.FR.02\)"):
        await given(step("first"), step("second"), step("never"))  # which is closed: no warning
    assert done == ["first", "last", "first", "second"]


def test_a_value_that_is_not_as_wanted_fails() -> None:
    t = CaseTest(Clock(), itertools.count(), contextlib.AsyncExitStack())
    assert t.equal(1, 1, "A01.FR.02", "it is {}") == 1
    assert t.one_of("a", ("a", "b"), "A01.FR.02", "it is {}") == "a"
    assert t.judged == 2
    with pytest.raises(Failed, match=r"it is 2 \(A01.FR.02\)"):
        t.equal(2, 1, "A01.FR.02", "it is {}")
    with pytest.raises(Failed, match=r"it is 'c' \(A01.FR.03\)"):
        t.one_of("c", ("a", "b"), "A01.FR.03", "it is {!r}")
