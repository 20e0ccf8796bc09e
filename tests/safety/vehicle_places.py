"""What a charger without a plug answers a vehicle above its coil, or below its pantograph, beside the answers that
every charger gives; and what it does there: a coil that sends, a device that comes to the rails.
"""

from typing import Any, Final, Literal

from v2g.io.simulation.lines import ChargerCoil, ChargerCoilLine, ChargerContact, ChargerContactLine
from v2g.io.simulation.medium import Medium
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import acdp, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.schemas import ACDP, WPT
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.d20.wpt_methods import method_lists
from v2g.iso15118.engine import app_protocol as app
from v2g_testkit.cases.known import number
from v2g_testkit.cases.quantities import amount
from v2g_testkit.cases.responses import Fields, Responses

Kind = Literal["dc", "ac", "wpt", "acdp", "basic"]

DEVICE_ID: Final = 77
EFFICIENCY: Final = 0.9
MOST_W: Final = 11_000
CHECK_W: Final = 500
"""What the coil sends for the alignment check."""
COIL_MA: Final = 20_000
HOME_MM, RAILS_MM = 4_500, 3_400

_METHODS: Final = method_lists(("Manual",), ("LPE",), ("PowerCheck",))
_SERVICES: Final[dict[str, tuple[ServiceId, ...]]] = {
    "wpt": (ServiceId.WPT,),
    "acdp": (ServiceId.DC_ACDP, ServiceId.DC_ACDP_BPT),
}
_NAMESPACES: Final = {"wpt": WPT.uri, "acdp": ACDP.uri}
_DYNAMIC, _SCHEDULED = 2, 1


class Coil:
    """The primary device: sends what the loop asks for, or what the test wants."""

    def __init__(self, medium: Medium) -> None:
        self.line = ChargerCoilLine(medium)
        self.efficiency = EFFICIENCY
        self._method = ""
        self.sent_w = 0

    @property
    def drawn_w(self) -> int:
        """What the vehicle takes of it."""
        return self.line.seen.drawn_w if self.line.seen is not None else 0

    @property
    def arrives_w(self) -> int:
        """What of that arrives."""
        return int(self.drawn_w * self.efficiency)

    def tell(self, method: str) -> None:
        """Let the vehicle observe the device's id from now on."""
        self._method = method
        self.send(self.sent_w)

    def send(self, power_w: int) -> None:
        """Send at most this power."""
        self.sent_w = power_w
        current_ma = COIL_MA if power_w else 0
        self.line.hold(ChargerCoil(DEVICE_ID, self._method, current_ma, power_w, self.efficiency))


class Pantograph:
    """The connection device: at home, or at the rails."""

    def __init__(self, medium: Medium) -> None:
        self.line = ChargerContactLine(medium)
        self.connected = False

    def move(self, *, connected: bool) -> None:
        """Close the contacts, or go home."""
        self.connected = connected
        self.line.hold(ChargerContact(RAILS_MM if connected else HOME_MM, connected))

    @property
    def ahead_cm(self) -> int:
        """How far the vehicle still has to drive."""
        return self.line.seen.x_cm if self.line.seen is not None else 0


class PlaceResponses(Responses):
    """Those of a charger of any kind."""

    def __init__(self, kind: Kind, medium: Medium) -> None:
        super().__init__(Family.AC if kind == "ac" else Family.DC, [], pays=(cm.Authorization.EIM,))
        self._kind = kind
        self.coil = Coil(medium) if kind == "wpt" else None
        self.pantograph = Pantograph(medium) if kind == "acdp" else None

    def make(self, request: Any) -> Any:
        name = type(request).__name__
        if self._kind in _SERVICES and isinstance(request, app.SupportedAppProtocolReq):
            return self._agree(request)
        if not name.startswith(("WPT_", "ACDP_")):
            return super().make(request)
        kind = (wpt.ELEMENTS | acdp.ELEMENTS)[name.removesuffix("Req") + "Res"]
        fields: Fields = getattr(self, f"_{name}")(request)
        return kind(**{"header": self.header(), "response_code": ResponseCode.OK, **fields})

    def _agree(self, request: app.SupportedAppProtocolReq) -> app.SupportedAppProtocolRes:
        ours = _NAMESPACES[self._kind]
        (wanted,) = (each for each in request.app_protocol if each.protocol_namespace == ours)
        code = app.ResponseCode.OK_SuccessfulNegotiation
        return app.SupportedAppProtocolRes(response_code=code, schema_id=wanted.schema_id)

    def _ServiceDiscoveryReq(self, request: Any) -> Fields:
        fields = super()._ServiceDiscoveryReq(request)
        if self._kind in _SERVICES:
            services = tuple(cm.Service(service_id=each, free_service=True) for each in _SERVICES[self._kind])
            fields["energy_transfer_service_list"] = cm.ServiceList(service=services)
        return fields

    def _ServiceDetailReq(self, request: cm.ServiceDetailReq) -> Fields:
        if self._kind not in _SERVICES:
            return super()._ServiceDetailReq(request)
        sets = tuple(self._place_set(mode) for mode in (_DYNAMIC, _SCHEDULED))
        return {
            "service_id": request.service_id,
            "service_parameter_list": cm.ServiceParameterList(parameter_set=sets),
        }

    def _place_set(self, mode: int) -> cm.ParameterSet:
        values = {"ControlMode": mode, "MobilityNeedsMode": 1, "Pricing": 0, "BPTChannel": 1, "GeneratorMode": 1}
        parameters = tuple(cm.Parameter(name=name, int_value=value) for name, value in values.items())
        return cm.ParameterSet(parameter_set_id=mode, parameter=parameters)

    # -- wireless power -----------------------------------------------------------------------------------------

    def _WPT_FinePositioningSetupReq(self, request: Any) -> Fields:
        return {
            "primary_device_fine_positioning_method_list": _METHODS.positioning,
            "primary_device_pairing_method_list": _METHODS.pairing,
            "primary_device_alignment_check_method_list": _METHODS.alignment,
            "natural_offset": 0,
        }

    def _WPT_FinePositioningReq(self, request: wpt.WPT_FinePositioningReq) -> Fields:
        if request.ev_processing is Processing.Finished and self.coil is not None:
            self.coil.tell("LPE")
        return {"evse_processing": request.ev_processing}

    def _WPT_PairingReq(self, request: wpt.WPT_PairingReq) -> Fields:
        return {"evse_processing": self._ongoing_once("WPT_PairingReq")}

    def _WPT_ChargeParameterDiscoveryReq(self, request: Any) -> Fields:
        return {
            "pd_input_power_class": wpt.WPT_PowerClass.MF_WPT3,
            "sd_min_output_power": number(0),
            "sd_max_output_power": number(MOST_W),
            "sd_max_ground_clearance_support": 250,
            "sd_min_ground_clearance_support": 100,
            "pd_min_coil_current": number(0),
            "pd_max_coil_current": number(50),
        }

    def _WPT_AlignmentCheckReq(self, request: wpt.WPT_AlignmentCheckReq) -> Fields:
        sent_w = self.coil.drawn_w if self.coil is not None else 0
        return {
            "evse_processing": request.ev_processing,
            "power_transmitted": number(sent_w),
            "supply_device_current": number(COIL_MA // 1000),
        }

    def _WPT_ChargeLoopReq(self, request: wpt.WPT_ChargeLoopReq) -> Fields:
        wanted_w = min(MOST_W, amount(request.evpc_power_request))
        return {
            "evpc_power_request": number(wanted_w),
            "spc_max_output_power_limit": number(MOST_W),
            "spc_min_output_power_limit": number(0),
            "spc_charge_diagnostics": wpt.WPT_SPCChargeDiagnostics.SPCNoIssue,
        }

    # -- automatic connection -----------------------------------------------------------------------------------

    def _ACDP_VehiclePositioningReq(self, request: acdp.ACDP_VehiclePositioningReq) -> Fields:
        ahead_cm = self.pantograph.ahead_cm if self.pantograph is not None else 0
        there = not request.ev_mobility_status and not ahead_cm
        return {
            "evse_processing": Processing.Finished if there else Processing.Ongoing,
            "evse_positioning_support": True,
            "ev_relative_x_deviation": ahead_cm,
            "ev_relative_y_deviation": 0,
            "contact_window_xc": 10,
            "contact_window_yc": 10,
            "ev_in_charge_position": there,
        }

    def _ACDP_ConnectReq(self, request: Any) -> Fields:
        return self._device(self._ongoing_once("ACDP_ConnectReq"), connected=True)

    def _ACDP_DisconnectReq(self, request: Any) -> Fields:
        return self._device(self._ongoing_once("ACDP_DisconnectReq"), connected=False)

    def _device(self, processing: Processing, *, connected: bool) -> Fields:
        done = processing is Processing.Finished
        if done and self.pantograph is not None:
            self.pantograph.move(connected=connected)
        at = acdp.MechanicalChargingDeviceStatus
        place = (at.EndPosition if connected else at.Home) if done else at.Moving
        states = acdp.ElectricalChargingDeviceStatus
        return {
            "evse_processing": processing,
            "evse_electrical_charging_device_status": states.State_B if done and connected else states.State_A,
            "evse_mechanical_charging_device_status": place,
        }

    def _ACDP_SystemStatusReq(self, request: Any) -> Fields:
        there = self.pantograph is not None and self.pantograph.connected
        at = acdp.MechanicalChargingDeviceStatus
        return {
            "evse_mechanical_charging_device_status": at.EndPosition if there else at.Home,
            "evse_ready_to_charge": True,
            "evse_isolation_status": acdp.IsolationStatus.Safe,
            "evse_disabled": False,
            "evse_utility_interrupt_event": False,
            "evse_emergency_shutdown": False,
            "evse_malfunction": False,
            "ev_in_charge_position": True,
            "ev_association_status": there,
        }
