"""Negative responses keep the control mode and the directions of what they answer (V2G20-736, -1600)."""

import pytest

from secc.session.config import SeccConfig
from secc.session.d20.refusal import refusal
from tests.secc.session.bench import AC_BPT, DC_BPT
from tests.secc.session.conftest import MakeBench
from v2g import exi
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.v2gtp import PayloadType

DC, AC = 2, 1


@pytest.mark.parametrize("scheduled", [True, False])
@pytest.mark.parametrize(
    ("name", "service", "stream"),
    [
        ("DC_ChargeParameterDiscoveryReq", DC, PayloadType.DC),
        ("DC_ChargeParameterDiscoveryReq", DC_BPT, PayloadType.DC),
        ("AC_ChargeParameterDiscoveryReq", AC, PayloadType.AC),
        ("AC_ChargeParameterDiscoveryReq", AC_BPT, PayloadType.AC),
        ("ScheduleExchangeReq", DC, PayloadType.COMMON),
        ("DC_ChargeLoopReq", DC, PayloadType.DC),
        ("DC_ChargeLoopReq", DC_BPT, PayloadType.DC),
        ("AC_ChargeLoopReq", AC, PayloadType.AC),
        ("AC_ChargeLoopReq", AC_BPT, PayloadType.AC),
    ],
)
def test_a_refusal_answers_in_the_mode_of_its_request(
    make_bench: MakeBench, name: str, service: int, stream: PayloadType, scheduled: bool
) -> None:
    bench = make_bench()
    bench.selection, bench.scheduled = (service, 0, False), scheduled
    request = bench.ask(name)
    response = refusal(request, "FAILED", bench.header(), SeccConfig())
    assert exi.decode(exi.encode(response), SCHEMAS[stream]) == response
    asked = [getattr(request, each) for each in request.__struct_fields__ if each.endswith(("_mode", "_transfer_mode"))]
    reported = [
        getattr(response, each) for each in response.__struct_fields__ if each.endswith(("_mode", "_transfer_mode"))
    ]
    assert [type(each).__name__ for each in reported] == [type(each).__name__.replace("Req", "Res") for each in asked]
