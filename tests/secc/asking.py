"""A session in short, for tests of the hardware alone: what the safety monitor has to know before anything may flow."""

from secc.hardware.safety import SafetyChannel
from secc.session import ports
from v2g.energy.settlement.records import ServiceChanged
from v2g.safety import Output, Phase, Request

FOREVER = float("inf")


def ask_for_everything(safety: SafetyChannel) -> None:
    """Be a vehicle that is authorised, and asks for any power in both directions as long as the test lasts."""
    bears = Output(charge_w=10_000_000, discharge_w=10_000_000)
    asked = Request(phase=Phase.POWER, power_s=FOREVER, closed_s=FOREVER, bears=bears)
    hear = safety.converse(lambda _message, _stream: asked)
    safety.command(ports.TransactionStarted("0011223344556677", ""))
    safety.command(ports.Journal(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated")))
    hear(None, 0)
