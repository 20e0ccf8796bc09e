"""All handlers, once the `station` modules of the features are imported; a feature of few has them in `work`."""

from typing import Final

from csms.features import modules
from csms.ocpp.base import HandlerContext
from csms.ocpp.handlers import ANSWERS, QUICK, TAKES
from v2g.ocpp.messages.base import Message

STATIONS: Final = tuple(modules("station", "work"))
"""The modules with handlers."""

HANDLES: Final = frozenset({"BootNotification", *ANSWERS, *QUICK, *TAKES})
"""Every action that stations may send; the session itself handles BootNotification."""


async def answer(context: HandlerContext, action: str, request: Message) -> Message:
    """Return the response to a request. Raises OcppError for a CALLERROR."""
    return await ANSWERS[action](context, request)


async def take_unanswered(context: HandlerContext, action: str, message: Message) -> None:
    """Handle an unanswered message. Raises V2GError."""
    await TAKES[action](context, message)
