"""Basic charging by control pilot (IEC 61851-1): the vehicle obeys the duty cycle if communication fails."""

import asyncio
import os
from typing import TYPE_CHECKING, Literal

from evcc.session import ports
from evcc.session.basic_charging import BasicVehicle
from evcc.session.settings import BasicConfig
from v2g.errors import TimeoutExpired, V2GError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.null_stream import NullStream
from v2g.io.runtime.runner import Runner
from v2g.io.runtime.supervision import child
from v2g.observe import Observe

if TYPE_CHECKING:
    from evcc.app import Vehicle


class BasicFallback:
    """Watches a conversation and the pilot; charges by nominal duty if the conversation fails or the pilot shows it."""

    def __init__(self, vehicle: "Vehicle", config: BasicConfig, pilot: SimulatedVehiclePilot) -> None:
        self._vehicle, self._config, self._pilot = vehicle, config, pilot
        self._nominal = asyncio.Event()
        pilot.on_duty(lambda _: self._read())
        self._read()

    async def follow(self, talk: "asyncio.Task[str]") -> str:
        """Return how charging ended, with or without communication. Raises the conversation's error if no nominal duty
        comes in time."""
        nominal = child(self._nominal.wait())
        try:
            await asyncio.wait((talk, nominal), return_when=asyncio.FIRST_COMPLETED)
            reason, error = "charger_decides", None
            if talk.done():
                reason, error = _outcome(talk)
                if error is None and reason in ("finished", "paused", "interrupted"):
                    return reason
                await self._wait(nominal, error)
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
        finally:
            nominal.cancel()
        self._vehicle.observe(Observe("basic", "fallback", {"reason": reason}))
        return await self._charge()

    def _read(self) -> None:
        if self._pilot.duty.meaning == "current":
            self._nominal.set()

    async def _wait(self, nominal: "asyncio.Task[Literal[True]]", error: BaseException | None) -> None:
        try:
            async with asyncio.timeout(self._config.wait_s):
                await asyncio.shield(nominal)
        except TimeoutError:
            if error is not None:
                raise error from None
            hint = "does the charger fall back to nominal duty?"
            raise TimeoutExpired("wait for nominal duty", self._config.wait_s, hint=hint) from None

    async def _charge(self) -> str:
        vehicle = self._vehicle
        session = BasicVehicle(
            self._config,
            vehicle.config.on_board_charger,
            next((step for step in vehicle.config.program if step.do == "charge"), vehicle.config.program[0]),
            duty=self._pilot.duty,
            battery=vehicle.hardware.battery,
            entropy=os.urandom,
        )
        runner = Runner(
            session, NullStream(), execute=vehicle.hardware.execute, clock=vehicle.clock, observe=vehicle.observe
        )
        tell = vehicle.telling(runner)
        vehicle.hardware.signal(self._pilot.duty, phases=vehicle.config.on_board_charger.phases)
        unsubscribe = vehicle.hardware.subscribe(runner.fact)
        self._pilot.on_duty(lambda reading: tell(ports.DutyRead(reading)))
        vehicle.driver.drives(tell)
        try:
            return await runner.run()
        finally:
            vehicle.driver.drives(None)
            unsubscribe()
            vehicle.hardware.part()


def _outcome(talk: "asyncio.Task[str]") -> tuple[str, BaseException | None]:
    """Return the outcome of a conversation, and the error that ended it."""
    error = talk.exception()
    if error is None:
        return talk.result(), None
    if not isinstance(error, V2GError):
        raise error
    return type(error).__name__, error
