"""The reference charger of ISO 15118-20 in the test of a vehicle."""

from typing import Any, Final

from msgspec.structs import replace

from v2g import exi
from v2g.errors import V2GError
from v2g.exi.declare import Element, schema_of
from v2g.iso15118.d20.charts import SIDE_CHARTS, Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.ac import BPT_Dynamic_AC_CLResControlMode
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus, Processing, ResponseCode
from v2g.iso15118.d20.services import DER_SCHEMAS
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.sequence import Chart, code_of
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.engine.v2gtp import frame
from v2g_testkit.cases import der
from v2g_testkit.cases.case import ChargerScript
from v2g_testkit.cases.known import number
from v2g_testkit.cases.quantities import amount
from v2g_testkit.cases.responses import Responses, with_code
from v2g_testkit.cases.scripted_charger import ScriptedCharger

_LESS_V: Final = 50.0


class ReferenceCharger(ScriptedCharger, Session20):
    """Runs one connection of a vehicle."""

    _responses: Responses
    ends = "Terminate"
    sequence_s = Timing().secc_sequence

    def __init__(
        self,
        script: ChargerScript,
        family: Family,
        *,
        entropy: Entropy,
        pays: tuple[cm.Authorization, ...],
        tls: bool = True,
    ) -> None:
        super().__init__(script, family, entropy=entropy)
        self.family = family
        pays = pays if tls else (cm.Authorization.EIM,)
        self._responses = Responses(family, self.seen.facts, pays=pays, demands=script.der)

    @property
    def _chart(self) -> Chart:
        return self.chart

    def _on_start(self) -> None:
        self._responses.challenge = self._entropy(16)
        super()._on_start()

    def _on_message(self, message: Element, payload_type: int) -> None:
        if payload_type in SIDE_CHARTS and type(message).__name__.endswith("Req"):
            self._beside(message, type(message).__name__, payload_type)
        else:
            self._received(message, message.header.session_id if hasattr(message, "header") else b"")

    def _on_discharge(self, payload: bytes) -> None:
        """Signed discharge is not offered."""

    def _beside(self, request: Element, name: str, payload_type: int) -> None:
        """Answer on a side stream, immediately: the main one continues meanwhile."""
        self._note_asked(request, name)
        if self.closed:
            return
        try:
            self._send(self._made(request), payload_type)
        except KeyError:
            self._trouble(f"it sent {name}, which the tester does not support")
        except V2GError as error:
            self._fault(f"its {name} has no meaning: {error}")

    def _made(self, request: Element) -> Element:
        self._responses.time, self._responses.session_id = self._time.utc_ms // 1000, self.session_id
        return self._responses.make(request)

    def _look(self, request: Element) -> None:
        self.der = DER_SCHEMAS.get(self._responses.service)
        mode = getattr(request, "dc_cpd_req_energy_transfer_mode", None)
        if mode is not None:
            self._bears = amount(mode.ev_maximum_voltage), amount(mode.ev_maximum_charge_current)

    def _asked(self, request: Element) -> str:
        if isinstance(request, cm.PowerDeliveryReq):
            return f"PowerDeliveryReq {request.charge_progress.name}"
        if isinstance(request, cm.SessionStopReq):
            self.seen.facts.append(f"stops the session: {request.charging_session.name}")
        return type(request).__name__

    def _is_loop(self, name: str) -> bool:
        return name.endswith(("ChargeLoopReq", "ChargeLoopRes"))

    def _finish(self) -> None:
        if self._script.der not in ("", der.UNKNOWN) and der.TAKES not in self.seen.facts:
            self.seen.absent = "the vehicle does not take AC DER"
        super()._finish()

    def _counted(self) -> None:
        self._responses.energy_wh += 1

    # -- answers ------------------------------------------------------------------------------------------------

    def _coded(self, response: Element, code: str) -> Element:
        return with_code(response, code)

    def _out(self, response: Element) -> None:
        self._send(response)

    def _out_of_another_session(self, response: Element) -> None:
        self._send(replace(response, header=replace(self._responses.header(), session_id=b"somebody")))

    def _framed(self, response: Element) -> bytes:
        payload_type = schema_of(type(response)).payload_type
        assert payload_type is not None
        return frame(payload_type, exi.encode(response))

    def _of_another(self, name: str, response: Element) -> Element:
        kind = cm.SessionStopRes if name != "SessionStopReq" else cm.ServiceSelectionRes
        return kind(header=self._responses.header(), response_code=ResponseCode[code_of(response)])

    def _twisted(self, response: Any) -> Any:
        match self._script.twist:
            case "ongoing":
                return replace(response, evse_processing=Processing(self._script.value))
            case "no voltage":
                self._responses.voltage = 0.0
                return replace(response, evse_present_voltage=replace(response.evse_present_voltage, value=0))
            case "less voltage":
                self._responses.voltage -= _LESS_V
                return replace(response, evse_present_voltage=number(self._responses.voltage))
            case "too much voltage":
                return replace(response, evse_present_voltage=number(round(self._bears[0] * 1.2)))
            case "too much current":
                return replace(response, evse_present_current=number(round(self._bears[1] * 2)))
            case "mode of BPT":
                mode = BPT_Dynamic_AC_CLResControlMode(evse_target_active_power=number(0))
                return replace(response, cl_res_control_mode=mode)
        return response

    def _with_notice(self, response: Element, notice: str) -> Element:
        if notice == "MeteringConfirmation":
            response = self._responses.to_confirm(response)
        status = EVSEStatus(notification_max_delay=0, evse_notification=EvseNotification(notice))
        return replace(response, evse_status=status)
