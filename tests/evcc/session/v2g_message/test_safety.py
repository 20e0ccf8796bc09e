"""What the messages of a vehicle's session of ISO 15118-2 and DIN 70121 mean to its safety monitor."""

from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.settings import SessionConfig
from evcc.session.v2g_message.safety import V2gMessages
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import MessageBench
from v2g import exi
from v2g.iso15118.d2.messages.data_types import ChargeProgress, EnergyTransferMode, EVSEProcessing
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.dc_status import Phase as StatusPhase
from v2g.iso15118.engine.dc_status import Stop
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import UNBOUNDED, Ask, Output, Phase

pytestmark = pytest.mark.requirement("R15")

CONFIG = SessionConfig()
_TIMING = CONFIG.timing
ANSWER_S = _TIMING.poll_pause_s + _TIMING.loop_pause_s + _TIMING.contactor_s + 0.5
"""How long the vehicle may take to its next request, with half a second of tolerance."""


def messages(bench: MessageBench, config: SessionConfig = CONFIG) -> V2gMessages:
    if isinstance(bench, DinBench):
        return V2gMessages(config, config.timers_din, DIN)
    return V2gMessages(config, config.timers_2, ISO2)


class Read(list[tuple[str, Ask]]):
    """A whole session, message by message, and what each one means; the messages pass as EXI."""

    def __init__(self, bench: MessageBench, config: SessionConfig = CONFIG) -> None:
        super().__init__()
        self.reader = messages(bench, config)
        sent, answered = bench.on_sent, bench.reply

        def send(payload_type: int, payload: bytes) -> None:
            sent(payload_type, payload)
            body = self.reader.decode(payload_type, payload)
            self.append((type(body).__name__, self.reader.sent(body, payload_type)))

        def reply(body: Any) -> None:
            handshake = type(body).__name__.startswith("SupportedApp")
            read = self.reader.decode(PayloadType.SAP, exi.encode(body if handshake else bench.charger.message(body)))
            assert type(read) is type(body)
            self.append((type(body).__name__, self.reader.received(read, PayloadType.SAP)))
            answered(body)

        bench.on_sent, bench.reply = send, reply  # type: ignore[method-assign]

    def phases(self) -> list[tuple[str, Phase]]:
        """Return the changes of phase."""
        found: list[tuple[str, Phase]] = []
        for name, ask in self:
            if ask.phase is not None and (not found or found[-1][1] is not ask.phase):
                found.append((name, ask.phase))
        return found


DIRECT = [
    ("SupportedAppProtocolReq", Phase.IDLE),
    ("ChargeParameterDiscoveryRes", Phase.VOLTAGE),
    ("PowerDeliveryReq", Phase.POWER),
    ("PowerDeliveryReq", Phase.REST),
    ("WeldingDetectionReq", Phase.IDLE),
]


@pytest.mark.parametrize("bench", [DinBench(scale=20), Bench2(DC, scale=20)])
def test_a_session_of_direct_current(bench: MessageBench) -> None:
    read = Read(bench)
    bench.run()
    assert read.phases() == DIRECT
    powers = {ask.charge_w for name, ask in read if name == "CurrentDemandReq"}
    assert max(power for power in powers if power is not None) < 1.2 * 16_000
    assert not any(ask.stop for _, ask in read[:-6])
    assert all(0 < ask.alive_s <= 6.5 for _, ask in read)


def test_a_session_of_alternating_current() -> None:
    bench = Bench2(AC, scale=20)
    read = Read(bench)
    bench.charger.renegotiate = 1
    bench.run()
    assert read.phases() == [
        ("SupportedAppProtocolReq", Phase.IDLE),
        ("PowerDeliveryReq", Phase.POWER),
        ("PowerDeliveryReq", Phase.REST),
        ("PowerDeliveryReq", Phase.POWER),
        ("PowerDeliveryReq", Phase.REST),
        ("SessionStopReq", Phase.IDLE),
    ]


def test_a_renegotiation_of_direct_current_returns_to_voltage() -> None:
    bench = Bench2(DC, scale=20)
    read = Read(bench)
    bench.charger.renegotiate = 1
    bench.run()
    assert [phase for _, phase in read.phases()] == [
        Phase.IDLE,
        Phase.VOLTAGE,
        Phase.POWER,
        Phase.REST,
        Phase.VOLTAGE,
        Phase.POWER,
        Phase.REST,
        Phase.IDLE,
    ]


@pytest.mark.parametrize("bench", [DinBench(scale=20), Bench2(DC, scale=20), Bench2(AC, scale=20)])
def test_the_charger_stops(bench: Any) -> None:
    read = Read(bench)
    bench.charger.stop = Stop.REQUESTED
    bench.run()
    assert next(name for name, ask in read if ask.stop) in ("CurrentDemandRes", "ChargingStatusRes")


def test_failures_end_everything() -> None:
    bench = DinBench(scale=20)
    bench.run_to("CurrentDemandReq")
    response = bench.answered()
    failed = replace(response, response_code=type(response.response_code).FAILED)
    assert messages(bench).received(failed, PayloadType.SAP) == Ask(phase=Phase.IDLE)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 9])
def test_invalid_messages_mean_nothing(payload: bytes) -> None:
    reader = messages(DinBench())
    assert reader.decode(PayloadType.SAP, payload) is None
    assert reader.decode(0x8002, payload) is None


def answers(bench: Any, name: str, **config: Any) -> tuple[V2gMessages, Any]:
    """Return a reader that has read everything before the response to `name`, and that response."""
    read = Read(bench, SessionConfig(**config))
    bench.run_to(name)
    return read.reader, bench.answered()


EITHER = pytest.mark.parametrize("make", [DinBench, lambda: Bench2(DC)], ids=["din", "2"])


def limit(reader: V2gMessages, body: Any) -> Output:
    """Return what the monitor is told that the charger permits."""
    found = reader.received(body, PayloadType.SAP).limit
    assert found is not None
    return found


@EITHER
def test_the_chargers_parameters_are_agreed(make: Any) -> None:
    bench = make()
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    found = reader.received(response, PayloadType.SAP)
    own_mv = bench.model.state.max_voltage_mv
    assert (found.limit, found.phase) == (Output(50_000, 0, 125_000, voltage_mv=own_mv), Phase.VOLTAGE)
    assert own_mv < 500_000, "the lower one of both maximum voltages"


@EITHER
def test_parameters_that_nobody_has_asked_for_agree_on_nothing(make: Any) -> None:
    bench = make()
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    bench.reply(response)
    bench.run_to("CurrentDemandReq")
    more = _with(response, evse_maximum_power_limit=bench.charger.values.power(90_000, Rounding.DOWN))
    assert [limit(reader, each).charge_w for each in (more, bench.answered(), more)] == [50_000] * 3


@EITHER
@pytest.mark.parametrize(("watts", "most_w"), [(9_000, 9_000), (0, 0), (-5, 0), (150_000, 50_000)])
def test_the_chargers_power_of_a_loop_is_a_limit_within_what_was_agreed(make: Any, watts: int, most_w: int) -> None:
    bench = make()
    reader, response = answers(bench, "CurrentDemandReq")
    changed = replace(response, evse_maximum_power_limit=bench.charger.values.power(watts, Rounding.DOWN))
    assert limit(reader, changed).charge_w == most_w
    omits = replace(response, evse_maximum_power_limit=None)
    assert limit(reader, omits).charge_w == most_w, "what is left out stays"


@EITHER
def test_parameters_of_0_are_a_pause_that_agrees_on_nothing(make: Any) -> None:
    bench, values = make(), make().charger.values
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    none = {
        "evse_maximum_power_limit": values.power(0, Rounding.DOWN),
        "evse_maximum_current_limit": values.current(0, Rounding.DOWN),
    }
    assert limit(reader, _with(response, **none)).charge_w == 0
    bench.reply(response)
    bench.run_to("CurrentDemandReq")
    response = bench.answered()
    assert limit(reader, response).charge_w == 0
    more = replace(response, evse_maximum_power_limit=values.power(90_000, Rounding.DOWN))
    assert limit(reader, more).charge_w == 90_000


@EITHER
@pytest.mark.parametrize(("tolerance_ma", "told_ma"), [(None, None), (2_000, 2_000)])
def test_the_accuracy_that_a_charger_declares_counts_with_its_ripple(
    make: Any, tolerance_ma: int | None, told_ma: int | None
) -> None:
    bench = make()
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    values, ripple = bench.charger.values, response.evse_charge_parameter.evse_peak_current_ripple
    tolerance = None if tolerance_ma is None else values.current(tolerance_ma, Rounding.DOWN)
    declared = _with(response, evse_current_regulation_tolerance=tolerance)
    own_ma = round(ripple.value * 10.0**ripple.multiplier * 1000)
    assert reader.received(declared, PayloadType.SAP).tolerance_ma == (None if told_ma is None else told_ma + own_ma)
    ripple = values.current(500, Rounding.DOWN)
    found = reader.received(_with(declared, evse_peak_current_ripple=ripple), PayloadType.SAP)
    assert found.tolerance_ma == (None if told_ma is None else told_ma + 500)


def test_a_fraction_of_a_watt_is_one_more() -> None:
    bench = DinBench()
    reader, response = answers(bench, "CurrentDemandReq")
    odd = replace(bench.charger.values.power(1, Rounding.DOWN), value=2_905, multiplier=-2)
    assert limit(reader, replace(response, evse_maximum_power_limit=odd)).charge_w == 30


@EITHER
@pytest.mark.parametrize("raises", [False, True])
def test_a_loop_raises_powers_and_currents_where_that_is_allowed_and_never_the_voltage(make: Any, raises: bool) -> None:
    bench, values = make(), make().charger.values
    reader, response = answers(bench, "CurrentDemandReq", raised_limits=raises)
    agreed = limit(reader, replace(response, evse_maximum_power_limit=None))
    more = replace(
        response,
        evse_maximum_power_limit=values.power(150_000, Rounding.DOWN),
        evse_maximum_current_limit=values.current(200_000, Rounding.DOWN),
        evse_maximum_voltage_limit=values.voltage(900_000, Rounding.DOWN),
    )
    raised = Output(150_000, 0, 200_000, voltage_mv=agreed.voltage_mv)
    assert limit(reader, more) == (raised if raises else agreed)
    less = replace(more, evse_maximum_current_limit=values.current(5_000, Rounding.DOWN))
    assert limit(reader, less).charge_ma == agreed.charge_ma, "a lower direct current is the charger's own to follow"


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(("mode", "lines"), [("AC_single_phase_core", 1), ("AC_three_phase_core", 3)])
def test_the_chargers_current_is_a_limit_of_each_line(mode: str, lines: int, raises: bool) -> None:
    bench = Bench2(AC)
    reader, response = answers(bench, "ChargeParameterDiscoveryReq", raised_limits=raises)
    request = replace(bench.requests[-1], requested_energy_transfer_mode=EnergyTransferMode[mode])
    assert reader.sent(request, PayloadType.SAP).lines == lines
    agreed = Output(UNBOUNDED, charge_ma=16_000)
    assert reader.received(response, PayloadType.SAP) == Ask(alive_s=ANSWER_S, limit=agreed)
    bench.reply(response)
    bench.run_to("ChargingStatusReq")
    response = bench.answered()
    for given_ma, most_ma in ((6_000, 6_000), (None, 6_000), (20_000, 20_000 if raises else 16_000)):
        current = None if given_ma is None else bench.charger.values.current(given_ma, Rounding.DOWN)
        assert limit(reader, replace(response, evse_max_current=current)).charge_ma == most_ma


@pytest.mark.parametrize("again", [False, True])
def test_a_renegotiation_raises_powers_and_currents_and_no_voltage(again: bool) -> None:
    bench, values = Bench2(DC), Bench2(DC).charger.values
    reader, response = answers(bench, "CurrentDemandReq")
    agreed, (asked, *_) = (
        limit(reader, response),
        [each for each in bench.requests if "Parameter" in type(each).__name__],
    )
    if again:
        (start, *_) = [each for each in bench.requests if type(each).__name__ == "PowerDeliveryReq"]
        reader.sent(replace(start, charge_progress=ChargeProgress.Renegotiate), PayloadType.SAP)
    own = replace(asked.ev_charge_parameter, ev_maximum_voltage_limit=values.voltage(800_000, Rounding.DOWN))
    reader.sent(replace(asked, ev_charge_parameter=own), PayloadType.SAP)
    more = bench.charger.ChargeParameterDiscoveryReq(asked)
    more = _with(
        more,
        evse_maximum_power_limit=values.power(90_000, Rounding.DOWN),
        evse_maximum_current_limit=values.current(180_000, Rounding.DOWN),
        evse_maximum_voltage_limit=values.voltage(700_000, Rounding.DOWN),
    )
    assert limit(reader, more) == Output(90_000, 0, 180_000, voltage_mv=agreed.voltage_mv if again else 700_000)


def test_what_a_charger_says_before_it_has_finished_agrees_on_nothing() -> None:
    bench, values = Bench2(DC), Bench2(DC).charger.values
    reader, response = answers(bench, "CurrentDemandReq")
    agreed = limit(reader, response)
    asked = next(each for each in bench.requests if "Parameter" in type(each).__name__)
    start = next(each for each in bench.requests if type(each).__name__ == "PowerDeliveryReq")
    reader.sent(replace(start, charge_progress=ChargeProgress.Renegotiate), PayloadType.SAP)
    finished = bench.charger.ChargeParameterDiscoveryReq(asked)
    nothing = _with(finished, evse_maximum_voltage_limit=values.voltage(0, Rounding.DOWN))
    for each in (replace(nothing, evse_processing=EVSEProcessing.Ongoing), finished):
        reader.sent(asked, PayloadType.SAP)
        assert limit(reader, each).voltage_mv == agreed.voltage_mv


@pytest.mark.parametrize("stop", Stop)
@pytest.mark.parametrize("name", ["ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq"])
def test_a_stop_in_any_answer_counts(name: str, stop: Stop) -> None:
    bench = Bench2(DC)
    reader, response = answers(bench, name)
    assert not reader.received(response, PayloadType.SAP).stop
    bench.charger.stop, bench.charger.stop_in = stop, frozenset({name})
    status = bench.charger.status(StatusPhase.ENERGY, name)
    quiet = replace(status, evse_notification=type(status.evse_notification)("None"))
    for each in (status, quiet):
        assert reader.received(_with(response, dc_evse_status=each, evse_status=each), PayloadType.SAP).stop


@pytest.mark.parametrize("bench", [DinBench, lambda: Bench2(DC)], ids=["din", "2"])
@pytest.mark.parametrize("name", ["CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq"])
def test_a_fault_of_the_insulation_in_any_answer_is_a_stop(bench: Any, name: str) -> None:
    made = bench()
    reader, response = answers(made, name)
    assert not reader.received(response, PayloadType.SAP).stop
    made.charger.isolation = "Fault"
    status = made.charger.status(StatusPhase.ENERGY, name)
    assert reader.received(_with(response, dc_evse_status=status, evse_status=status), PayloadType.SAP).stop


def test_a_residual_current_is_a_stop() -> None:
    bench = Bench2(AC)
    reader, response = answers(bench, "ChargingStatusReq")
    faulty = replace(response.ac_evse_status, rcd=True)
    assert not reader.received(response, PayloadType.SAP).stop
    assert reader.received(replace(response, ac_evse_status=faulty), PayloadType.SAP).stop


def _with(response: Any, **changes: Any) -> Any:
    """Return a response, or its parameter, with those of the fields that it has."""
    if hasattr(response, "evse_charge_parameter"):
        return replace(response, evse_charge_parameter=_with(response.evse_charge_parameter, **changes))
    return replace(response, **{name: value for name, value in changes.items() if hasattr(response, name)})
