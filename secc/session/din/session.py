"""The charge point's side of a DIN 70121 session."""

from types import MappingProxyType
from typing import ClassVar, Final

from secc.session.config import DinConfig, SeccConfig
from secc.session.din.handlers import HANDLERS, ON_FACT
from secc.session.din.refusal import refusal
from secc.session.v2g_message.request_context import MessageSet
from secc.session.v2g_message.session import V2gMessageSession
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.charts import STRICT
from v2g.iso15118.din.messages import charging, common
from v2g.iso15118.din.messages.data_types import EVSEProcessing, ResponseCode
from v2g.iso15118.din.quantities import VALUES
from v2g.iso15118.din.response_codes import NAMES_OF_2
from v2g.iso15118.din.schedules import planned
from v2g.iso15118.din.session import SessionDin
from v2g.iso15118.din.status import dc_evse_status
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.sequence import Chart

MESSAGES: Final = MessageSet(
    protocol="DIN 70121",
    responses=MappingProxyType({**common.ELEMENTS, **charging.ELEMENTS}),
    codes=ResponseCode,
    processing=EVSEProcessing,
    values=VALUES,
    status=dc_evse_status,
    voltage_error="FAILED_EVSEPresentVoltageToLow",
)


class DinSession(V2gMessageSession, SessionDin):
    """One session of a charge point: see `ChargerSession`."""

    handlers = HANDLERS
    on_facts = ON_FACT
    messages = MESSAGES
    notifications: ClassVar = frozenset({"Terminate"})
    scheduled = False

    @staticmethod
    def _settings(config: SeccConfig) -> DinConfig:
        return config.din

    @property
    def _kind(self) -> Family:
        return Family.DC

    @property
    def _strict_chart(self) -> Chart:
        return STRICT

    def _refusal(self, request: Element, code: str) -> Element:
        return refusal(request, NAMES_OF_2.get(code, code), evse_id=self._config.evse_id)

    def _plan(self, request: Element) -> PowerSchedule | None:
        return planned(request.charging_profile) if isinstance(request, common.PowerDeliveryReq) else None

    def _starts(self, request: Element) -> bool:
        return isinstance(request, common.PowerDeliveryReq) and request.ready_to_charge_state
