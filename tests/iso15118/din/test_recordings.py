"""Sessions of real vehicles and chargers: every message decodes, and the chart agrees with what they did.

In each recording one side is experimental (tests/vectors/din70121/README.md): what it does wrong is named here, and the
real side's answer shows that it was wrong.
"""

from collections import Counter
from typing import Any

from tests.iso15118.din.recordings import (
    ABB,
    ALPITRONIC,
    BULB,
    COMPLEO,
    HYC300,
    IONIQ,
    MODEL_Y,
    NAMES,
    TESLA_CHARGER,
    Recorded,
    recording,
    requests,
)
from tests.together import together
from v2g import exi
from v2g.iso15118.din.charts import CHART, STRICT
from v2g.iso15118.din.response_codes import USES
from v2g.iso15118.din.schedules import power_schedules
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import identifiers, physical_values
from v2g.iso15118.engine.dc_status import Demand, demand, is_sound
from v2g.iso15118.engine.response_codes import has_place
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import State, accepts, is_failed
from v2g.iso15118.engine.v2g_message import asks_for_new_session, is_same_session


def responses(name: str, kind: str = "") -> list[Recorded]:
    return [each for each in recording(name) if each.sender == "charger" and type(each.body).__name__.startswith(kind)]


@together("name", NAMES)
def test_every_message_decodes_and_its_bytes_are_ours(name: str) -> None:
    for each in recording(name):
        assert exi.encode(each.message) == each.payload[: len(each.payload) - each.padding]
    assert type(recording(name)[0].body).__name__ == "SupportedAppProtocolReq"


def test_only_the_model_y_pads_a_stream() -> None:
    padded = {name: [type(each.body).__name__ for each in recording(name) if each.padding] for name in NAMES}
    assert padded == {**{key: [] for key in NAMES}, MODEL_Y: ["ContractAuthenticationReq"]}


# what the experimental vehicle does out of order: state and request
OUT_OF_ORDER = {
    # leaves out ContractAuthentication; the recording ends without an answer
    ABB: [(State.AUTHORIZATION, "ChargeParameterDiscoveryReq")],
    # goes on with the loop after stopping power; refused with FAILED_SequenceError, and repeated once
    ALPITRONIC: [(State.DC_WELDING_DETECTION, "CurrentDemandReq"), (State.ENDED, "CurrentDemandReq")],
}


@together("name", [name for name in NAMES if name != TESLA_CHARGER])
def test_the_chart_accepts_every_request_but_those_that_are_named(name: str) -> None:
    refused = [
        (each.state, type(each.body).__name__) for each in requests(name) if not accepts(each.state, each.body, CHART)
    ]
    assert refused == OUT_OF_ORDER.get(name, [])


def test_the_real_charger_refuses_what_the_chart_refuses() -> None:
    for each in responses(ALPITRONIC):
        in_order = accepts(each.state, each.asked, CHART)
        assert is_failed(each.body) != in_order
        if not in_order:
            assert each.body.response_code.name == "FAILED_SequenceError"


def test_tolerance_is_needed_by_the_model_y_only_which_stops_its_session_in_pre_charge() -> None:
    tolerated = {
        name: [(each.state, type(each.body).__name__) for each in requests(name) if needs_tolerance(each)]
        for name in NAMES
    }
    assert {name: each for name, each in tolerated.items() if each} == {
        MODEL_Y: [(State.DC_PRE_CHARGE_ONGOING, "SessionStopReq")]
    }
    assert responses(MODEL_Y)[-1].body.response_code.name == "OK"


def needs_tolerance(each: Recorded) -> bool:
    return accepts(each.state, each.body, CHART) and not accepts(each.state, each.body, STRICT)


def test_a_tesla_charger_refuses_every_request_with_another_session_id_and_answers_with_its_own() -> None:
    """The experimental vehicle sends an id of its own; the charger's has 4 bytes."""
    own: dict[int, bytes] = {}
    for each in responses(TESLA_CHARGER, "SessionSetupRes"):
        own[each.connection] = each.message.header.session_id
        assert len(own[each.connection]) == 4
    assert len(own) == 2
    for each in recording(TESLA_CHARGER):
        header = getattr(each.message, "header", None)
        if header is None or type(each.body).__name__.startswith("SessionSetup"):
            continue
        assert is_same_session(own[each.connection], header.session_id) == (each.sender == "charger")
        if each.sender == "charger":
            assert each.body.response_code.name == "FAILED_UnknownSession"
            assert type(each.body).__name__ == type(each.asked).__name__.replace("Req", "Res")


@together("name", [name for name in NAMES if name != TESLA_CHARGER])
def test_both_sides_keep_the_chargers_session_id(name: str) -> None:
    given = b""
    for each in recording(name):
        header = getattr(each.message, "header", None)
        if type(each.body).__name__ == "SessionSetupReq":
            assert asks_for_new_session(header.session_id)
        elif type(each.body).__name__ == "SessionSetupRes":
            given = header.session_id
            assert not asks_for_new_session(given)
        elif header is not None:
            assert is_same_session(given, header.session_id)


@together("name", NAMES)
def test_codes_of_responses_have_their_place(name: str) -> None:
    for each in responses(name):
        if type(each.body).__name__ != "SupportedAppProtocolRes":
            assert has_place(type(each.body).__name__, each.body.response_code.name, USES)


def test_identities_of_real_vehicles_and_chargers() -> None:
    vehicles = {
        name: {
            identifiers.mac_address(each.body.evcc_id) for each in requests(name) if "SessionSetup" in repr(each.body)
        }
        for name in NAMES
    }
    experimental: set[Any] = {None}  # it sends an empty EVCCID
    real = {IONIQ: {"0465650064C3"}, HYC300: {"E00EE1FFD3E2"}, MODEL_Y: {"98ED5CDAD998"}}
    assert vehicles == {**dict.fromkeys(NAMES, experimental), **real}
    chargers = {
        name: {identifiers.from_bytes(each.body.evse_id)[0] for each in responses(name, "SessionSetupRes")}
        for name in NAMES
    }
    unknown = {name: {""} for name in (ABB, COMPLEO, BULB, ALPITRONIC, HYC300)}
    assert chargers == {**unknown, TESLA_CHARGER: {"DC44271FD91B"}, IONIQ: {"ZZ00000"}, MODEL_Y: {"ZZ00000"}}


def test_quirks_that_the_recordings_show() -> None:
    """Services with an id of their own, EVSE_NotReady with Finished, SessionSetup answered plainly."""
    services = {
        name: {each.body.charge_service.service_tag.service_id for each in responses(name, "ServiceDiscoveryRes")}
        for name in NAMES
    }
    assert services == {**{name: {1} for name in NAMES}, TESLA_CHARGER: {4660}}
    not_ready = {
        name
        for name in NAMES
        for each in responses(name, "ChargeParameterDiscoveryRes")
        if each.body.evse_processing.name == "Finished"
        and each.body.evse_charge_parameter.dc_evse_status.evse_status_code.name == "EVSE_NotReady"
    }
    assert not_ready == {COMPLEO, BULB}
    plain = {
        name for name in NAMES for each in responses(name, "SessionSetupRes") if each.body.response_code.name == "OK"
    }
    assert plain == {ABB}


def test_the_status_of_real_chargers_is_read() -> None:
    demands = {
        name: Counter(demand(each.body.dc_evse_status) for each in responses(name, "PreChargeRes")) for name in NAMES
    }
    assert set(demands[COMPLEO]) == set(demands[ALPITRONIC]) == {Demand.NOTHING}
    assert demands[BULB][Demand.STOP_NOW], "EVSE_EmergencyShutdown in pre-charge"
    for name in (COMPLEO, BULB, ALPITRONIC):
        checks = [each.body for each in responses(name, "CableCheckRes")]
        for check in checks:
            assert is_sound(check.dc_evse_status) == (check.evse_processing.name == "Finished")


@together("name", NAMES)
def test_values_of_real_devices_are_read(name: str) -> None:
    for each in responses(name, "ChargeParameterDiscoveryRes"):
        limits = each.body.evse_charge_parameter
        volts = physical_values.millivolts(limits.evse_maximum_voltage_limit)
        assert 400_000 <= volts <= 1_000_000 or each.body.evse_processing.name == "Ongoing"
        if limits.evse_maximum_power_limit is not None:
            physical_values.watts(limits.evse_maximum_power_limit)
        for schedule in power_schedules(each.body.sa_schedules).values():
            assert schedule.power_at(0) is not None
    for each in requests(name):
        if type(each.body).__name__ in ("PreChargeReq", "CurrentDemandReq"):
            assert physical_values.millivolts(each.body.ev_target_voltage) <= 1_000_000
            physical_values.milliamperes(each.body.ev_target_current)


def test_handshakes_are_those_of_the_common_schema() -> None:
    handshakes = [each for name in NAMES for each in recording(name) if each.state is State.SUPPORTED_APP_PROTOCOL]
    assert {type(each.body).__name__ for each in handshakes} == {"SupportedAppProtocolReq", "SupportedAppProtocolRes"}
    offered = {entry.protocol_namespace for each in handshakes for entry in getattr(each.body, "app_protocol", ())}
    assert {DIN.uri, "urn:tesla:din:2018:MsgDef"} <= offered
    assert APP_PROTOCOL.payload_type == 0x8001
