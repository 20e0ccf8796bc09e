"""Where stations' requests are worked on: one module for each functional block, one table of all of them."""

from csms.ocpp.answers import HANDLES, QUICK, answer, take_unanswered
from csms.ocpp.base import VENDOR, HandlerContext, Services

__all__ = ["HANDLES", "QUICK", "VENDOR", "HandlerContext", "Services", "answer", "take_unanswered"]
