"""The reference chargers of ISO 15118-2 and DIN 70121 in the test of a vehicle."""

from abc import abstractmethod
from typing import Any, ClassVar

from msgspec.structs import replace

from v2g import exi
from v2g.exi.declare import Element
from v2g.iso15118.d2.charts import CHARTS as CHARTS_2
from v2g.iso15118.d2.charts import Family as Family2
from v2g.iso15118.d2.charts import Session2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.charts import CHART as CHART_DIN
from v2g.iso15118.din.charts import SessionDin
from v2g.iso15118.engine.app_protocol import ResponseCode, SupportedAppProtocolRes
from v2g.iso15118.engine.message_timing import SharedTiming
from v2g.iso15118.engine.sequence import Chart
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.engine.v2g_message import Header, MessageSession
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.iso15118.v2g_message import CurrentDemandRes, V2G_Message
from v2g_testkit.cases.case import ChargerScript
from v2g_testkit.cases.scripted_charger import ScriptedCharger
from v2g_testkit.cases.v2g_message.responses import ContractResponses2, MessageResponses, Responses2, ResponsesDin

_STRANGER = b"somebody"
_LOOP = ("CurrentDemandReq", "ChargingStatusReq", "CurrentDemandRes", "ChargingStatusRes")
_STATUS = ("dc_evse_status", "ac_evse_status", "evse_status")


class MessageCharger(ScriptedCharger, MessageSession):
    """Runs one connection of a vehicle, which pays externally unless the script says PnC."""

    _responses: MessageResponses
    kind: ClassVar[type[MessageResponses]]
    by_contract: ClassVar[type[MessageResponses]]
    ends = "StopCharging"
    sequence_s = SharedTiming().secc_sequence

    def __init__(self, script: ChargerScript, family: Family, *, entropy: Entropy, **_: object) -> None:
        super().__init__(script, family, entropy=entropy)
        kind = self.by_contract if script.pay == "PnC" else self.kind
        self._responses = kind(family, self.seen.facts)

    @property
    @abstractmethod
    def _chart(self) -> Chart:
        """The sequence chart."""

    def _on_start(self) -> None:
        self._responses.challenge = self._entropy(16)
        super()._on_start()

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        self.seen.received(payload_type, payload)
        super()._receive_frame(payload_type, payload)

    def _on_body(self, body: Element, header: Header | None) -> None:
        self._responses.signature = None if header is None else header.signature
        self._responses.utc_s = self._time.utc_ms // 1000
        self._received(body, b"" if header is None else header.session_id)

    def _made(self, request: Element) -> Element:
        return self._responses.make(request)

    def _asked(self, request: Element) -> str:
        name = type(request).__name__
        if name == "PowerDeliveryReq":
            progress = getattr(request, "charge_progress", None)
            ready = getattr(request, "ready_to_charge_state", None)
            return f"{name} {progress.name if progress is not None else 'Start' if ready else 'Stop'}"
        if name == "SessionStopReq":
            kind = getattr(request, "charging_session", None)
            self.seen.facts.append(f"stops the session: {kind.name if kind is not None else 'Terminate'}")
        return name

    def _is_loop(self, name: str) -> bool:
        return name in _LOOP

    # -- answers ------------------------------------------------------------------------------------------------

    def _coded(self, response: Any, code: str) -> Any:
        if isinstance(response, SupportedAppProtocolRes):
            return SupportedAppProtocolRes(response_code=ResponseCode(code))
        return replace(response, response_code=type(response.response_code)(code))

    def _out(self, response: Element) -> None:
        if isinstance(response, SupportedAppProtocolRes):
            self._send(response)
        else:
            self._send_body(response)

    def _out_of_another_session(self, response: Element) -> None:
        message = self._wrapped(response, None)
        assert isinstance(message, V2G_Message)
        self._send(replace(message, header=replace(message.header, session_id=_STRANGER)))

    def _framed(self, response: Element) -> bytes:
        return frame(PayloadType.SAP, exi.encode(self._wrapped(response, None)))

    def _of_another(self, name: str, response: Any) -> Any:
        codes = type(response.response_code)
        made = self._responses.responses
        if name == "SessionStopReq":
            return made["SessionSetupRes"](
                response_code=codes.OK, evse_id=b"\0" if "ContractAuthenticationRes" in made else "ZZ00000"
            )
        return made["SessionStopRes"](response_code=codes.OK)

    def _twisted(self, response: Any) -> Any:
        made = self._responses
        match self._script.twist:
            case "ongoing":
                return replace(response, evse_processing=made.types.EVSEProcessing(self._script.value))
            case "no voltage":
                made.voltage = 0.0
                return replace(response, evse_present_voltage=made.volts(0))
            case "status":
                return _with_code(response, self._script.value)
            case "isolation":
                status = response.dc_evse_status
                level = made.limits.IsolationLevel(self._script.value)
                return replace(response, dc_evse_status=replace(status, evse_isolation_status=level))
        return response

    def _with_notice(self, response: Element, notice: str) -> Element:
        name = next(each for each in _STATUS if getattr(response, each, None) is not None)
        status = getattr(response, name)
        kind = type(status.evse_notification)
        return replace(response, **{name: replace(status, evse_notification=kind(notice))})


def _with_code(response: CurrentDemandRes, code: str) -> Element:
    status = response.dc_evse_status
    return replace(response, dc_evse_status=replace(status, evse_status_code=type(status.evse_status_code)(code)))


class Charger2(MessageCharger, Session2):
    """A charger of ISO 15118-2."""

    kind, by_contract = Responses2, ContractResponses2

    def __init__(self, script: ChargerScript, family: Family, *, entropy: Entropy, **options: object) -> None:
        super().__init__(script, family, entropy=entropy, **options)
        self.family = Family2(family.value)

    @property
    def _chart(self) -> Chart:
        return CHARTS_2[self.family]


class ChargerDin(MessageCharger, SessionDin):
    """A charger of DIN 70121."""

    kind = by_contract = ResponsesDin
    ends = "EVSE_Shutdown"

    @property
    def _chart(self) -> Chart:
        return CHART_DIN

    def _with_notice(self, response: Element, notice: str) -> Element:
        """Say by the status code what is wanted: EVSENotification is always None [V2G-DC-500]."""
        assert isinstance(response, CurrentDemandRes)
        return _with_code(response, notice)
