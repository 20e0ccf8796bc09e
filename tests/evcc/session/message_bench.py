"""A bench for the editions of V2G_Message: ISO 15118-2 and DIN 70121."""

import itertools
from typing import Any, Protocol

from msgspec.structs import replace

from evcc.session.ports import SetPowerLimits
from evcc.session.settings import ProgramStep, SessionConfig
from evcc.session.v2g_message.session import MessageVehicle
from tests.evcc.session.vehicle_bench import VehicleBench
from v2g import exi
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame

SESSION_ID = bytes.fromhex("0011223344556677")
SHORT = SessionConfig(program=(ProgramStep(do="charge", energy_wh=100),))


def counter() -> Any:
    """Return entropy that never repeats and is the same in every run."""
    numbers = itertools.count(1)
    return lambda n: next(numbers).to_bytes(n, "big")


class ScriptedCharger(Protocol):
    """Answers every request by the book; tests change its attributes. It has a method for each request."""

    session_id: bytes
    voltage: float
    current: float
    ongoing: dict[str, int]
    codes: dict[str, Any]

    def message(self, body: Any) -> Any:
        """Return a body as V2G_Message of the edition."""


def answer(charger: ScriptedCharger, request: Any) -> Any:
    """Return the response to a request."""
    name = type(request).__name__
    if name == "SupportedAppProtocolReq":
        code = app.ResponseCode.OK_SuccessfulNegotiation
        return app.SupportedAppProtocolRes(response_code=code, schema_id=request.app_protocol[0].schema_id)
    response = getattr(charger, name)(request)
    return replace(response, response_code=charger.codes[name]) if name in charger.codes else response


def finished(charger: ScriptedCharger, name: str) -> bool:
    """Return whether a repeated exchange is over, and count it."""
    left = charger.ongoing.get(name, 0)
    charger.ongoing[name] = max(0, left - 1)
    return not left


class MessageBench(VehicleBench):
    """`headers` are those of the messages that the vehicle sent; `alters` changes the next responses by name."""

    session: MessageVehicle
    charger: ScriptedCharger

    def __init__(
        self, session: type[MessageVehicle], charger: ScriptedCharger, config: SessionConfig = SHORT, **options: Any
    ) -> None:
        made = {name: options.pop(name) for name in ("soc", "scale", "battery") if name in options}
        super().__init__(**made)
        self.charger = charger
        self.session = session(config, battery=self.model.state, entropy=counter(), **options)  # type: ignore[call-arg]
        self.headers: list[Any] = []
        self.limit_w = 22_000

    def _sent(self, payload_type: int, payload: bytes) -> None:
        message, _ = decode_message(payload, self.session.schema, handshake=not self.requests)
        self.headers.append(getattr(message, "header", None))
        self.requests.append(body_of(message))
        self.unanswered.append(body_of(message))

    def reply(self, body: Any) -> None:
        """Send a response, or anything else."""
        message = body if type(body).__name__.startswith("SupportedApp") else self.charger.message(body)
        self.receive(frame(PayloadType.SAP, exi.encode(message)))

    def answered(self) -> Any:
        """Return the response to the request that waits."""
        return answer(self.charger, self.unanswered.pop(0))

    def altered(self, **changes: Any) -> None:
        """Answer the request that waits with changed fields."""
        self.reply(replace(self.answered(), **changes))

    def step(self) -> None:
        """One exchange: answer the request that waits, or let the pause go by."""
        if not self.unanswered:
            self.wait()
            return
        looping = type(self.unanswered[0]).__name__ in ("CurrentDemandReq", "ChargingStatusReq")
        response = self.answered()
        if looping:
            self.drive()
        self.battery()
        self.reply(response)

    def drive(self) -> None:
        """Let current flow as the vehicle's limits allow."""
        limits = next((c for c in reversed(self.commands) if isinstance(c, SetPowerLimits)), SetPowerLimits(0, 0))
        self.charger.voltage = self.model.state.voltage_mv / 1000
        self.charger.current = min(limits.charge_w, self.limit_w) / self.charger.voltage
