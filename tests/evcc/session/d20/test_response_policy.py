"""Every response code in every response: the vehicle does what its table says, and bears what no table foresees."""

from itertools import product
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from evcc.session.d20.response_policy import REACTIONS, Reaction, reaction
from evcc.session.ports import NeedsChanged
from evcc.session.settings import ProgramStep, ServiceConfig, SessionConfig
from tests.evcc.session.bench import T0, Bench, Identities
from tests.evcc.session.d20.failures import STAGES, reach
from tests.together import together
from v2g.iso15118.d20.messages import ac, acdp, dc, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import ResponseCode

replace = msgspec.structs.replace
RESPONSES = sorted(
    name
    for module in (cm, ac, dc, wpt, acdp)
    for name in (each.__name__ for each in module.ELEMENTS.values())
    if name.endswith("Res")
)
HANDLED = [name for name in STAGES if name not in ("SupportedAppProtocolReq", "SessionSetupReq", "AuthorizationReq")]
"""What takes any OK; the others insist on certain ones."""


def codes(kind: str) -> list[ResponseCode]:
    return [code for code in ResponseCode if code.name.startswith(kind)]


def said(name: str, code: ResponseCode) -> Any:
    return msgspec.defstruct(name, [("response_code", Any)])(code)


@together("name", RESPONSES)
def test_every_code_of_every_response_has_a_reaction(name: str) -> None:
    for code in ResponseCode:
        reacts = reaction(said(name, code))
        assert (reacts is Reaction.END) == code.name.startswith("FAILED")
        assert (reacts is Reaction.GO_ON) == code.name.startswith("OK")


def test_the_table_speaks_of_real_responses_and_of_warnings_only() -> None:
    assert set(REACTIONS) <= set(RESPONSES)
    assert all(code.name.startswith("WARNING") for by_code in REACTIONS.values() for code in by_code)


def answer(bench: Bench, code: ResponseCode) -> str:
    """Answer what waits with that code and return the next request, or why the session has closed."""
    response = replace(bench.charger.answer(bench.unanswered.pop()), response_code=code)
    count = len(bench.requests)
    bench.reply(response)
    bench.run(lambda: len(bench.requests) > count)
    return type(bench.requests[-1]).__name__ if len(bench.requests) > count else bench.closed


@pytest.mark.some(1)
@together(("stage", "code"), list(product(STAGES, codes("WARNING"))), by=itemgetter(0))
def test_every_warning_in_every_stage_is_borne_or_followed(
    identities: Identities, stage: str, code: ResponseCode
) -> None:
    if stage in ("SupportedAppProtocolReq", "SessionSetupReq"):
        return  # one has codes of its own, the other says new or old
    bench = reach(identities, stage)
    waiting = bench.unanswered[0]
    reacts = reaction(said(stage.removesuffix("Req") + "Res", code))
    following = answer(bench, code)
    assert following != "message_timeout"
    if reacts in (Reaction.TRY_ANOTHER, Reaction.STOP) or (stage == "PowerDeliveryReq" and reacts is Reaction.KEEP):
        assert following in ("PowerDeliveryReq", "SessionStopReq")
        bench.run()
        assert bench.closed == code.name
        assert not bench.contactor_closed
        return
    assert following not in ("SessionStopReq", "") or stage in ("SessionStopReq", "DC_WeldingDetectionReq")
    if reacts is Reaction.NOTE:
        note = {"message": stage.removesuffix("Req") + "Res", "code": code.name}
        assert note in bench.seen("session", "warning")
    assert waiting is not None
    bench.run()
    assert bench.closed == "finished"


@together(("stage", "code"), list(product(HANDLED, codes("OK"))), by=itemgetter(0))
def test_an_unusual_ok_is_an_ok(identities: Identities, stage: str, code: ResponseCode) -> None:
    bench = reach(identities, stage)
    answer(bench, code)
    bench.run()
    assert bench.closed == "finished"


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("PowerDeliveryReq", ResponseCode.WARNING_ScheduleRenegotiationFailed),
        ("ScheduleExchangeReq", ResponseCode.WARNING_ScheduleRenegotiationFailed),
        ("ScheduleExchangeReq", ResponseCode.WARNING_WPT),
    ],
)
def test_a_renegotiation_that_fails_leaves_the_old_schedule(
    identities: Identities, where: str, code: ResponseCode
) -> None:
    """Energy goes on as it was agreed."""
    config = SessionConfig(
        program=(ProgramStep(do="charge", energy_wh=400),),
        services=ServiceConfig(control_mode=("scheduled",)),
    )
    bench = Bench(identities, config, scale=20)
    bench.run_to("DC_ChargeLoopReq")
    bench.run(lambda: bench.now > 1001)
    held = bench.session.stage.plan.schedule  # type: ignore[attr-defined]
    bench.charger.codes[where] = code
    bench.fact(NeedsChanged(departure_ms=T0 + 3_600_000, target_soc=90.0))
    bench.run(lambda: type(bench.requests[-1]).__name__ == where)
    bench.run(lambda: type(bench.requests[-1]).__name__ == "DC_ChargeLoopReq")
    assert bench.session.stage.plan.schedule == held  # type: ignore[attr-defined]
    bench.charger.codes.clear()
    bench.run()
    assert bench.closed == "finished"
