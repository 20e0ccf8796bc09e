"""Which function answers which event in which stage: the vehicle's whole behaviour in three tables."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from evcc.core import energy, loop, services, setup, stages, stop

OnResponse = Callable[[Any, Any, Any, stages.World], stages.Step]
"""(stage, request, response, world) -> Step."""

OnWake = Callable[[Any, Any, stages.World], stages.Step]
"""(stage, last request, world) -> Step."""

OnFact = Callable[[Any, stages.World], stages.Step]
"""(stage, world) -> Step."""

ON_RESPONSE: Final[Mapping[type[stages.Stage], OnResponse]] = MappingProxyType(
    {
        stages.Negotiating: setup.on_protocol,
        stages.SettingUp: setup.on_session,
        stages.AskingAuthorization: setup.on_authorization_setup,
        stages.Authorizing: setup.on_authorization,
        stages.Discovering: services.on_services,
        stages.Detailing: services.on_detail,
        stages.Selecting: services.on_selected,
        stages.Parametrizing: energy.on_parameters,
        stages.Scheduling: energy.on_schedule,
        stages.CableChecking: energy.on_cable_check,
        stages.PreCharging: energy.on_pre_charge,
        stages.Starting: energy.on_started,
        stages.Looping: loop.on_loop,
        stages.Confirming: loop.on_confirmed,
        stages.Renegotiating: loop.on_renegotiating,
        stages.PowerStopping: stop.on_power_stopped,
        stages.Welding: stop.on_welding,
        stages.Stopping: stop.on_session_stopped,
    }
)
"""The stages that await a response."""

ON_WAKE: Final[Mapping[type[stages.Stage], OnWake]] = MappingProxyType(
    {
        stages.Authorizing: setup.repeat_authorization,
        stages.Scheduling: energy.repeat_schedule,
        stages.CableChecking: energy.repeat_cable_check,
        stages.PreCharging: energy.repeat_pre_charge,
        stages.Looping: loop.repeat_loop,
        stages.Welding: stop.repeat_welding,
    }
)
"""The stages that pause before they ask again."""

ON_FACT: Final[Mapping[tuple[type[stages.Stage], bool], OnFact]] = MappingProxyType(
    {
        (stages.ClosingContactor, True): energy.on_closed,
        (stages.OpeningContactor, False): stop.on_opened,
    }
)
"""The stages that await the contactor: closed or open."""
