"""A vehicle that offers several editions continues with the one that the charger selects."""

from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.d2.session import Iso2, Vehicle2
from evcc.session.d20.session import Iso20, VehicleSession
from evcc.session.din.session import Din, DinVehicle
from evcc.session.edition import Connection, NegotiatedSession
from evcc.session.ports import ContactorState, PresentVoltage, StopRequested
from evcc.session.settings import AuthorizationConfig, ServiceConfig, SessionConfig
from tests.evcc.session.message_bench import SHORT, counter
from tests.evcc.session.vehicle_bench import T0, VehicleBench
from v2g import exi
from v2g.errors import ConfigError
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import HEADER_SIZE, PayloadType, frame
from v2g.safety import Phase

pytestmark = pytest.mark.requirement("R15")

OK = app.ResponseCode.OK_SuccessfulNegotiation
BOTH = replace(SHORT, services=ServiceConfig(energy=("DC", "AC")))


def vehicle(
    *editions: Any, config: SessionConfig = BOTH, tls: bool = False, connected_for: float = 15.0
) -> NegotiatedSession:
    battery = VehicleBench().model.state
    connection = Connection(battery=battery, secc_certificate=b"leaf" if tls else b"", entropy=counter())
    return NegotiatedSession(editions, config, connection, connected_for=connected_for)


def sent(session: NegotiatedSession) -> list[bytes]:
    return [each.data for each in session.actions() if isinstance(each, Send)]


def offered(session: NegotiatedSession) -> list[tuple[str, int, int]]:
    session.start(0.0, T0)
    (first,) = sent(session)
    request = exi.decode(first[HEADER_SIZE:], APP_PROTOCOL)
    return [(each.protocol_namespace, each.schema_id, each.priority) for each in request.app_protocol]


def select(session: NegotiatedSession, schema_id: int | None, now: float = 1.0) -> None:
    response = app.SupportedAppProtocolRes(response_code=OK, schema_id=schema_id)
    data = frame(PayloadType.SAP, exi.encode(response))
    session.receive(data[:5], now, T0)
    session.receive(data[5:], now, T0)


def test_all_protocols_are_offered_by_priority() -> None:
    assert offered(vehicle(Iso20(), Din())) == [
        ("urn:iso:std:iso:15118:-20:DC", 1, 1),
        ("urn:iso:std:iso:15118:-20:AC", 2, 2),
        ("urn:din:70121:2012:MsgDef", 3, 3),
    ]
    assert next(name for name, *_ in offered(vehicle(Din(), Iso20()))) == "urn:din:70121:2012:MsgDef"


def test_iso_15118_2_is_offered_where_the_vehicle_can_pay() -> None:
    """Without TLS only external payment is left."""
    paying = replace(BOTH, authorization=AuthorizationConfig(allow_eim=True))
    assert [name for name, *_ in offered(vehicle(Iso2(), config=paying))] == ["urn:iso:15118:2:2013:MsgDef"]
    assert len(offered(vehicle(Iso20(), Iso2(), tls=True))) == 3
    assert len(offered(vehicle(Iso20(), Iso2()))) == 2


def test_din_70121_is_not_offered_over_tls_nor_by_a_vehicle_for_alternating_current() -> None:
    assert len(offered(vehicle(Iso20(), Din(), tls=True))) == 2
    assert len(offered(vehicle(Iso20(), Din(), config=replace(SHORT, services=ServiceConfig(energy=("AC",)))))) == 1


def test_a_vehicle_without_any_protocol_is_not_configured() -> None:
    with pytest.raises(ConfigError, match="with TLS"):
        vehicle(Din(), tls=True)


@pytest.mark.parametrize("order", [(Iso20(), Iso2(), Din()), (Din(), Iso2(), Iso20())])
def test_the_charger_selects_the_edition(order: tuple[Any, ...]) -> None:
    for name, kind in (
        ("15118:-20:DC", VehicleSession),
        ("15118:-20:AC", VehicleSession),
        ("din:70121", DinVehicle),
        ("15118:2", Vehicle2),
    ):
        session = vehicle(*order, config=replace(BOTH, authorization=AuthorizationConfig(allow_eim=True)))
        schema_id = next(each for namespace, each, _ in offered(session) if name in namespace)
        select(session, schema_id)
        assert type(session.session) is kind
        (setup,) = sent(session)
        message, _ = session.decode(int.from_bytes(setup[2:4]), setup[HEADER_SIZE:])
        body = getattr(getattr(message, "body", None), "body_element", message)
        assert type(body).__name__ == "SessionSetupReq"


@pytest.mark.parametrize("schema_id", [None, 9])
def test_a_choice_that_was_not_offered_ends_the_session(schema_id: int | None) -> None:
    session = vehicle(Iso20(), Din())
    session.start(0.0, T0)
    select(session, schema_id)
    assert session.reason == "unknown_schema_id"


def test_garbage_ends_the_session() -> None:
    session = vehicle(Iso20(), Din())
    session.start(0.0, T0)
    session.receive(frame(PayloadType.SAP, b"\xff\xff"), 1.0, T0)
    assert session.reason == "undecodable_message"


def test_the_time_of_the_set_up_counts_from_the_data_link() -> None:
    """After 15 s before the connection and 1.9 s of handshake, 3.1 s are left, of which SessionSetup may take 2 s."""
    session = vehicle(Iso20(), Din())
    session.start(0.0, T0)
    select(session, 3, now=1.9)
    assert session.deadline() == pytest.approx(3.9)
    late = vehicle(Iso20(), Din(), connected_for=17.0)
    late.start(0.0, T0)
    select(late, 3, now=1.9)
    late.tick(3.01, T0)
    assert late.reason == "communication_setup_timeout"


def test_a_silent_charger_ends_the_handshake() -> None:
    session = vehicle(Iso20(), Din())
    session.start(0.0, T0)
    session.tick(2.0, T0)
    assert session.reason == "message_timeout"


def test_facts_of_the_handshake_reach_the_chosen_session() -> None:
    session = vehicle(Iso20(), Din())
    session.start(0.0, T0)
    session.fact(PresentVoltage(0), 0.1, T0)
    session.fact(ContactorState(closed=True), 0.2, T0)
    assert session.reason == "contactor_welded"
    other = vehicle(Iso20(), Din())
    other.start(0.0, T0)
    other.fact(StopRequested("owner"), 0.1, T0)
    select(other, 3)
    assert (other.closed, other.reason) == (True, "owner")


@pytest.mark.parametrize("order", [(Iso20(), Din()), (Din(), Iso20())])
def test_the_safety_monitor_reads_the_messages_of_the_chosen_edition(order: tuple[Any, ...]) -> None:
    for name, kind in (("15118:-20:DC", "d20"), ("din:70121", "din")):
        session = vehicle(*order)
        reader = session.reader()
        session.start(0.0, T0)
        (first,) = sent(session)
        offer = reader.decode(PayloadType.SAP, first[HEADER_SIZE:])
        assert type(offer) is app.SupportedAppProtocolReq
        assert reader.sent(offer, PayloadType.SAP).phase is Phase.IDLE
        schema_id = next(each.schema_id for each in offer.app_protocol if name in each.protocol_namespace)
        response = exi.encode(app.SupportedAppProtocolRes(response_code=OK, schema_id=schema_id))
        assert reader.decode(PayloadType.SAP, response) is not None
        session.receive(frame(PayloadType.SAP, response), 1.0, T0)
        (setup,) = sent(session)
        body = reader.decode(int.from_bytes(setup[2:4]), setup[HEADER_SIZE:])
        assert type(body).__name__ == "SessionSetupReq"
        assert kind in type(body).__module__
