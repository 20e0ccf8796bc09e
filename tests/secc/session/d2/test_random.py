"""Random conversations with an ISO 15118-2 charger: it never crashes, and power is only where a session allows it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.stages import Charging
from tests.secc.session.d2.bench import AC_WAY, DC_WAY, REQUESTS, Iso2Bench, amperes, volts, watts
from tests.secc.session.din.random import FACTS, numbers
from v2g.iso15118.d2.messages.data_types import ChargeProgress

NEXT = st.just(("next", None))
step = st.one_of(
    *(NEXT, NEXT, NEXT),
    st.tuples(st.just("say"), st.sampled_from(sorted(REQUESTS))),
    st.tuples(st.just("progress"), st.sampled_from([each.name for each in ChargeProgress])),
    st.tuples(st.just("fact"), st.sampled_from([*FACTS, ports.RenegotiationRequested()])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.6, 1.6, 3.0, 61.0])),
    st.tuples(st.just("demand"), st.tuples(numbers, numbers, numbers)),
    st.tuples(st.just("mute"), st.sampled_from([ports.StartCableCheck, ports.CloseContactors, ports.OpenContactors])),
)


def carry_out(bench: Iso2Bench, kind: str, what: Any, book: list[str]) -> None:
    match kind:
        case "next" if book:
            bench.go(book.pop(0))
        case "say":
            bench.send(bench.ask(what))
        case "progress":
            bench.progress(what)
        case "fact":
            bench.fact(what)
        case "wait":
            bench.pass_time(what)
        case "demand":
            current, voltage, power = what
            request = bench.ask(
                "CurrentDemandReq",
                ev_target_current=amperes(current / 10),
                ev_target_voltage=volts(voltage / 10),
                ev_maximum_power_limit=watts(power * 10),
            )
            bench.send(request)
        case "mute":
            bench.auto.pop(what, None)


@given(alternating=st.booleans(), lead=st.integers(0, 12), steps=st.lists(step, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_power_only_where_a_session_allows_it(
    pki: PkiTree, alternating: bool, lead: int, steps: list[tuple[str, Any]]
) -> None:
    bench = Iso2Bench(pki, 1_790_000_000_000, alternating=alternating)
    book = [
        *(AC_WAY if alternating else DC_WAY),
        "renegotiate",
        "ChargeParameterDiscoveryReq",
        "stop",
        "SessionStopReq",
    ]
    for kind, what in [("next", None)] * lead + steps:
        carry_out(bench, kind, what, book)
        outputs = [*bench.commands(ports.SetOutput), *bench.commands(ports.SetAcOutput)]
        for each in outputs:
            assert 0 <= each.charge_w <= 40_000
            assert each.discharge_w == 0
        for each in bench.commands(ports.SetOutput):
            assert 0 <= each.current_ma <= 60_000
            assert 0 <= each.voltage_mv <= 450_000
        if bench.session.powered and outputs and outputs[-1].charge_w:
            assert isinstance(bench.session.stage, Charging)
        if bench.reason:
            assert not bench.session.powered
            assert len(bench.commands(ports.CloseJournal)) == ("SessionStarted" in bench.records())
            assert len(bench.commands(ports.TransactionEnded)) == len(bench.commands(ports.TransactionStarted))
