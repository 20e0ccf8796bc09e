"""A charger of ISO 15118-20 that lies in one field of one response, on the wire: direct and alternating current.

The table for ISO 15118-2 and DIN 70121 is in `tests/evcc/session/v2g_message/test_plausibility.py`.
"""

import time
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.settings import AuthorizationConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from tests.sessions.joined import Joined
from v2g import exi
from v2g.errors import CodecError
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.quantities import rational
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.v2gtp import Framer, frame

pytestmark = pytest.mark.requirement("R15")

DC_PARAMETERS, AC_PARAMETERS = "DC_ChargeParameterDiscoveryRes", "AC_ChargeParameterDiscoveryRes"
PRE_CHARGE, DC_LOOP, AC_LOOP = "DC_PreChargeRes", "DC_ChargeLoopRes", "AC_ChargeLoopRes"
NEGATIVE, CONTRADICT = "evse_limit_negative", "evse_limits_contradict"
VOLTAGE, CURRENT = "evse_voltage_out_of_range", "evse_current_out_of_range"

TABLE: Final = [
    ("DC", DC_PARAMETERS, "evse_maximum_charge_power", -1, NEGATIVE),
    ("DC", DC_PARAMETERS, "evse_maximum_charge_current", -1, NEGATIVE),
    ("DC", DC_PARAMETERS, "evse_maximum_voltage", -400, NEGATIVE),
    ("DC", DC_PARAMETERS, "evse_minimum_voltage", -1, NEGATIVE),
    ("DC", DC_PARAMETERS, "evse_maximum_voltage", 0, CONTRADICT),
    ("DC", DC_PARAMETERS, "evse_minimum_voltage", 30_000, CONTRADICT),
    ("DC", DC_PARAMETERS, "evse_minimum_charge_current", 30_000, CONTRADICT),
    ("DC_BPT", DC_PARAMETERS, "evse_minimum_discharge_power", 500_000, CONTRADICT),
    ("AC", AC_PARAMETERS, "evse_maximum_charge_power", -1, NEGATIVE),
    ("AC", AC_PARAMETERS, "evse_minimum_charge_power", 500_000, CONTRADICT),
    ("AC_BPT", AC_PARAMETERS, "evse_minimum_discharge_power", 500_000, CONTRADICT),
    ("DC", PRE_CHARGE, "evse_present_voltage", -10, VOLTAGE),
    ("DC", DC_LOOP, "evse_present_voltage", 900, VOLTAGE),
    ("DC", DC_LOOP, "evse_present_current", -10, CURRENT),
    ("DC", DC_LOOP, "evse_maximum_charge_current", -1, NEGATIVE),
    ("DC", DC_LOOP, "evse_maximum_charge_power", -1, NEGATIVE),
    ("DC_BPT", DC_LOOP, "evse_minimum_voltage", 30_000, CONTRADICT),
    ("DC", DC_LOOP, "evse_maximum_voltage", 0, CONTRADICT),
]
"""Service, response, field, what it says (V, A, W), and the cause of the session's end."""


class Lying(Joined):
    """A charger whose next response of a kind has another value in one field, once energy flows if it is the loop's."""

    def __init__(self, pki: PkiTree, service: str, message: str, field: str, value: int) -> None:
        vehicle = SessionConfig(
            program=(ProgramStep(do="charge", energy_wh=50),),
            services=ServiceConfig(energy=(service,)),  # type: ignore[arg-type]
            authorization=AuthorizationConfig(allow_eim=True),
        )
        charger = SeccConfig(services=tuple(EnergyService), authorization=(Authorization.EIM,))
        super().__init__(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=charger)
        self.message, self.changes = message, {field: rational(value, 0)}
        self.lied_at = -1
        self.wire_to_evcc = self.lie

    def lie(self, data: bytes) -> bytes:
        changed = b""
        for received in Framer().feed(data):
            payload = received.payload
            try:
                message: Any = exi.decode(payload, SCHEMAS[received.payload_type])
            except (CodecError, KeyError):
                message = None
            flows = "Loop" not in self.message or self.plant.flow()[1] != 0
            if type(message).__name__ == self.message and self.lied_at < 0 and flows:
                payload = exi.encode(self.changed(message))
                self.lied_at = len(self.evcc_actions)
            changed += frame(received.payload_type, payload)
        return changed

    def changed(self, message: Any) -> Any:
        modes = ("dc_cpd_res_energy_transfer_mode", "ac_cpd_res_energy_transfer_mode", "cl_res_control_mode")
        part = next((each for each in modes if hasattr(getattr(message, each, None), next(iter(self.changes)))), None)
        if part is None:
            return replace(message, **self.changes)
        return replace(message, **{part: replace(getattr(message, part), **self.changes)})


@pytest.mark.parametrize(("service", "message", "field", "value", "cause"), TABLE)
def test_a_lie_ends_the_session_without_power(
    pki: PkiTree, service: str, message: str, field: str, value: int, cause: str
) -> None:
    joined = Lying(pki, service, message, field, value)
    joined.run()
    assert joined.lied_at >= 0
    assert joined.evcc_reason == cause
    (event,) = joined.vehicle_saw("session", "implausible_response")
    assert (event["message"], event["cause"], event["field"]) == (message, cause, field)
    since = joined.evcc_actions[joined.lied_at :]
    assert all(each == ev.SetPowerLimits(0, 0) for each in since if isinstance(each, ev.SetPowerLimits))
    assert joined.plant.flow() == (0, 0)
    assert not joined.plant.ev_closed
    assert joined.charger_saw("stop", "vehicle_terminated") or joined.secc_reason
