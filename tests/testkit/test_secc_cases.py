"""Our charger in every case for chargers: it passes, and where a point is open it does what the case expects."""

from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from tests.testkit.rig import Rig, kit_of
from tests.testkit.secc_cases import EVERYTHING
from v2g import exi
from v2g.energy.grid_support import GridSupport, VoltageSupport
from v2g.iso15118.d20.charts import CHARTS, Family
from v2g.iso15118.d20.der import control, number
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.schemas import AC_DER_IEC
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_testkit.cases.case import Case, Verdict, complaint
from v2g_testkit.cases.known import Known
from v2g_testkit.cases.requests import Requests
from v2g_testkit.cases.secc_cases import secc_cases

LESS: Final = SeccConfig(
    services=(EnergyService.DC,), authorization=(Authorization.EIM,), service_renegotiation=False, pause=False
)
ABSENT: Final = ("renegotiate", "method")
"""Ends of the ids of cases that do not apply to a charger that offers everything."""


def _kind(case: Case) -> str:
    words = case.id.split("-")
    return "-".join(words[1:4] if words[1] == "SEQ" else words[1:3])


def _groups(*families: Family, quick: bool = False) -> list[tuple[str, list[Case]]]:
    found = []
    for family in families:
        cases = sorted((case for case in secc_cases(family) if case.scripts), key=_kind)
        found += [(key, [each for each in some if each.quick or not quick]) for key, some in groupby(cases, _kind)]
    return [each for each in found if each[1]]


WIRED: Final = _groups(Family.AC, Family.DC)
OTHERS: Final = (Family.WPT, Family.ACDP)


def judged(pki: PkiTree, cases: list[Case]) -> None:
    assert cases[0].family is not None
    rig = Rig(pki, cases[0].family, config=EVERYTHING)
    for case in cases:
        result = rig.run(case)
        if case.id.endswith(ABSENT):
            assert result.verdict is Verdict.NOT_APPLICABLE, result
            continue
        wrong = False
        for script, seen in zip(case.scripts, rig.seen, strict=True):
            wrong |= bool(complaint(script.expect, seen)) or not script.expect.judges
            assert script.expect.open or not complaint(script.expect, seen), result
        assert result.verdict is (Verdict.OPEN if case.open and wrong else Verdict.PASS), result


def test_a_charger_whose_back_end_takes_its_time_is_right(pki: PkiTree) -> None:
    """It answers Ongoing before it says that a contract expires soon."""
    rig = Rig(pki, Family.DC, config=EVERYTHING)
    rig.authorization_s = 2.0
    found = [rig.run(case) for case in secc_cases(Family.DC) if case.group == "AUT"]
    assert {each.case for each in found if each.verdict is not Verdict.PASS} == {"SECC-AUT-DC-method"}


@pytest.mark.some(17)
@pytest.mark.requirement("R16")
@pytest.mark.parametrize("cases", [cases for _, cases in WIRED], ids=[name for name, _ in WIRED])
def test_our_charger_passes(pki: PkiTree, cases: list[Case]) -> None:
    judged(pki, cases)


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.value)
def test_our_charger_without_a_plug_passes_some_of_each(pki: PkiTree, family: Family) -> None:
    judged(pki, [case for _, cases in _groups(family, quick=True) for case in cases])


@pytest.mark.long
@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.value)
def test_our_charger_without_a_plug_passes(pki: PkiTree, family: Family) -> None:
    judged(pki, [case for _, cases in _groups(family) for case in cases])


@pytest.mark.parametrize("end", ["renegotiate", "method", "pause-same"])
def test_a_charger_that_offers_less(pki: PkiTree, end: str) -> None:
    (case,) = (each for each in secc_cases(Family.DC) if each.id.endswith(f"-DC-{end}"))
    result = Rig(pki, Family.DC, config=LESS).run(case)
    assert result.verdict is (Verdict.NOT_APPLICABLE if end.startswith("pause") else Verdict.PASS), result


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_ids_are_unique_and_every_state_that_can_be_reached_has_its_cases(family: Family) -> None:
    cases = secc_cases(family)
    ids = [case.id for case in cases]
    assert len(ids) == len(set(ids))
    reached = {script.goal for case in cases for script in case.scripts}
    # those that are left hang on contracts that expire
    left = {"PAUSED", "CERTIFICATE_EXPIRES_SOON", "CERTIFICATE_RENEWAL"}
    assert {state.name for state in CHARTS[family].keys() - reached} == left


def test_a_charger_of_alternating_current_is_asked_nothing_that_it_cannot_decode() -> None:
    asked = {case.id.rpartition("-")[2] for case in secc_cases(Family.AC) if case.group == "SEQ"}
    assert not {each for each in asked if each.startswith(("ACDP_", "DC_", "WPT_"))}


def test_what_counts_as_out_of_order_is_out_of_order_by_the_chart(pki: PkiTree) -> None:
    """The cases are made from names; here the requests themselves are held against the chart."""
    made = Requests(Known(Family.DC), kit_of(pki))
    asked = {
        (case.scripts[0].goal, case.id.rpartition("-")[2]) for case in secc_cases(Family.DC) if case.group == "SEQ"
    }
    for state, name in asked:
        assert not accepts(state, made.make(name), CHARTS[Family.DC])
    assert (State.SESSION_STOP, "PowerDeliveryReq") in asked


# -- AC DER ----------------------------------------------------------------------------------------------------------

WITH_DER: Final = [case for case in secc_cases(Family.AC) if case.group == "DER"]


@pytest.mark.requirement("R221")
def test_our_charger_passes_the_cases_of_ac_der(pki: PkiTree) -> None:
    judged(pki, WITH_DER)


def test_a_charger_without_ac_der_is_not_judged_by_its_cases(pki: PkiTree) -> None:
    rig = Rig(pki, Family.AC, config=replace(EVERYTHING, der=None))
    assert {rig.run(case).verdict for case in WITH_DER} == {Verdict.NOT_APPLICABLE}


def _unasked(message: Any) -> Any:
    mode = replace(message.ac_cpd_res_energy_transfer_mode, der_control=control(OTHER, OTHER.functions))
    return replace(message, ac_cpd_res_energy_transfer_mode=mode)


def _above(message: Any) -> Any:
    mode = replace(message.ac_cpd_res_energy_transfer_mode, evse_nominal_charge_power=number(99_000))
    return replace(message, ac_cpd_res_energy_transfer_mode=mode)


OTHER: Final = GridSupport(volt_watt=VoltageSupport(start_v=248, stop_v=253))


@pytest.mark.parametrize("change", [_unasked, _above])
def test_a_charger_whose_demands_make_no_sense_fails(pki: PkiTree, change: Callable[[Any], Any]) -> None:
    def garbled(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC_DER_IEC:
            return data
        message: Any = exi.decode(data[8:], AC_DER_IEC)
        found = hasattr(message, "ac_cpd_res_energy_transfer_mode")
        return frame(PayloadType.AC_DER_IEC, exi.encode(change(message))) if found else data

    rig = Rig(pki, Family.AC, config=EVERYTHING)
    rig.garble = garbled
    (case,) = (each for each in WITH_DER if each.id.endswith("run-dynamic"))
    assert rig.run(case).verdict is Verdict.FAIL
