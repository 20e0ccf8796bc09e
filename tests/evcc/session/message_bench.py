"""A bench for the editions of V2G_Message: ISO 15118-2 and DIN 70121."""

import itertools
from typing import Any, ClassVar

from msgspec.structs import replace

from evcc.session.edition import Connection
from evcc.session.ports import SetPowerLimits
from evcc.session.settings import ProgramStep, SessionConfig
from evcc.session.v2g_message.session import MessageVehicle
from tests.evcc.session.vehicle_bench import VehicleBench
from v2g import exi
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.dc_status import Phase, Stop
from v2g.iso15118.engine.physical_values import Rounding, Writer
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame

SESSION_ID = bytes.fromhex("0011223344556677")
SHORT = SessionConfig(program=(ProgramStep(do="charge", energy_wh=100),))


def counter() -> Any:
    """Return entropy that never repeats and is the same in every run."""
    numbers = itertools.count(1)
    return lambda n: next(numbers).to_bytes(n, "big")


class ScriptedCharger:
    """Answers every request by the book; tests change its attributes. It has a method for each request.

    `stop` and `stop_in` are why and in which responses its status demands a stop.
    """

    types: ClassVar[Any]
    """The edition's module of data types, and those of its messages."""
    common: ClassVar[Any]
    values: ClassVar[Writer[Any]]

    def __init__(self) -> None:
        self.session_id = SESSION_ID
        self.payment: tuple[Any, ...] = (self.types.PaymentOption.ExternalPayment,)
        self.ongoing: dict[str, int] = {}
        self.codes: dict[str, Any] = {}
        self.stop: Stop | None = None
        self.stop_in: frozenset[str] = frozenset({"CurrentDemandReq"})
        self.isolation = "Valid"
        self.max_power_w: int | None = 50_000
        self.max_current_ma = 125_000
        self.max_voltage_mv, self.min_voltage_mv = 500_000, 150_000
        self.voltage = self.current = 0.0

    def message(self, body: Any) -> Any:
        """Return a body as V2G_Message of the edition."""
        raise NotImplementedError

    def status(self, phase: Phase, name: str) -> Any:
        """Return the edition's DC_EVSEStatus in the response to the request `name`."""
        raise NotImplementedError

    def ok(self, name: str, **fields: Any) -> Any:
        """Return the positive response to the request `name`."""
        kind = name.removesuffix("Req") + "Res"
        found = getattr(self.common, kind)
        return found(response_code=self.types.ResponseCode.OK, **fields)

    def processing(self, name: str) -> Any:
        """Return EVSEProcessing in the response to a repeated request."""
        return self.types.EVSEProcessing["Finished" if finished(self, name) else "Ongoing"]

    def present(self) -> Any:
        """Return the present voltage."""
        return self.values.voltage(round(self.voltage * 1000), Rounding.NEAREST)

    def limits(self) -> dict[str, Any]:
        """Return the limits in DC_EVSEChargeParameter."""
        power_w = self.max_power_w
        return {
            "evse_maximum_current_limit": self.values.current(self.max_current_ma, Rounding.DOWN),
            "evse_maximum_power_limit": None if power_w is None else self.values.power(power_w, Rounding.DOWN),
            "evse_maximum_voltage_limit": self.values.voltage(self.max_voltage_mv, Rounding.DOWN),
            "evse_minimum_current_limit": self.values.current(0, Rounding.UP),
            "evse_minimum_voltage_limit": self.values.voltage(self.min_voltage_mv, Rounding.UP),
            "evse_peak_current_ripple": self.values.current(1000, Rounding.UP),
        }

    def CableCheckReq(self, request: Any) -> Any:
        processing = self.processing("CableCheckReq")
        done = processing is self.types.EVSEProcessing.Finished
        found = self.status(Phase.CHECKED if done else Phase.CABLE_CHECK, "CableCheckReq")
        return self.ok("CableCheckReq", dc_evse_status=found, evse_processing=processing)

    def PreChargeReq(self, request: Any) -> Any:
        if finished(self, "PreChargeReq"):
            self.voltage = request.ev_target_voltage.value * 10.0**request.ev_target_voltage.multiplier
        found = self.status(Phase.PRE_CHARGE, "PreChargeReq")
        return self.ok("PreChargeReq", dc_evse_status=found, evse_present_voltage=self.present())

    def CurrentDemandReq(self, request: Any, **metered: Any) -> Any:
        return self.ok(
            "CurrentDemandReq",
            dc_evse_status=self.status(Phase.ENERGY, "CurrentDemandReq"),
            evse_present_voltage=self.present(),
            evse_present_current=self.values.current(round(self.current * 1000), Rounding.NEAREST),
            evse_current_limit_achieved=False,
            evse_voltage_limit_achieved=False,
            evse_power_limit_achieved=False,
            **metered,
        )

    def WeldingDetectionReq(self, request: Any) -> Any:
        found = self.status(Phase.STOPPED, "WeldingDetectionReq")
        return self.ok("WeldingDetectionReq", dc_evse_status=found, evse_present_voltage=self.present())

    def SessionStopReq(self, request: Any) -> Any:
        return self.ok("SessionStopReq")


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
        waited = {name: options.pop(name) for name in ("connected_for",) if name in options}
        super().__init__(**made)
        self.charger = charger
        leaf = b"leaf" if options.pop("tls", True) else b""
        connection = Connection(
            battery=self.model.state, entropy=counter(), secc_certificate=leaf, time_scale=self.scale, **options
        )
        self.session = session(config, connection, **waited)  # type: ignore[call-arg, arg-type]
        self.headers: list[Any] = []
        self.limit_w = 22_000

    def on_sent(self, payload_type: int, payload: bytes) -> None:
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
