"""A charger with a primary device in the ground: wireless power, without pilot and plug."""

from collections.abc import Coroutine
from types import MappingProxyType
from typing import Final

from secc.hardware.evse import Evse, Parts
from secc.session import ports
from v2g.hardware.interfaces import PrimaryDevice, PrimaryReport
from v2g.iso15118.engine.session import Command, Fact
from v2g.safety.excess import Excesses
from v2g.safety.flow import ALTERNATING

INPUT_MV: Final = 400_000
"""Assumed supply voltage of the device; with the power it gives the reported current."""

MARGIN_W: Final = 500
OVER_S: Final = 1.0
"""More than a tenth and 500 W above its command, for this time, is a fault of control."""

TROUBLES: Final = MappingProxyType({"foreign_object": "SPCFODDetected", "living_object": "SPCLOPDetected"})
"""Faults of the device that suspend power -> their code for the vehicle (WPT_SPCChargeDiagnostics)."""


class WptEvse(Evse):
    """See `Evse`. The contactor supplies the primary device; no power is sent while it is open.

    Voltage and current are those of the device's input; `power_w` is its input power.
    """

    def __init__(self, parts: Parts, device: PrimaryDevice) -> None:
        self._device = device
        self._wanted_w: int | None = None
        self._excited = (0, 0)  # mA and maximum W, for an alignment check
        self._troubles: dict[str, None] = {}
        self._lasts = Excesses()
        super().__init__(parts)
        device.on_report(self._device_changed)
        device.on_fault(self._something_near)

    @property
    def present(self) -> ports.Measured:
        """The device's power from the grid."""
        sent_w = self._device.report.sent_w
        return ports.Measured(INPUT_MV if self.contactors_closed else 0, sent_w * 1_000_000 // INPUT_MV, sent_w)

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        match command:
            case ports.StartPositioning(method=method):
                self._device.find(method)
            case ports.StartPairing(method=method, device_id=device_id):
                self._device.pair(method, device_id)
            case ports.CheckAlignment(current_ma=0):
                self._off()
                return None
            case ports.CheckAlignment(current_ma=current_ma, power_w=power_w):
                return self._check(current_ma, power_w, self._offs)
            case ports.SetWptOutput(power_w=power_w):
                self._wanted_w = power_w
                self._drive()
            case ports.StartCableCheck():
                return _refused()  # there is no cable
            case ports.TransactionEnded() | ports.SaveSession():
                self._device.rest()
        return super().execute(command)

    def _off(self) -> None:
        self._wanted_w = None
        self._excited = (0, 0)
        self._device.send(0)

    def _lower(self, output: ports.Output) -> None:
        assert isinstance(output, ports.SetWptOutput)
        current_ma, power_w = self._excited
        if power_w > output.power_w:
            self._excite(current_ma, output.power_w)
        if self._wanted_w is not None and self._wanted_w > output.power_w:
            self._wanted_w = output.power_w
            self._drive()

    def _excite(self, current_ma: int, power_w: int) -> None:
        """Drive the coil for the alignment check, unless an object is detected."""
        self._excited = (current_ma, power_w)
        if power_w and not self._troubles:
            self._device.excite(current_ma, power_w)
        else:
            self._device.send(0)

    def _drive(self) -> None:
        """Forward the command, if the interlock has let the contactor close and no object is detected."""
        self._excited = (0, 0)
        free = self.interlock.commanded and not self._troubles
        self._device.send(self._wanted_w or 0 if free else 0)

    async def _check(self, current_ma: int, power_w: int, offs: int) -> Fact | None:
        """Supply the device and excite its coil; the result is reported as DeviceChanged."""
        state = await self._close_contactors(offs)
        if state != ports.ContactorState(closed=True) or offs != self._offs:
            return ports.HardwareFault(self.interlock.serious or "contactor_stuck_open")
        self._wanted_w = None
        self._excite(current_ma, power_w)
        return None

    def _something_near(self, word: str, active: bool) -> None:
        """Switch the field off for detected objects, at once; what is still wanted when they are gone goes on."""
        if active:
            self._troubles[word] = None
        else:
            self._troubles.pop(word, None)
        if self._excited[1]:
            self._excite(*self._excited)
        else:
            self._drive()
        self.fault(word, active=active)
        self._tell_device()

    def _device_changed(self, report: PrimaryReport) -> None:
        self._measured()
        self._tell_device()
        self._watch_output()

    def _seen(self) -> ports.Device:
        report = self._device.report
        return ports.Device(
            in_place=report.in_place,
            observed_id=report.observed_id,
            confirmed=report.confirmed,
            aligned=report.aligned,
            alignment_w=report.sent_w if report.aligned is not None else 0,
            coil_ma=report.coil_ma,
            trouble=next((TROUBLES[word] for word in self._troubles), ""),
        )

    async def _calm(self) -> None:
        """The field is off as soon as it was switched off."""

    def _watch_output(self) -> None:
        """Switch off a device that sends more than commanded, also in an alignment check, or beside an object."""
        allowed_w = 0 if self._troubles else max(self._wanted_w or 0, self._excited[1])
        over = self._device.report.sent_w > allowed_w * 11 // 10 + (MARGIN_W if allowed_w else ALTERNATING.of(0))
        if self._lasts("over", over, OVER_S, self._clock.monotonic()):
            self.fault("over_current", active=True)


async def _refused() -> Fact:
    return ports.CableCheckFinished(passed=False)
