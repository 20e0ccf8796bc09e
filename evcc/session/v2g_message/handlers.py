"""The handlers of events by stage, as far as the editions have them in common."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from evcc.session import steps
from evcc.session.v2g_message import energy, loop, setup, stages, stop
from evcc.session.v2g_message.context import MessageContext

OnResponse = Callable[[Any, Any, Any, MessageContext], stages.Step]
"""(stage, request, response, context) -> Step."""

OnWake = Callable[[Any, Any, MessageContext], stages.Step]
"""(stage, last request, context) -> Step."""

OnFact = Callable[[Any, MessageContext], stages.Step]
"""(stage, context) -> Step."""


class Handlers(msgspec.Struct, frozen=True):
    """The vehicle's whole behaviour: in stages that await a response, a repetition, or the contactor closed or open."""

    on_response: Mapping[type[steps.Stage], OnResponse]
    on_wake: Mapping[type[steps.Stage], OnWake]
    on_fact: Mapping[tuple[type[steps.Stage], bool], OnFact]


ON_RESPONSE: Final[Mapping[type[steps.Stage], OnResponse]] = MappingProxyType(
    {
        steps.Negotiating: setup.on_protocol,
        stages.SettingUp: setup.on_session,
        stages.Selecting: setup.on_selected,
        stages.Authorizing: setup.on_authorization,
        stages.Parametrizing: energy.on_parameters,
        stages.CableChecking: energy.on_cable_check,
        stages.PreCharging: energy.on_pre_charge,
        stages.Starting: energy.on_started,
        stages.Looping: loop.on_loop,
        stages.RampingDown: stop.ramping_down,
        stages.PowerStopping: stop.on_power_stopped,
        stages.Welding: stop.on_welding,
        stages.Stopping: stop.on_session_stopped,
    }
)

ON_WAKE: Final[Mapping[type[steps.Stage], OnWake]] = MappingProxyType(
    {
        stages.Authorizing: setup.repeat_authorization,
        stages.Parametrizing: energy.repeat_parameters,
        stages.CableChecking: energy.repeat_cable_check,
        stages.PreCharging: energy.repeat_pre_charge,
        stages.Looping: loop.repeat_loop,
        stages.RampingDown: stop.repeat_nothing,
        stages.Welding: stop.repeat_welding,
    }
)

ON_FACT: Final[Mapping[tuple[type[steps.Stage], bool], OnFact]] = MappingProxyType(
    {
        (stages.ClosingContactor, True): energy.on_closed,
        (stages.OpeningContactor, False): stop.on_opened,
    }
)
