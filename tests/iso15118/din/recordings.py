"""What several tests of recordings use."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from v2g.iso15118.din.charts import CHART
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.sequence import State, advance
from v2g.iso15118.engine.v2g_message import body_of, decode_message

FOLDER = Path(__file__).parents[2] / "vectors" / "din70121"
ABB, COMPLEO, BULB, ALPITRONIC, TESLA_CHARGER, IONIQ, HYC300, MODEL_Y = NAMES = sorted(
    each.stem for each in FOLDER.glob("*.jsonl")
)


class Recorded(NamedTuple):
    """A message, the place in the chart before it, and the request it answers."""

    t: float
    connection: int
    sender: str
    payload: bytes
    message: Any
    padding: int
    state: State
    asked: Any

    @property
    def body(self) -> Any:
        return body_of(self.message)


@cache
def recording(name: str) -> tuple[Recorded, ...]:
    return tuple(_recording(name))


def _recording(name: str) -> Iterator[Recorded]:
    connection, state, asked = -1, State.SUPPORTED_APP_PROTOCOL, None
    for line in (FOLDER / f"{name}.jsonl").read_text().splitlines():
        each = json.loads(line)
        if each["connection"] != connection:
            connection, state, asked = each["connection"], State.SUPPORTED_APP_PROTOCOL, None
        payload = bytes.fromhex(each["exi_hex"])
        message, padding = decode_message(payload, DIN, handshake=state is State.SUPPORTED_APP_PROTOCOL)
        body = body_of(message)
        from_vehicle = each["sender"] == "vehicle"
        yield Recorded(each["t"], connection, each["sender"], payload, message, padding, state, asked)
        if from_vehicle:
            asked = body
        elif state is not State.ENDED:
            state = advance(state, asked, body, CHART)


def requests(name: str) -> list[Recorded]:
    return [each for each in recording(name) if each.sender == "vehicle"]
