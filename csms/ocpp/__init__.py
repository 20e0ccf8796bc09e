"""Handlers of stations' requests: one module for each functional block, and the table of all."""

from csms.ocpp.answers import HANDLES, QUICK, answer, take_unanswered
from csms.ocpp.base import HandlerContext, Services

__all__ = ["HANDLES", "QUICK", "HandlerContext", "Services", "answer", "take_unanswered"]
