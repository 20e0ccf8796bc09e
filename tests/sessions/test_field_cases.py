"""What chargers and vehicles of the field do that no rule may take for a reason to end: each case runs a whole session.

Sources are public threads, named beside the case; "recorded" means a public recording. The other role goes by the book.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.session.ports import CloseContactor
from pki_tools.tree import PkiTree
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import MessageBench
from tests.evcc.session.v2g_message.lies import field, limit, status
from tests.secc.session.d2.bench import Iso2Bench
from tests.secc.session.din.bench import DinBench as DinChargerBench
from tests.secc.session.message_bench import MessageBench as ChargerBench
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.sequence import State, is_failed

pytestmark = pytest.mark.requirement("R197")

Change = Callable[[Any, Any], Any]
"""(response, bench) -> the response as the charger of the case sends it."""

VEHICLES: Final[dict[str, Callable[[], MessageBench]]] = {
    "din": DinBench,
    "2-dc": lambda: Bench2(DC),
    "2-ac": lambda: Bench2(AC),
}
DIRECT: Final = ("din", "2-dc")
PARAMETERS, CHECK, PRE_CHARGE = "ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq"
START, DEMAND, STATUS, WELDING = "PowerDeliveryReq", "CurrentDemandReq", "ChargingStatusReq", "WeldingDetectionReq"


def named(name: str, kind: str) -> Change:
    """Change a field to the value of this name of its enumeration."""
    return lambda response, bench: replace(response, **{name: type(getattr(response, name))[kind]})


def jitter(response: Any, bench: MessageBench) -> Any:
    """Report the voltage 4 V too high and too low in turn."""
    off = 4_000 if len(bench.requests) % 2 else -4_000
    return limit("evse_present_voltage", millivolts(response.evse_present_voltage) + off)(response, bench)


def first(times: int, name: str) -> Change:
    """Change a limit to 0 so often, then to 20 kW or 20 A."""
    left = [0] * times
    return lambda response, bench: limit(name, left.pop() if left else 20_000)(response, bench)


def before_current(change: Change) -> Change:
    return lambda response, bench: response if bench.charger.current else change(response, bench)


NOT_READY: Final = status(evse_status_code="EVSE_NotReady")
RECEIPT: Final = lambda response, bench: replace(response, receipt_required=True)  # noqa: E731 - one of the changes
CHARGERS: Final[list[tuple[str, tuple[str, ...], str, int, Change]]] = [
    # name and source, editions, request whose response is changed, how often, change
    ("plain OK for a new session (recorded: ABB)", ("din", "2-dc", "2-ac"), "SessionSetupReq", 9,
     named("response_code", "OK")),
    ("NotReady with the parameters (recorded: Compleo)", DIRECT, PARAMETERS, 9, NOT_READY),
    ("NotReady at the end of the cable check (recorded: pyPLC)", DIRECT, CHECK, 9, NOT_READY),
    ("NotReady in the pre-charge (recorded: pyPLC)", DIRECT, PRE_CHARGE, 99, NOT_READY),
    ("NotReady in the loop until current flows", DIRECT, DEMAND, 9, before_current(NOT_READY)),
    ("insulation is tested on in the pre-charge", DIRECT, PRE_CHARGE, 99,
     status(evse_status_code="EVSE_IsolationMonitoringActive")),
    ("the minimum of current is above its maximum (Sevenstax/FreeV2G#42)", DIRECT, PARAMETERS, 9,
     limit("evse_minimum_current_limit", 400_000)),
    ("the minimum of current is in volts (Sevenstax/FreeV2G#42)", DIRECT, PARAMETERS, 9,
     limit("evse_minimum_current_limit", 500_000, "voltage")),
    ("no current yet with the parameters", DIRECT, PARAMETERS, 9, limit("evse_maximum_current_limit", 0)),
    ("no power yet in the first responses of the loop", DIRECT, DEMAND, 99, first(5, "evse_maximum_power_limit")),
    ("no current yet in the first responses of the loop", DIRECT, DEMAND, 99, first(5, "evse_maximum_current_limit")),
    ("a maximum voltage of 0 in the loop", DIRECT, DEMAND, 999, limit("evse_maximum_voltage_limit", 0)),
    ("the maxima of the loop are left out", DIRECT, DEMAND, 999,
     lambda response, bench: replace(response, evse_maximum_voltage_limit=None, evse_maximum_current_limit=None,
                                     evse_maximum_power_limit=None)),
    ("the voltage jitters by 4 V", DIRECT, DEMAND, 999, jitter),
    ("-2 A are shown while none flows", DIRECT, DEMAND, 9, before_current(limit("evse_present_current", -2_000))),
    ("some volts below 0 at the begin of the pre-charge", DIRECT, PRE_CHARGE, 1, limit("evse_present_voltage", -3_000)),
    ("500 V of the cable check are still there (recorded: 35 of 62)", DIRECT, PRE_CHARGE, 1,
     limit("evse_present_voltage", 900_000)),
    ("Shutdown is confirmed in all responses after the stop (recorded: alpitronic)", DIRECT, WELDING, 9,
     status(evse_status_code="EVSE_Shutdown", evse_notification="StopCharging")),
    ("the voltage never drops (osexpert/ccs32clara-chademo#17, alpitronic)", DIRECT, WELDING, 999,
     limit("evse_present_voltage", 390_000)),
    ("no EVSEID in the loop", ("2-dc",), DEMAND, 999, field("evse_id", "ZZ00000")),
    ("no EVSEID in the loop, with alternating current", ("2-ac",), STATUS, 999, field("evse_id", "ZZ00000")),
    ("no maximum current in the loop (EVerest/ext-switchev-iso15118#11)", ("2-ac",), STATUS, 999,
     field("evse_max_current", None)),
    ("a receipt is required of a vehicle without contract", ("2-dc",), DEMAND, 999, RECEIPT),
    ("a receipt is required of a vehicle without contract, AC", ("2-ac",), STATUS, 999, RECEIPT),
    ("no current yet with the parameters, AC", ("2-ac",), PARAMETERS, 9, limit("evse_max_current", 0)),
]  # fmt: skip


@pytest.mark.some(15)
@pytest.mark.parametrize(
    ("edition", "request_", "times", "change"),
    [(edition, *row[2:]) for row in CHARGERS for edition in row[1]],
    ids=[f"{edition}-{row[0]}" for row in CHARGERS for edition in row[1]],
)
def test_our_vehicle_charges_at(edition: str, request_: str, times: int, change: Change) -> None:
    bench = VEHICLES[edition]()
    left, answered = times, bench.answered

    def changed() -> Any:
        nonlocal left
        name = type(bench.unanswered[0]).__name__
        response = answered()
        if name == DEMAND and request_ == PARAMETERS:  # the scripted charger says its limits with the parameters only
            return limit("evse_maximum_current_limit", 40_000)(response, bench)
        if name != request_ or left <= 0:
            return response
        left -= 1
        return change(response, bench)

    bench.answered = changed  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "finished", (bench.seen("session", "failed"), bench.seen("stop", "stopping"))
    assert left < times, "the case has come"
    assert edition == "2-ac" or CloseContactor() in bench.commands
    assert bench.model.state.charged_mwh >= 100_000


Act = Callable[[ChargerBench], None]


def sends(*requests: str, **changes: Any) -> Act:
    """The vehicle sends these requests, the last with changes, and none of them is refused."""

    def act(bench: ChargerBench) -> None:
        for name in requests[:-1]:
            assert not is_failed(bench.go(name))
        response = bench.send(bench.ask(requests[-1], **changes))
        assert response is not None
        assert not is_failed(response), response.response_code

    return act


def again(name: str, times: int) -> Act:
    return sends(*(name,) * times)


def id_of(octets: bytes) -> Act:
    def act(bench: ChargerBench) -> None:
        bench.evcc_id = octets
        sends("SupportedAppProtocolReq", "SessionSetupReq", "ServiceDiscoveryReq")(bench)

    return act


def stopped(*after: str) -> Act:
    def act(bench: ChargerBench) -> None:
        assert not is_failed(bench.stop())
        for name in after:
            assert not is_failed(bench.go(name)), name

    return act


LOOP: Final = State.DC_CHARGE_LOOP
CARS: Final[list[tuple[str, State, Act]]] = [
    # name and source, state of the session, what the vehicle then does
    ("an EVCCID of 6 octets", State.SUPPORTED_APP_PROTOCOL, id_of(bytes(range(1, 7)))),
    ("the pre-charge is asked for 120 times (recorded: Tesla Model Y)", State.DC_PRE_CHARGE, again(PRE_CHARGE, 120)),
    ("a stop instead of the cable check (Sevenstax/FreeV2G#319: Mahindra XUV 3XO)", State.DC_CABLE_CHECK,
     stopped("SessionStopReq")),
    ("a stop twice", LOOP, stopped("stop", WELDING, "SessionStopReq")),
    ("a stop and the end without welding detection", LOOP, stopped("SessionStopReq")),
    ("welding detection ten times (osexpert/ccs32clara-chademo)", LOOP, stopped(*(WELDING,) * 10, "SessionStopReq")),
    ("the end in the pre-charge (ecog-io/iso15118#184)", State.DC_PRE_CHARGE_ONGOING, sends("SessionStopReq")),
    ("the end in the cable check (Sevenstax/FreeV2G#20)", State.DC_CABLE_CHECK, sends("SessionStopReq")),
    ("the end right after the begin (ecog-io/iso15118#432: Audi Q4)", State.SERVICE_DISCOVERY, sends("SessionStopReq")),
    ("CurrentDemand with ChargingComplete", LOOP, sends(DEMAND, charging_complete=True)),
    ("no maxima in CurrentDemand (uhi22/pyPLC)", LOOP,
     sends(DEMAND, ev_maximum_voltage_limit=None, ev_maximum_current_limit=None, ev_maximum_power_limit=None)),
]  # fmt: skip


@pytest.mark.parametrize("edition", ["din", "2"])
@pytest.mark.parametrize(("state", "act"), [row[1:] for row in CARS], ids=[row[0] for row in CARS])
def test_our_charger_serves(pki: PkiTree, edition: str, state: State, act: Act) -> None:
    kind: Any = {"din": DinChargerBench, "2": Iso2Bench}[edition]
    bench = kind(pki, 1_700_000_000_000)
    if state is not State.SUPPORTED_APP_PROTOCOL:
        bench.reach(state)
    act(bench)
    assert bench.reason in ("", "finished")


@pytest.mark.parametrize("octets", [b"", bytes(8), bytes(range(1, 9))], ids=["none", "zeros", "8"])
def test_our_charger_takes_any_evcc_id_of_din(pki: PkiTree, octets: bytes) -> None:
    id_of(octets)(DinChargerBench(pki, 1_700_000_000_000))
