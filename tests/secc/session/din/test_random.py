"""Random conversations with a DIN 70121 charger: it never crashes, and power is only where a session allows it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.stages import Charging
from tests.secc.session.din.bench import REQUESTS, DinBench, amperes, volts, watts
from tests.secc.session.din.random import FACTS, numbers

BOOK = [
    *("SupportedAppProtocolReq", "SessionSetupReq", "ServiceDiscoveryReq", "ServicePaymentSelectionReq"),
    *("ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PreChargeReq"),
    *("PowerDeliveryReq", "CurrentDemandReq", "CurrentDemandReq", "stop", "WeldingDetectionReq", "SessionStopReq"),
]
step = st.one_of(
    st.just(("next", None)),
    st.just(("next", None)),
    st.just(("next", None)),
    st.tuples(st.just("say"), st.sampled_from(sorted(REQUESTS))),
    st.tuples(st.just("fact"), st.sampled_from(FACTS)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 1.6, 3.0, 61.0])),
    st.tuples(st.just("demand"), st.tuples(numbers, numbers, numbers)),
    st.tuples(st.just("mute"), st.sampled_from([ports.StartCableCheck, ports.CloseContactors, ports.OpenContactors])),
)


def carry_out(din: DinBench, kind: str, what: Any, book: list[str]) -> None:
    match kind:
        case "next" if book:
            din.go(book.pop(0))
        case "say":
            din.send(din.ask(what))
        case "fact":
            din.fact(what)
        case "wait":
            din.pass_time(what)
        case "demand":
            current, voltage, power = what
            request = din.ask(
                "CurrentDemandReq",
                ev_target_current=amperes(current / 10),
                ev_target_voltage=volts(voltage / 10),
                ev_maximum_power_limit=watts(power * 10),
            )
            din.send(request)
        case "mute":
            din.auto.pop(what, None)


@given(lead=st.integers(0, len(BOOK)), steps=st.lists(step, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_power_only_where_a_session_allows_it(pki: PkiTree, lead: int, steps: list[tuple[str, Any]]) -> None:
    din = DinBench(pki, 1_790_000_000_000)
    book = list(BOOK)
    for kind, what in [("next", None)] * lead + steps:
        carry_out(din, kind, what, book)
        for each in din.commands(ports.SetOutput):
            assert 0 <= each.charge_w <= 40_000
            assert each.discharge_w == 0
            assert 0 <= each.current_ma <= 60_000
            assert 0 <= each.voltage_mv <= 450_000
        outputs = din.commands(ports.SetOutput)
        if din.session.powered and outputs and outputs[-1].charge_w:
            assert isinstance(din.session.stage, Charging)
        if din.reason:
            assert not din.session.powered
            assert len(din.commands(ports.CloseJournal)) == ("SessionStarted" in din.records())
            assert len(din.commands(ports.TransactionEnded)) == len(din.commands(ports.TransactionStarted))
    for response in din.responses:
        assert response.response_code.name
