"""A charger with an automatic connection device: direct current through movable contacts."""

import asyncio
from collections.abc import Coroutine

from secc.hardware.dc import DcEvse
from secc.hardware.evse import Parts
from secc.session import ports
from v2g.hardware import interfaces
from v2g.hardware.interlock import TOUCH_MV
from v2g.iso15118.engine.session import Command, Fact


class AcdpEvse(DcEvse):
    """See `Evse`. The device moves only while there is no voltage between its contacts.

    The control pilot is also connected through the contacts: if the device loses the vehicle, the contactor opens.
    """

    def __init__(self, parts: Parts, power: interfaces.StageParts, device: interfaces.ConnectionDevice) -> None:
        self._device = device
        self._down = False
        self._under_way: asyncio.TimerHandle | None = None
        self._insulation = "Invalid"
        super().__init__(parts, power)
        device.on_report(self._device_changed)

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        if isinstance(command, ports.MoveDevice):
            self._down = command.to_vehicle
            self._insulation = "Invalid"
            self._arrived()
            self._under_way = self._loop.call_later(self._watch.device_s, self._too_late)
            self._move()
            return None
        return super().execute(command)

    async def close(self) -> None:
        """Leave everything safe; the device returns home if it can."""
        await super().close()
        self._down = False
        self._move()
        self._arrived()

    @property
    def _dead(self) -> bool:
        return not self.contactors_closed and self.present.voltage_mv < TOUCH_MV

    def _move(self) -> None:
        """Move the device to its target, once permitted; called again when that changes."""
        if self._dead:
            self._device.send(down=self._down)

    def _contactor_moved(self, closed: bool) -> None:
        super()._contactor_moved(closed)
        self._move()

    def _reported(self, report: interfaces.StageReport) -> None:
        super()._reported(report)
        self._move()

    # -- the device

    def _arrived(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()

    def _too_late(self) -> None:
        """A device that does not reach its target is stuck; one that arrives without contact is of no use."""
        report = self._device.report
        if report.mechanical != ("EndPosition" if self._down else "Home"):
            self.fault("device_stuck", active=True)
        elif self._down and not report.connected:
            self.fault("contact_missing", active=True)

    def _device_changed(self, report: interfaces.ContactReport) -> None:
        if report.mechanical == ("EndPosition" if self._down else "Home"):
            self.fault("device_stuck", active=False)
            if report.connected or not self._down:
                self._arrived()
        if not self._down and report.mechanical == "Home":
            self.fault("contact_missing", active=False)
        if self.interlock.commanded and not report.connected:  # no arcs, regardless of the pilot
            self.fault("contact_missing", active=True)
        self._tell_device()

    def _seen(self) -> ports.Device:
        report = self._device.report
        return ports.Device(
            in_place=report.present and not report.moving,
            x_cm=report.x_cm,
            y_cm=report.y_cm,
            mechanical=report.mechanical,
            connected=report.connected,
            insulation=self._insulation,
        )

    async def _close_contactors(self, offs: int) -> Fact:
        """See `Evse`. A vehicle may have left since its contacts closed: then the contactor stays open."""
        if not self._device.report.connected:
            self.fault("contact_missing", active=True)
        return await super()._close_contactors(offs)

    async def _cable_check(self, voltage_mv: int, offs: int) -> Fact:
        outcome = await super()._cable_check(voltage_mv, offs)
        self._insulation = "Safe" if outcome == ports.CableCheckFinished(passed=True) else "Fault"
        self._tell_device()
        return outcome
