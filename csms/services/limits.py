"""How much a station takes in one message."""

from csms.db.queries import device_model as rows
from csms.ocpp.base import Services
from csms.services.device_model import get_variables
from v2g.errors import OcppError
from v2g.ocpp.messages.device_model import Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData

_NAME = "ItemsPerMessage"


async def items_per_message(
    services: Services, station_id: str, component: str, instance: str | None, default: int
) -> int:
    """Return a component's ItemsPerMessage as the mirror has it, else ask; `default` where there is no such variable.

    Raises V2GError as `ConnectionRegistry.call` does, but for a CALLERROR.
    """
    mirrored = await services.store.run(rows.list_variables, station_id, component, _NAME)
    for each in mirrored:
        if each["variable_instance"] == (instance or "") and each["attribute"] == "Actual":
            return _number(each["value"]) or default
    wanted = GetVariableData(component=Component(name=component), variable=Variable(name=_NAME, instance=instance))
    try:
        (result,) = await get_variables(services, station_id, [wanted])
    except OcppError:
        return default
    return _number(result.attribute_value) or default


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
