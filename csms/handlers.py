"""Handlers of stations' messages: each registers itself, beside its code in the `station` module of a feature.

A handler takes the context and the message, whose type names the action. It returns the response, or raises OcppError
for a CALLERROR.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from csms.services import HandlerContext
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Component, Message

_MAX_INTEGER: Final = 2**31 - 1  # OCPP integers have 32 bits (part 2, 2.1)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

Handler: TypeAlias = Callable[[HandlerContext, Request], Awaitable[Response]]
QuickHandler: TypeAlias = Callable[[HandlerContext, Request], Response]
Taker: TypeAlias = Callable[[HandlerContext, Request], Awaitable[None]]

ANSWERS: Final[dict[str, Handler[Any, Message]]] = {}
QUICK: Final[dict[str, QuickHandler[Any, Message]]] = {}
TAKES: Final[dict[str, Taker[Any]]] = {}
"""Action -> handler: those that answer, those that do so at once, and those of messages without an answer (2.1)."""


def answers(handler: Handler[Request, Response]) -> Handler[Request, Response]:
    """Register a handler of requests."""
    ANSWERS[_action(handler)] = handler
    return handler


def answers_at_once(handler: QuickHandler[Request, Response]) -> QuickHandler[Request, Response]:
    """Register a handler of requests that waits for nothing."""
    QUICK[_action(handler)] = handler
    return handler


def takes(handler: Taker[Request]) -> Taker[Request]:
    """Register a handler of messages without an answer."""
    TAKES[_action(handler)] = handler
    return handler


def _action(handler: Callable[[HandlerContext, Request], object]) -> str:
    _, message, *_ = inspect.get_annotations(handler).values()
    return str(message.__name__).removesuffix("Request")


def check_places(components: Iterable[Component]) -> None:
    """Raise OcppError for a component whose EVSE or connector does not fit an OCPP integer."""
    for component in components:
        if component.evse is not None:
            small(component.evse.id)
            small(component.evse.connector_id or 0)


def small(number: int) -> int:
    """Return a number that fits an OCPP integer. Raises OcppError for others."""
    if abs(number) > _MAX_INTEGER:
        raise OcppError(f"{number} does not fit an OCPP integer", answer="PropertyConstraintViolation")
    return number
