"""The handshake and the opening of a session."""

import os
from pathlib import Path
from typing import Any

import pytest

from secc.session.config import EnergyService, SeccConfig
from secc.session.d20.setup import new_session_id
from tests.secc.session.bench import Bench, protocol
from tests.secc.session.conftest import MakeBench
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.app_protocol import ResponseCode
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.select import NAMESPACES

AC = "urn:iso:std:iso:15118:-20:AC"
DC = "urn:iso:std:iso:15118:-20:DC"
OLD = "urn:iso:15118:2:2013:MsgDef"


@pytest.mark.requirement("R15")
@pytest.mark.parametrize(
    ("offered", "schema_id", "code"),
    [
        ((protocol(),), 1, "OK_SuccessfulNegotiation"),
        ((protocol(AC, schema=1, rank=1), protocol(schema=2, rank=2)), 2, "OK_SuccessfulNegotiation"),
        (
            (protocol(schema=7, rank=20), protocol(schema=8, rank=3, minor=1)),
            8,
            "OK_SuccessfulNegotiationWithMinorDeviation",
        ),
        ((protocol(OLD, major=2),), None, "Failed_NoNegotiation"),
        ((protocol(major=2),), None, "Failed_NoNegotiation"),
    ],
)
def test_the_best_ranked_protocol_that_is_served_is_picked(
    bench: Bench, offered: tuple[Any, ...], schema_id: int | None, code: str
) -> None:
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=offered))
    assert response.schema_id == schema_id
    assert response.response_code.name == code
    failed = response.response_code is ResponseCode.Failed_NoNegotiation
    assert bench.session.closed == failed
    assert bench.session.state is (State.ENDED if failed else State.SESSION_SETUP)
    assert [each["reason"] for each in bench.events("session_ended")] == ["Failed_NoNegotiation"] * failed
    (seen,) = bench.events("protocols_offered")
    assert seen == {"namespaces": " ".join(each.protocol_namespace for each in offered)}


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("namespaces", [("urn:sae:j2847:2:2023",), ("urn:example:SAE_J2847-2", "urn:sae:j2847:2:2015")])
def test_a_vehicle_of_sae_j2847_2_is_refused_by_name(bench: Bench, namespaces: tuple[str, ...]) -> None:
    """See docs/explanation/sae-j2847-2.md, whose words these are."""
    offered = tuple(protocol(each, schema=number, rank=number) for number, each in enumerate(namespaces, 1))
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=offered))
    assert (response.response_code, response.schema_id) == (ResponseCode.Failed_NoNegotiation, None)
    assert bench.session.closed
    (refused,) = bench.events("protocol_refused")
    assert refused == {"offered": " ".join(namespaces), "served": ""}, "the connection knows what is served"
    page = (Path(__file__).parents[4] / "docs/explanation/sae-j2847-2.md").read_text()
    for word in ("Failed_NoNegotiation", "protocol_refused", *refused):
        assert f"`{word}`" in page, word


@pytest.mark.requirement("R13")
def test_nothing_of_sae_j2847_2_is_negotiated(make_bench: MakeBench) -> None:
    """Neither a protocol nor a service of it is known: others offer it as V2H and V2G services of ISO 15118-2."""
    assert not [each for each in NAMESPACES if "j2847" in each.lower() or "sae" in each.lower().split(":")]
    everything = SeccConfig(services=tuple(EnergyService))
    bench = make_bench(everything).reach(State.SERVICE_DISCOVERY)
    response = bench.go("ServiceDiscoveryReq")
    energy = {each.service_id for each in response.energy_transfer_service_list.service}
    assert energy <= set(ServiceId)
    assert not energy & {ServiceId.AC_DER_IEC, ServiceId.AC_DER_SAE}
    known = {*ServiceId, everything.signed_discharge.service_id}
    assert {each.service_id for each in response.vas_list.service} <= known


@pytest.mark.requirement("R3")
@pytest.mark.parametrize("asked", [bytes(8), b"12345678"], ids=["new", "paused"])
def test_every_session_is_new_and_has_an_id_of_its_own(bench: Bench, asked: bytes) -> None:
    bench.go("SupportedAppProtocolReq")
    response = bench.send(bench.ask("SessionSetupReq", header=bench.header(session_id=asked)))
    assert response.response_code.name == "OK_NewSessionEstablished"  # V2G20-2626
    assert response.header.session_id not in (bytes(8), asked)
    assert response.evse_id == bench.config.evse_id
    assert bench.session.session_id == response.header.session_id


@pytest.mark.requirement("R3")
def test_ten_thousand_sessions_have_as_many_ids() -> None:
    ids = {new_session_id(os.urandom) for _ in range(10_000)}
    assert len(ids) == 10_000
    assert {len(each) for each in ids} == {8}


def test_a_session_id_is_never_zero() -> None:
    answers = iter((bytes(8), bytes(8), b"\1" * 8))
    assert new_session_id(lambda n: next(answers)) == b"\1" * 8


@pytest.mark.parametrize(
    ("services", "challenge"),
    [((Authorization.PnC,), True), ((Authorization.EIM, Authorization.PnC), True), ((Authorization.EIM,), False)],
)
def test_a_challenge_is_offered_exactly_with_plug_and_charge(
    make_bench: MakeBench, services: tuple[Authorization, ...], challenge: bool
) -> None:
    bench = make_bench(SeccConfig(authorization=services, supported_providers=("DEV2G",)))
    response = bench.go("SupportedAppProtocolReq", "SessionSetupReq", "AuthorizationSetupReq")
    assert response.authorization_services == services
    assert not response.certificate_installation_service
    mode = response.pnc_as_res_authorization_mode
    assert (mode is not None) == challenge
    assert (response.eim_as_res_authorization_mode is None) == challenge
    if mode is not None:
        assert len(mode.gen_challenge) == 16
        assert mode.supported_providers.provider_id == ("DEV2G",)


def test_after_the_farewell_nothing_is_owed_and_the_vehicle_closes_first(bench: Bench) -> None:
    bench.reach(State.ENDED)
    count = len(bench.responses)
    assert bench.send(bench.ask("SessionStopReq")) is None
    assert not bench.reason
    assert len(bench.responses) == count
    bench.pass_time(4.9)
    assert not bench.session.closed
    bench.pass_time(0.2)
    assert bench.reason == "finished"


def test_a_vehicle_that_closes_after_the_farewell_has_finished(bench: Bench) -> None:
    bench.reach(State.ENDED)
    bench.session.receive_eof(bench.now, bench.utc_ms)
    bench.pump()
    assert bench.reason == "finished"
