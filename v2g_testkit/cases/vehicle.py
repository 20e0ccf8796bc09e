"""The reference vehicle of ISO 15118-20 in the test of a charger."""

from typing import Any

from v2g import exi
from v2g.exi.declare import schema_of
from v2g.iso15118.d20.charts import LOOPS
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.sequence import Asks, Chart, Says
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.engine.v2gtp import frame
from v2g_testkit.cases.case import Script
from v2g_testkit.cases.changes import CHANGES
from v2g_testkit.cases.known import Kit, Known
from v2g_testkit.cases.requests import Requests
from v2g_testkit.cases.scripted_vehicle import PRE_CHARGE_S, Exchange, ScriptedVehicle

_CHARGING = frozenset({"DC_CableCheckReq", "WPT_AlignmentCheckReq"})


class ReferenceVehicle(ScriptedVehicle, Session20):
    """Runs one script against a charger. `known` is the memory of earlier connections in the same case."""

    messages = MESSAGES
    ongoing_s = Timing().ongoing
    loops = LOOPS

    def __init__(self, script: Script, kit: Kit, known: Known, *, entropy: Entropy) -> None:
        super().__init__(script, kit, known, entropy=entropy)
        self._known = known
        self.family = known.family
        self._requests = Requests(known, kit)

    @property
    def _chart(self) -> Chart:
        return self.chart

    def _on_message(self, message: Any, payload_type: int) -> None:
        self._received(message, message.header.session_id if hasattr(message, "header") else b"")

    def _on_discharge(self, payload: bytes) -> None:
        """Signed discharge was not requested."""

    def _say(self, request: Any) -> None:
        self._send(request)

    def _framed(self, request: Any) -> bytes:
        payload_type = schema_of(type(request)).payload_type
        assert payload_type is not None
        return frame(payload_type, exi.encode(request))

    def _changed(self, change: str, request: Any) -> Any:
        return CHANGES[change](request, self._requests)

    def _stops_power(self, request: Any) -> bool:
        return isinstance(request, cm.PowerDeliveryReq) and request.charge_progress is cm.ChargeProgress.Stop

    def _refused_standby(self, request: Any) -> bool:
        return getattr(request, "charge_progress", None) is cm.ChargeProgress.Standby

    def _asks_to_stop(self, message: Any) -> bool:
        status = getattr(message, "evse_status", None)
        return status is not None and status.evse_notification is EvseNotification.Terminate

    def _charging(self, name: str, asks: Asks) -> bool:
        return name in _CHARGING or (name == "PowerDeliveryReq" and asks is Asks.START)

    def _closes_contactor(self, name: str, asks: Asks, says: Says) -> bool:
        return name == "DC_PreChargeReq" and says is Says.EV_FINISHED

    def _loop_hop(self) -> Exchange:
        return f"{self.state.name.partition('_')[0]}_ChargeLoopReq", Asks.ANYTHING, Says.ANYTHING

    def _is_of_loop(self, name: str) -> bool:
        return name.endswith("ChargeLoopRes")

    def _prepare(self, name: str) -> str:
        known, script = self._known, self._script
        if name == "AuthorizationReq":
            return self._choose_payment()
        if (
            name == "ServiceDetailReq"
            and known.discovery is not None
            and not known.choose_service(script.bidirectional)
        ):
            way = {None: "", True: " that feeds back", False: " that only charges"}[script.bidirectional]
            return f"no energy service of {known.family.value}{way} is offered"
        if name == "ServiceSelectionReq" and known.detail is not None and not known.choose_set(script.scheduled):
            return f"no parameter set is {'Scheduled' if script.scheduled else 'Dynamic'}"
        return ""

    def _choose_payment(self) -> str:
        setup, (pay, _, contract) = self._known.setup, self._script.pay.partition(" ")
        if setup is None:
            return ""
        offered = [each.name for each in setup.authorization_services]
        pay = pay or self._kit.pay or ("PnC" if "PnC" in offered and "good" in self._kit.contracts else "EIM")
        if pay not in offered:
            return f"the charger does not offer {pay}"
        if pay == "PnC":
            self._requests.payer = self._kit.contracts.get(contract or "good")
            if self._requests.payer is None:
                return f"no contract {contract or 'good'!r} given"
        self._requests.pay = pay
        return ""

    def _make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Any:
        self._requests.time = self._time.utc_ms // 1000
        if name == "DC_PreChargeReq" and says is Says.EV_FINISHED:
            says = Says.ANYTHING  # finished once the voltage is reached; without power electronics it never is
            self._requests.patient = self._time.now - self._since < PRE_CHARGE_S
        return self._requests.make(name, asks, says)

    def _learn(self, request: Any, message: Any) -> None:
        known, name = self._known, type(message).__name__
        known.hear(message)
        if name == "AuthorizationSetupRes":
            self._note_setup(message)
        known.pre_charged = name == "DC_PreChargeRes"

    def _note_setup(self, setup: cm.AuthorizationSetupRes) -> None:
        """Record facts about the authorization methods (V2G20-1219, -1220, -697)."""
        mode = setup.pnc_as_res_authorization_mode
        if (cm.Authorization.PnC in setup.authorization_services) != (mode is not None):
            self.seen.facts.append("gives the authorization mode of a way that it does not offer")
        if mode is not None:
            if mode.gen_challenge in self._known.earlier_challenges:
                self.seen.facts.append("gives a challenge that it has given before")
            if not any(mode.gen_challenge):
                self.seen.facts.append("gives a challenge of zeros")
            self._known.earlier_challenges.append(mode.gen_challenge)
