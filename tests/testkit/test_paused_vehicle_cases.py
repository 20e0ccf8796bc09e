"""The cases about a resumed session: our vehicle passes, and with one thing wrong it fails in that alone."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from pki_tools.tree import PkiTree
from tests.testkit.evcc_rig import EvccRig, settings
from tests.testkit.vehicle_tester import prepared
from v2g.iso15118.d20.charts import Family
from v2g_testkit.cases.case import Case, Verdict
from v2g_testkit.cases.evcc_cases import FAMILIES, evcc_cases
from v2g_testkit.vehicle_tester import Starter

CASES: Final[tuple[Case, ...]] = tuple(case for case in evcc_cases(Family.DC) if case.group == "PAU")


def verdicts(rig: EvccRig) -> dict[str, Verdict]:
    cases = [case for case in evcc_cases(rig.family) if case.group == "PAU"]
    return {case.id.partition(f"-{rig.family.value}-")[2]: rig.run(case).verdict for case in cases}


ALL: Final = ("resume", "forgotten", "other-session")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.value)
def test_our_vehicle_passes(pki: PkiTree, family: Family) -> None:
    assert verdicts(EvccRig(pki, family)) == dict.fromkeys(ALL, Verdict.PASS)


def test_a_vehicle_that_begins_a_new_session_is_not_judged(pki: PkiTree) -> None:
    assert verdicts(EvccRig(pki, Family.DC, keeps=False)) == dict.fromkeys(ALL, Verdict.NOT_APPLICABLE)


class NeverPauses(VehicleSession):
    """Ends its session where the charger asks for a pause."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if type(message).__name__ == "SessionStopReq":
            message = replace(message, charging_session=type(message.charging_session).Terminate)
        super()._send(message, payload_type, encoded=encoded)


def test_a_vehicle_that_does_not_pause_is_not_judged(pki: PkiTree) -> None:
    found = verdicts(EvccRig(pki, Family.DC, kind=NeverPauses))
    assert found == dict.fromkeys(ALL, Verdict.NOT_APPLICABLE)


class Resuming(VehicleSession):
    """Knows the session that it has paused before."""

    def __init__(self, config: SessionConfig, connection: Connection) -> None:
        super().__init__(config, connection)
        self.before: Any = connection.resume


class KeepsTheOldSession(Resuming):
    """Goes on with the old SessionID in a new session."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if self.before is not None and hasattr(message, "header"):
            message = replace(message, header=replace(message.header, session_id=self.before.session_id))
        super()._send(message, payload_type, encoded=encoded)


class TakesAnySession(Resuming):
    """Does not look at the SessionID of the session that it joins."""

    def _on_message(self, message: Any, payload_type: int) -> None:
        if type(message).__name__ == "SessionSetupRes" and message.response_code.name == "OK_OldSessionJoined":
            message = replace(message, header=replace(message.header, session_id=self.before.session_id))
        super()._on_message(message, payload_type)


@pytest.mark.parametrize(("kind", "wrong"), [(KeepsTheOldSession, {"forgotten"}), (TakesAnySession, {"other-session"})])
def test_a_vehicle_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type[VehicleSession], wrong: set[str]
) -> None:
    found = verdicts(EvccRig(pki, Family.DC, kind=kind, config=settings(Family.DC)))
    assert {name for name, each in found.items() if each is Verdict.FAIL} == wrong


def test_a_session_that_another_case_has_paused_may_be_asked_for(pki: PkiTree) -> None:
    pauses, renegotiates = (
        next(each for each in evcc_cases(Family.DC) if each.id == f"EVCC-NOT-DC-{notice}")
        for notice in ("Pause", "ScheduleRenegotiation")
    )
    rig = EvccRig(pki, Family.DC)
    assert rig.run(pauses).verdict is Verdict.PASS
    rig.before = rig.latest
    found = rig.run(renegotiates)
    assert found.verdict is Verdict.PASS, found.found


async def test_between_both_connections_the_vehicle_is_not_started_again(pki: PkiTree) -> None:
    class Counted(Starter):
        count = 0

        def __init__(self, pki: PkiTree, port: int) -> None:
            super().__init__(None)

        @contextlib.asynccontextmanager
        async def going(self) -> AsyncIterator[None]:
            Counted.count += 1
            yield

    result = await prepared(pki, Counted, wait_s=0.05).run(CASES[0])  # type: ignore[arg-type]
    assert result.verdict is Verdict.INCONCLUSIVE
    assert Counted.count == 1
