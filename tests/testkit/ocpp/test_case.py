"""What a case says of itself is said once: by its script, and by its block for all."""

from v2g_testkit.ocpp.case import Block, CaseTest, Failed, OcppCase, Script

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
