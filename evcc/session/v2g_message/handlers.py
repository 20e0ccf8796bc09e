"""The handlers of events by stage, as far as the editions have them in common."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from evcc.session import steps
from evcc.session.steps import at
from evcc.session.v2g_message import energy, loop, setup, stages, stop

OnResponse = Callable[..., stages.Step]
"""(stage, request, response, context) -> Step."""

OnWake = Callable[..., stages.Step]
"""(stage, last request, context) -> Step."""

OnFact = Callable[..., stages.Step]
"""(stage, context) -> Step."""


class Handlers(msgspec.Struct, frozen=True):
    """The vehicle's whole behaviour: in stages that await a response, a repetition, or the contactor closed or open."""

    on_response: Mapping[type[steps.Stage], OnResponse]
    on_wake: Mapping[type[steps.Stage], OnWake]
    on_fact: Mapping[tuple[type[steps.Stage], bool], OnFact]


ON_RESPONSE: Final[Mapping[type[steps.Stage], OnResponse]] = dict(
    [
        at(steps.Negotiating, setup.on_protocol),
        at(stages.SettingUp, setup.on_session),
        at(stages.Selecting, setup.on_selected),
        at(stages.Authorizing, setup.on_authorization),
        at(stages.Parametrizing, energy.on_parameters),
        at(stages.CableChecking, energy.on_cable_check),
        at(stages.PreCharging, energy.on_pre_charge),
        at(stages.Starting, energy.on_started),
        at(stages.Looping, loop.on_loop),
        at(stages.RampingDown, stop.ramping_down),
        at(stages.PowerStopping, stop.on_power_stopped),
        at(stages.Welding, stop.on_welding),
        at(stages.Stopping, stop.on_session_stopped),
    ]
)

ON_WAKE: Final[Mapping[type[steps.Stage], OnWake]] = dict(
    [
        at(stages.Authorizing, setup.repeat_authorization),
        at(stages.Parametrizing, energy.repeat_parameters),
        at(stages.CableChecking, energy.repeat_cable_check),
        at(stages.PreCharging, energy.repeat_pre_charge),
        at(stages.Looping, loop.repeat_loop),
        at(stages.RampingDown, stop.repeat_nothing),
        at(stages.Welding, stop.repeat_welding),
    ]
)

ON_FACT: Final[Mapping[tuple[type[steps.Stage], bool], OnFact]] = {
    (stages.ClosingContactor, True): energy.on_closed,
    (stages.OpeningContactor, False): stop.on_opened,
}
