"""Every request of ISO 15118-2 and DIN 70121 can be refused by every code, in messages that their schemas allow."""

from types import SimpleNamespace
from typing import Any

import pytest

from secc.session.d2 import session as refusal_2
from secc.session.din import session as refusal_din
from tests.together import together
from v2g import exi
from v2g.iso15118.d2.charts import CHARTS, Family
from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages.body import Body as Body2
from v2g.iso15118.d2.messages.data_types import ResponseCode as Code2
from v2g.iso15118.d2.messages.header import MessageHeader as Header2
from v2g.iso15118.d2.messages.message import V2G_Message as Message2
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages.data_types import ResponseCode as CodeDin
from v2g.iso15118.din.messages.header import MessageHeader as HeaderDin
from v2g.iso15118.din.messages.message import Body as BodyDin
from v2g.iso15118.din.messages.message import V2G_Message as MessageDin
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import State, advance, is_failed
from v2g.iso15118.engine.v2g_message import is_request


def requests(*modules: Any) -> list[str]:
    return sorted(name for module in modules for name in module.ELEMENTS if name.endswith("Req"))


def asked(name: str) -> Any:
    """Return something that has the name of a request; a refusal reads only ServiceID from it."""
    return type(name, (SimpleNamespace,), {})(service_id=77)


def failures(kind: Any) -> list[str]:
    return [code.name for code in kind if code.name.startswith("FAILED")]


CASES_2 = [
    (name, code, family) for name in requests(common_2, common_2) for code in failures(Code2) for family in Family
]
CASES_DIN = [(name, code) for name in requests(common_din, common_din) for code in failures(CodeDin)]
CHALLENGE = bytes(range(16))


@together(("name", "code", "family"), CASES_2)
def test_iso15118_2(name: str, code: str, family: Family) -> None:
    request = asked(name)
    assert is_request(request)
    body = refusal_2.refusal(request, code, evse_id="DE*V2G*E1", family=family, challenge=CHALLENGE)
    assert type(body).__name__ == name.replace("Req", "Res")
    assert body.response_code.name == code
    assert is_failed(body)
    message = Message2(header=Header2(session_id=b"12345678"), body=Body2(body_element=body))
    assert exi.decode(exi.encode(message), ISO2) == message
    for state in CHARTS[family]:
        assert advance(state, request, body, CHARTS[family]) is State.ENDED


@together(("name", "code"), CASES_DIN)
def test_din70121(name: str, code: str) -> None:
    request = asked(name)
    assert is_request(request)
    body = refusal_din.refusal(request, code, evse_id="DE*V2G*E1")
    assert type(body).__name__ == name.replace("Req", "Res")
    assert body.response_code.name == code
    message = MessageDin(header=HeaderDin(session_id=b"1234"), body=BodyDin(body_element=body))
    assert exi.decode(exi.encode(message), DIN) == message
    for state in CHART:
        assert advance(state, request, body, CHART) is State.ENDED


def test_what_a_refusal_takes_from_request_and_charger() -> None:
    two: dict[str, Any] = {"evse_id": "DE*V2G*E1", "family": Family.DC, "challenge": CHALLENGE}
    assert refusal_2.refusal(asked("ServiceDetailReq"), "FAILED", **two).service_id == 77
    assert refusal_2.refusal(asked("SessionSetupReq"), "FAILED", **two).evse_id == "DE*V2G*E1"
    assert refusal_2.refusal(asked("PaymentDetailsReq"), "FAILED", **two).gen_challenge == CHALLENGE
    assert refusal_din.refusal(asked("SessionSetupReq"), "FAILED", evse_id="49*89*6360").evse_id.hex() == "49a89a6360"


@pytest.mark.parametrize("refuse", [refusal_2.refusal, refusal_din.refusal])
def test_a_handshake_is_refused_in_its_own_schema(refuse: Any) -> None:
    handshake = app.SupportedAppProtocolReq(
        app_protocol=(
            app.AppProtocol(
                protocol_namespace="x", version_number_major=1, version_number_minor=0, schema_id=1, priority=1
            ),
        )
    )
    more = {"family": Family.AC, "challenge": CHALLENGE} if refuse is refusal_2.refusal else {}
    answer = refuse(handshake, "FAILED_SequenceError", evse_id="DE*V2G*E1", **more)
    assert answer.response_code is app.ResponseCode.Failed_NoNegotiation
    assert answer.schema_id is None
    assert not is_request(answer)
