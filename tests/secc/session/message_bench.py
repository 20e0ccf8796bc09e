"""A session of an edition of V2G_Message on a bench, and a vehicle by the book; its requests are the edition's."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.identity import Identity, SessionTrust
from secc.session.v2g_message.session import V2gMessageSession
from tests.charger_session import charger_session
from tests.secc.session.shell import Shell, counter
from tests.trees import known
from v2g import exi
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.exi.declare import Schema
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding, Writer
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame


class MessageBench(Shell):
    """One session, its shell and its vehicle."""

    kind: ClassVar[type[V2gMessageSession]]
    schema: ClassVar[Schema]
    requests: ClassVar[Mapping[str, Any]]
    types: ClassVar[Any]
    """The edition's module of charge parameters."""
    values: ClassVar[Writer[Any]]
    session: V2gMessageSession

    def __init__(self, pki: PkiTree, utc_ms: int, config: SeccConfig, **options: Any) -> None:
        super().__init__(utc_ms)
        pki = known(pki)
        self.config = config
        settings: dict[str, Any] = {
            "limits": (
                Limit(source=SITE, charge_w=40_000, discharge_w=0),
                Limit(source=OPERATOR, charge_w=40_000, discharge_w=0, version=1),
            ),
            "entropy": counter(),
            "meter": ports.MeterRead(utc_ms, 5_000_000, 2_000_000),
            "tls": False,
        }
        self.session = charger_session(
            config,
            trust=SessionTrust(
                *(pki.anchors("v2g"), pki.anchors("mo"), pki.key("secc"), pki.chain("secc")),
                crls=options.pop("crls", ()),
                central=options.pop("central", False),
            ),
            identity=Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
            kind=self.kind,
            **{**settings, **options},
        )
        self.headers: list[Any] = []
        self.soc, self.error = 40, "NO_ERROR"
        self.evcc_id = b"\x04ee\x00d\xc3"
        self.start()

    @property
    def ways(self) -> Mapping[State, tuple[str, ...]]:
        """How to get to each state."""
        raise NotImplementedError

    def wrapped(self, session_id: bytes, body: Any) -> Any:
        """Return a V2G_Message."""
        raise NotImplementedError

    def stop(self) -> Any:
        """Stop power, and return the response."""
        raise NotImplementedError

    def _take(self, data: bytes) -> None:
        for each in self.framer.feed(data):
            message, _ = decode_message(each.payload, self.schema, handshake=not self.responses)
            self.responses.append(body_of(message))
            if hasattr(message, "header"):
                self.headers.append(message.header)

    def send(self, request: Any, session_id: bytes | None = None) -> Any:
        """Send a request and return the response, None if there was none."""
        count = len(self.responses)
        self.post(request, session_id)
        return self.responses[-1] if len(self.responses) > count else None

    def post(self, request: Any, session_id: bytes | None = None) -> None:
        message = request
        if not isinstance(request, app.SupportedAppProtocolReq):
            known_id = self.session.session_id if self.headers else b"\0"
            message = self.wrapped(known_id if session_id is None else session_id, request)
        self.raw(frame(PayloadType.SAP, exi.encode(message)))

    def ask(self, name: str, **changes: Any) -> Any:
        """Return a request that fits the session so far."""
        return self.requests[name](**{**getattr(self, f"_{name}", dict)(), **changes})

    def go(self, *names: str) -> Any:
        """Send requests by the book and return the last response."""
        response = None
        for name in names:
            response = self.stop() if name == "stop" else self.send(self.ask(name))
        return response

    def reach(self, state: State) -> Any:
        """Drive a fresh session to a state by the shortest way."""
        self.go(*self.ways[state])
        assert self.session.state is state, (self.session.state, self.reason, self.events("request_failed"))
        return self

    def quirks(self) -> list[str]:
        return [str(each["quirk"]) for each in self.events("quirk_tolerated")]

    def _SupportedAppProtocolReq(self) -> dict[str, Any]:
        return {"app_protocol": (protocol(self.schema.uri),)}

    def _SessionSetupReq(self) -> dict[str, Any]:
        return {"evcc_id": self.evcc_id}

    # -- requests with direct current, alike in both editions ---------------------------------------------------

    def volts(self, value: float) -> Any:
        return self.values.voltage(round(value * 1000), Rounding.NEAREST)

    def amperes(self, value: float) -> Any:
        return self.values.current(round(value * 1000), Rounding.NEAREST)

    def status(self) -> Any:
        code = self.types.DC_EVErrorCode(self.error)
        return self.types.DC_EVStatus(ev_ready=True, ev_error_code=code, ev_ress_soc=self.soc)

    def parameters(self, **changes: Any) -> Any:
        known = self.types.DC_EVChargeParameter(
            dc_ev_status=self.status(),
            ev_maximum_current_limit=self.amperes(60),
            ev_maximum_power_limit=self.values.power(20_000, Rounding.NEAREST),
            ev_maximum_voltage_limit=self.volts(450),
            ev_energy_capacity=self.values.energy(50_000, Rounding.DOWN),
            ev_energy_request=self.values.energy(20_000, Rounding.DOWN),
            full_soc=100,
            bulk_soc=80,
        )
        return msgspec.structs.replace(known, **changes)

    def _ServiceDetailReq(self) -> dict[str, Any]:
        return {"service_id": 1}

    def _CableCheckReq(self) -> dict[str, Any]:
        return {"dc_ev_status": self.status()}

    def _WeldingDetectionReq(self) -> dict[str, Any]:
        return {"dc_ev_status": self.status()}

    def _PreChargeReq(self) -> dict[str, Any]:
        target = {"ev_target_voltage": self.volts(400), "ev_target_current": self.amperes(1)}
        return {"dc_ev_status": self.status(), **target}

    def _delivery(self) -> Any:
        return self.types.DC_EVPowerDeliveryParameter(dc_ev_status=self.status(), charging_complete=False)

    def _CurrentDemandReq(self) -> dict[str, Any]:
        return {
            "dc_ev_status": self.status(),
            "ev_target_current": self.amperes(20),
            "ev_target_voltage": self.volts(420),
            "charging_complete": False,
        }


OTHER_MAKE = bytes.fromhex("0011223344AA")
"""EVCCID of a make of which no quirk is known."""


def protocol(namespace: str, major: int = 2, minor: int = 0, schema: int = 1, rank: int = 1) -> Any:
    return app.AppProtocol(
        protocol_namespace=namespace,
        version_number_major=major,
        version_number_minor=minor,
        schema_id=schema,
        priority=rank,
    )
