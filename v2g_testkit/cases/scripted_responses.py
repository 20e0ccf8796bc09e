"""Responses that are correct; an edition adds its messages."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import app_protocol as app

Fields = dict[str, Any]


class ScriptedResponses(ABC):
    """Creates responses, and stores the vehicle's data. Its faults are added to `facts`.

    A method `_NameReq` returns the fields of the response to that request.
    """

    def __init__(self, family: Family, facts: list[str]) -> None:
        self.family, self.facts = family, facts
        self.agreed = False
        self.voltage = self.current = 0.0
        self._polled: set[str] = set()

    @abstractmethod
    def _response(self, name: str, fields: Fields) -> Element:
        """Return the response of this name, OK unless the fields say otherwise."""

    @abstractmethod
    def _serves(self, offered: app.AppProtocol) -> bool:
        """Return whether this is what a vehicle offers."""

    def make(self, request: Element) -> Element:
        """Return the response to a request. Raises KeyError for an unsupported one."""
        if isinstance(request, app.SupportedAppProtocolReq):
            own = [each for each in request.app_protocol if self._serves(each)]
            self.agreed = bool(own)
            if not own:
                return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
            best = min(own, key=lambda each: each.priority)
            return app.SupportedAppProtocolRes(
                response_code=app.ResponseCode.OK_SuccessfulNegotiation, schema_id=best.schema_id
            )
        name = type(request).__name__
        maker: Callable[[Element], Fields] | None = getattr(self, f"_{name}", None)
        if maker is None:
            raise KeyError(name)
        return self._response(name.removesuffix("Req") + "Res", maker(request))

    def _asked_before(self, name: str) -> bool:
        """Return whether a request came before, so that a vehicle must repeat it once."""
        before = name in self._polled
        self._polled.add(name)
        return before
