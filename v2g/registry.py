"""Handlers that register themselves, beside their code. Pure."""

from collections.abc import Callable, Hashable, MutableMapping
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
HandlerT = TypeVar("HandlerT")


def register(table: MutableMapping[KeyT, HandlerT], *keys: KeyT) -> Callable[[HandlerT], HandlerT]:
    """Return the decorator that enters a handler in a table, at each of these keys."""

    def enter(handler: HandlerT) -> HandlerT:
        table.update(dict.fromkeys(keys, handler))
        return handler

    return enter
