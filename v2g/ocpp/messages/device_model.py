"""Names of the device model: components and their variables."""

from v2g.ocpp.messages.base import EVSE, Datatype, String50


class Component(Datatype, frozen=True, kw_only=True):
    """A component of the station."""

    evse: EVSE | None = None
    name: String50
    instance: String50 | None = None


class Variable(Datatype, frozen=True, kw_only=True):
    """A variable of a component."""

    name: String50
    instance: String50 | None = None
