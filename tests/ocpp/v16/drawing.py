"""Carrying out translations between OCPP 1.6 and 2.0.1 with answers that the schemas allow."""

from collections.abc import Callable, Generator
from typing import Any

import msgspec
from hypothesis import strategies as st

from tests.ocpp.official import instances
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import action_of, response_type
from v2g.ocpp.versions import read_payload, write_payload


class Run:
    """A translation that is carried out: `asked` is what it yields; `answers` are given in turn, else drawn."""

    def __init__(self, steps: Generator[Any, Any, Any], answer: Any, facts: Callable[[Any], Any]) -> None:
        self.asked: list[Message] = []
        sent: Any = None
        thrown: OcppError | None = None
        while True:
            try:
                step = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                self.result: Any = end.value
                return
            thrown = None
            if not isinstance(step, Message):
                sent = facts(step)
                continue
            self.asked.append(step)
            sent = answer(step)
            if isinstance(sent, OcppError):
                thrown = sent


def in_turn(*answers: Any) -> Any:
    """Give these answers."""
    left = list(answers)
    return lambda _: left.pop(0)


def drawn(data: st.DataObject, version: Any) -> Any:
    """Give any answer that the schema allows."""

    def answer(step: Message) -> Message | OcppError:
        try:
            write_payload(step, "2.1" if version == "2.0.1" else version)
        except OcppError as error:  # a number or a text that the other version cannot carry: it is not sent
            return error
        kind = response_type(action_of(step), version)
        return read_payload(msgspec.json.encode(data.draw(instances(kind, version))), kind, version)

    return answer
