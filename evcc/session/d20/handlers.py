"""The handlers of events by stage: the vehicle's whole behaviour in three tables."""

from collections.abc import Callable, Mapping
from typing import Final

from evcc.session import steps
from evcc.session.d20 import energy, installation, loop, positioning, services, setup, stages, stop
from evcc.session.d20.request_context import RequestContext
from evcc.session.steps import Stage, at
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family

OnResponse = Callable[..., stages.Step]
"""(stage, request, response, context) -> Step."""

OnWake = Callable[..., stages.Step]
"""(stage, last request, context) -> Step."""

OnFact = Callable[..., stages.Step]
"""(stage, context) -> Step."""


def _by_family(handlers: Mapping[Family, OnResponse]) -> OnResponse:
    """Return a handler that calls the one of the negotiated set of messages."""

    def handle(stage: Stage, request: Element, response: Element, context: RequestContext) -> stages.Step:
        return handlers[context.family](stage, request, response, context)

    return handle


ON_RESPONSE: Final[Mapping[type[steps.Stage], OnResponse]] = dict(
    [
        at(steps.Negotiating, setup.on_protocol),
        at(stages.SettingUp, setup.on_session),
        at(stages.AskingAuthorization, setup.on_authorization_setup),
        at(stages.FetchingContracts, installation.on_installation),
        at(stages.Authorizing, setup.on_authorization),
        at(stages.Discovering, services.on_services),
        at(stages.Detailing, services.on_detail),
        at(stages.Selecting, services.on_selected),
        at(
            stages.Parametrizing,
            _by_family(
                {
                    Family.AC: energy.on_ac_parameters,
                    Family.DC: energy.on_parameters,
                    Family.ACDP: energy.on_parameters,
                    Family.WPT: positioning.on_parameters,
                }
            ),
        ),
        at(stages.FindingPlace, positioning.on_place),
        at(stages.Pairing, positioning.on_pairing),
        at(stages.Aligning, positioning.on_alignment),
        at(stages.ConnectingDevice, positioning.on_connection),
        at(stages.DisconnectingDevice, positioning.on_disconnection),
        at(stages.Scheduling, energy.on_schedule),
        at(stages.CableChecking, energy.on_cable_check),
        at(stages.PreCharging, energy.on_pre_charge),
        at(stages.Starting, energy.on_started),
        at(
            stages.Looping,
            _by_family(
                {
                    Family.AC: energy.on_loop,
                    Family.DC: loop.on_loop,
                    Family.ACDP: loop.on_loop,
                    Family.WPT: positioning.on_loop,
                }
            ),
        ),
        at(stages.Confirming, loop.on_confirmed),
        at(stages.Lowering, loop.on_lowering),
        at(stages.Renegotiating, loop.on_renegotiating),
        at(stages.EnteringStandby, loop.on_standby),
        at(stages.CheckingIn, positioning.on_check_in),
        at(stages.CheckingOut, positioning.on_check_out),
        at(stages.RampingDown, stop.on_ramping_down),
        at(stages.PowerStopping, stop.on_power_stopped),
        at(stages.Welding, stop.on_welding),
        at(stages.Stopping, stop.on_session_stopped),
    ]
)
"""The stages that await a response."""

ON_WAKE: Final[Mapping[type[steps.Stage], OnWake]] = dict(
    [
        at(stages.FetchingContracts, installation.repeat_installation),
        at(stages.Authorizing, setup.repeat_authorization),
        at(stages.Scheduling, energy.repeat_schedule),
        at(stages.CableChecking, energy.repeat_cable_check),
        at(stages.PreCharging, energy.repeat_pre_charge),
        at(stages.Looping, loop.repeat_loop),
        at(stages.Lowering, stop.repeat_nothing),
        at(stages.RampingDown, stop.repeat_nothing),
        at(stages.Welding, stop.repeat_welding),
        at(stages.CheckingIn, positioning.repeat_check_in),
        at(stages.CheckingOut, positioning.repeat_check_out),
        at(stages.FindingPlace, positioning.repeat_place),
        at(stages.Pairing, positioning.repeat_pairing),
        at(stages.Aligning, positioning.repeat_alignment),
        at(stages.ConnectingDevice, positioning.repeat_connection),
        at(stages.DisconnectingDevice, positioning.repeat_disconnection),
    ]
)
"""The stages that pause before they repeat a request."""

ON_FACT: Final[Mapping[tuple[type[steps.Stage], bool], OnFact]] = {
    (stages.ClosingContactor, True): energy.on_closed,
    (stages.OpeningContactor, False): stop.on_opened,
}
"""The stages that await the contactor: closed or open."""
