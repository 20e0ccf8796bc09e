"""Messages for a station's display."""

from typing import Any

from tests.station.bench import Bench
from v2g_station.blocks.display import ShowMessages


def message(number: int = 1, **more: Any) -> dict[str, Any]:
    """A message."""
    content = {"format": "UTF8", "language": "en", "content": f"Message {number}"}
    return {"id": number, "priority": "NormalCycle", "message": content} | more


def put(found: Bench, number: int = 1, **more: Any) -> str:
    """Set a message."""
    status: str = found.ask("SetDisplayMessage", message=message(number, **more))["status"]
    return status


def shown(found: Bench) -> list[int]:
    """What the display shows now."""
    orders = [each for each in found.commands if isinstance(each, ShowMessages)]
    return [info.id for info in orders[-1].messages] if orders else []
