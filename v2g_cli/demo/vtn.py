"""An OpenADR VTN beside a demo, in a thread of its own: it publishes prices and an event, and takes reports."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from v2g.io.runtime.supervision import new_thread
from v2g_testkit.vtn import CLIENTS, Vtn

SECRET: Final = CLIENTS["ven_client"]
LOWERED_W: Final = 4_000
SETPOINT_W: Final = -6_000
_KINDS: Final = (("IMPORT_CAPACITY_LIMIT", LOWERED_W / 1000), ("DISPATCH_SETPOINT", SETPOINT_W / 1000))


class DemoVtn:
    """Listens from construction to `stop`. `utc_ms` is the simulated time. Raises TransportError."""

    def __init__(self, utc_ms: Callable[[], int]) -> None:
        self._loop = asyncio.new_event_loop()
        self._vtn = Vtn(now=lambda: datetime.fromtimestamp(utc_ms() / 1000, UTC), token_s=10**9)
        self._thread = new_thread(target=self._loop.run_forever, name="VTN")
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._vtn.start(0), self._loop).result()
        self._program = self._vtn.put("programs", {"programName": "demo"})["id"]

    def stop(self) -> None:
        """Stop listening."""
        asyncio.run_coroutine_threadsafe(self._vtn.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def publish_prices(self, begin_ms: int, prices: tuple[tuple[float, float], ...]) -> None:
        """Publish prices (import, export in EUR/kWh), each for an hour from a time on."""
        intervals = [
            {"id": number, "payloads": [{"type": "PRICE", "values": [buy]}, {"type": "EXPORT_PRICE", "values": [sell]}]}
            for number, (buy, sell) in enumerate(prices)
        ]
        kinds = [
            {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": each, "units": "KWH", "currency": "EUR"}
            for each in ("PRICE", "EXPORT_PRICE")
        ]
        self._publish("prices", begin_ms, 3600, intervals, payloadDescriptors=kinds)

    def publish_event(self, begin_ms: int, step_s: int) -> None:
        """Publish an event: for one step less may be drawn, for the next the vehicles are to give power back.

        It asks for a report of the energy of both.
        """
        intervals = [
            {"id": number, "payloads": [{"type": kind, "values": [value]}]}
            for number, (kind, value) in enumerate(_KINDS)
        ]
        report = {"payloadType": "USAGE"}
        self._publish("peak", begin_ms, step_s, intervals, reportDescriptors=[report])

    def _publish(
        self, name: str, begin_ms: int, step_s: int, intervals: list[dict[str, object]], **more: object
    ) -> None:
        begin = datetime.fromtimestamp(begin_ms // 1000, UTC)
        period = {"start": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "duration": f"PT{step_s}S"}
        event = {
            "programID": self._program,
            "eventName": name,
            "intervalPeriod": period,
            "intervals": intervals,
            **more,
        }
        self._vtn.put("events", event)

    @property
    def reported_kwh(self) -> list[float]:
        """The energy of each step of the event, by the back end's report; empty before it has arrived."""
        reports = list(self._vtn.objects["reports"].values())
        if not reports:
            return []
        return [
            float(interval["payloads"][0]["values"][0])
            for resource in reports[-1]["resources"]
            for interval in resource["intervals"]
        ]
