"""The handlers of events by stage: the vehicle's whole behaviour in three tables."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from evcc.session import steps
from evcc.session.d20 import ac, energy, installation, loop, parking, positioning, services, setup, stages, stop
from evcc.session.d20.request_context import RequestContext
from v2g.iso15118.d20.charts import Family

OnResponse = Callable[[Any, Any, Any, RequestContext], stages.Step]
"""(stage, request, response, context) -> Step."""

OnWake = Callable[[Any, Any, RequestContext], stages.Step]
"""(stage, last request, context) -> Step."""

OnFact = Callable[[Any, RequestContext], stages.Step]
"""(stage, context) -> Step."""


def _by_family(handlers: Mapping[Family, OnResponse]) -> OnResponse:
    """Return a handler that calls the one of the negotiated set of messages."""

    def handle(stage: Any, request: Any, response: Any, context: RequestContext) -> stages.Step:
        return handlers[context.family](stage, request, response, context)

    return handle


ON_RESPONSE: Final[Mapping[type[steps.Stage], OnResponse]] = MappingProxyType(
    {
        steps.Negotiating: setup.on_protocol,
        stages.SettingUp: setup.on_session,
        stages.AskingAuthorization: setup.on_authorization_setup,
        stages.FetchingContracts: installation.on_installation,
        stages.Authorizing: setup.on_authorization,
        stages.Discovering: services.on_services,
        stages.Detailing: services.on_detail,
        stages.Selecting: services.on_selected,
        stages.Parametrizing: _by_family(
            {
                Family.AC: ac.on_parameters,
                Family.DC: energy.on_parameters,
                Family.ACDP: energy.on_parameters,
                Family.WPT: positioning.on_parameters,
            }
        ),
        stages.FindingPlace: positioning.on_place,
        stages.Pairing: positioning.on_pairing,
        stages.Aligning: positioning.on_alignment,
        stages.ConnectingDevice: positioning.on_connection,
        stages.DisconnectingDevice: positioning.on_disconnection,
        stages.Scheduling: energy.on_schedule,
        stages.CableChecking: energy.on_cable_check,
        stages.PreCharging: energy.on_pre_charge,
        stages.Starting: energy.on_started,
        stages.Looping: _by_family(
            {
                Family.AC: ac.on_loop,
                Family.DC: loop.on_loop,
                Family.ACDP: loop.on_loop,
                Family.WPT: positioning.on_loop,
            }
        ),
        stages.Confirming: loop.on_confirmed,
        stages.Lowering: loop.on_lowering,
        stages.Renegotiating: loop.on_renegotiating,
        stages.EnteringStandby: loop.on_standby,
        stages.CheckingIn: parking.on_check_in,
        stages.CheckingOut: parking.on_check_out,
        stages.RampingDown: stop.on_ramping_down,
        stages.PowerStopping: stop.on_power_stopped,
        stages.Welding: stop.on_welding,
        stages.Stopping: stop.on_session_stopped,
    }
)
"""The stages that await a response."""

ON_WAKE: Final[Mapping[type[steps.Stage], OnWake]] = MappingProxyType(
    {
        stages.FetchingContracts: installation.repeat_installation,
        stages.Authorizing: setup.repeat_authorization,
        stages.Scheduling: energy.repeat_schedule,
        stages.CableChecking: energy.repeat_cable_check,
        stages.PreCharging: energy.repeat_pre_charge,
        stages.Looping: loop.repeat_loop,
        stages.Lowering: stop.repeat_nothing,
        stages.RampingDown: stop.repeat_nothing,
        stages.Welding: stop.repeat_welding,
        stages.CheckingIn: parking.repeat_check_in,
        stages.CheckingOut: parking.repeat_check_out,
        stages.FindingPlace: positioning.repeat_place,
        stages.Pairing: positioning.repeat_pairing,
        stages.Aligning: positioning.repeat_alignment,
        stages.ConnectingDevice: positioning.repeat_connection,
        stages.DisconnectingDevice: positioning.repeat_disconnection,
    }
)
"""The stages that pause before they repeat a request."""

ON_FACT: Final[Mapping[tuple[type[steps.Stage], bool], OnFact]] = MappingProxyType(
    {
        (stages.ClosingContactor, True): energy.on_closed,
        (stages.OpeningContactor, False): stop.on_opened,
    }
)
"""The stages that await the contactor: closed or open."""
