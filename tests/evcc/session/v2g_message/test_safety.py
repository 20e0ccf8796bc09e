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
from v2g.iso15118.d2.messages.data_types import EnergyTransferMode
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.dc_status import Phase as StatusPhase
from v2g.iso15118.engine.dc_status import Stop
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import Ask, Phase

pytestmark = pytest.mark.requirement("R15")

CONFIG = SessionConfig()
_TIMING = CONFIG.timing
ANSWER_S = _TIMING.poll_pause_s + _TIMING.loop_pause_s + _TIMING.contactor_s + 0.5
"""How long the vehicle may take to its next request, with half a second of tolerance."""


def messages(bench: MessageBench) -> V2gMessages:
    if isinstance(bench, DinBench):
        return V2gMessages(CONFIG, CONFIG.timers_din, DIN)
    return V2gMessages(CONFIG, CONFIG.timers_2, ISO2)


class Read(list[tuple[str, Ask]]):
    """A whole session, message by message, and what each one means; the messages pass as EXI."""

    def __init__(self, bench: MessageBench) -> None:
        super().__init__()
        self.reader = messages(bench)
        sent, answered = bench._sent, bench.reply

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

        bench._sent, bench.reply = send, reply  # type: ignore[method-assign]

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


def answers(bench: Any, name: str) -> tuple[V2gMessages, Any]:
    """Return a reader that has read everything before the response to `name`, and that response."""
    read = Read(bench)
    bench.run_to(name)
    return read.reader, bench.answered()


@pytest.mark.parametrize("bench", [DinBench(), Bench2(DC)])
def test_the_chargers_power_of_direct_current_is_a_limit(bench: MessageBench) -> None:
    reader, response = answers(bench, "CurrentDemandReq")
    assert reader.received(response, PayloadType.SAP).limit_w is None
    for watts, limit_w in ((9_000, 9_000), (0, 0), (-5, 0)):
        lower = replace(response, evse_maximum_power_limit=bench.charger.values.power(watts, Rounding.DOWN))
        assert reader.received(lower, PayloadType.SAP).limit_w == limit_w
    odd = replace(bench.charger.values.power(1, Rounding.DOWN), value=2_905, multiplier=-2)
    assert reader.received(replace(response, evse_maximum_power_limit=odd), PayloadType.SAP).limit_w == 30


@pytest.mark.parametrize("bench", [DinBench(), Bench2(DC)])
def test_the_chargers_parameters_are_limits(bench: MessageBench) -> None:
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    found = reader.received(response, PayloadType.SAP)
    assert (found.limit_w, found.phase) == (50_000, Phase.VOLTAGE)


@pytest.mark.parametrize(("mode", "phases"), [("AC_single_phase_core", 1), ("AC_three_phase_core", 3)])
def test_the_chargers_current_is_a_limit_of_all_phases_at_the_highest_voltage(mode: str, phases: int) -> None:
    bench = Bench2(AC)
    reader, response = answers(bench, "ChargeParameterDiscoveryReq")
    request = replace(bench.requests[-1], requested_energy_transfer_mode=EnergyTransferMode[mode])
    reader.sent(request, PayloadType.SAP)
    assert reader.received(response, PayloadType.SAP) == Ask(alive_s=ANSWER_S, limit_w=phases * 16 * 253)
    bench.reply(response)
    bench.run_to("ChargingStatusReq")
    response = bench.answered()
    lower = replace(response, evse_max_current=bench.charger.values.current(6_000, Rounding.DOWN))
    assert reader.received(lower, PayloadType.SAP).limit_w == phases * 6 * 253
    assert reader.received(replace(response, evse_max_current=None), PayloadType.SAP).limit_w is None


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
