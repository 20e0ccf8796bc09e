"""SAE J1939 of trucks without a CAN database of their maker (R212): parameter groups of public knowledge as signals.

`data/j1939.dbc` has their layout (J1939-71 and its digital annex, as vendors of telematics publish it). The current of
the traction battery is not among them: its direction is not public. Messages of several packets come by TP.BAM
(J1939-21, 5.10.3).
"""

from importlib import resources
from typing import Final

import msgspec

from v2g.telemetry.mapping import CanMapping, Mapped
from v2g.telemetry.signals import LATITUDE, LONGITUDE

TRUCK_SIGNALS: Final = {
    "CCVS1.SPN70_ParkingBrake": "context",
    "CCVS1.SPN84_WheelBasedVehicleSpeed": "vehicle.speed",
    "TCO1.SPN1624_TachographVehicleSpeed": "vehicle.speed",
    "VDHR.SPN917_TotalVehicleDistance": "vehicle.odometer",
    "VD.SPN245_TotalVehicleDistance": "vehicle.odometer",
    "AMB.SPN171_AmbientAirTemperature": "ambient.temperature",
    "VP.SPN584_Latitude": LATITUDE,
    "VP.SPN585_Longitude": LONGITUDE,
    "VEP4.SPN5464_BatteryPackRemainingCharge": "battery.soc",
    "HVESSD1.SPN5919_VoltageLevel": "battery.voltage",
    "HVESSD2.SPN5921_FastUpdateStateOfCharge": "battery.soc",
    "HVESSD2.HighestCellVoltage": "battery.cell_voltage.max",
    "HVESSD2.LowestCellVoltage": "battery.cell_voltage.min",
    "HVESSD3.HighestCellTemperature": "battery.temperature.max",
    "HVESSD3.LowestCellTemperature": "battery.temperature.min",
    "HVESSD3.AverageCellTemperature": "battery.temperature.mean",
    "HVESSHIST.StateOfHealth": "battery.soh",
}
SECOND_BEST: Final = frozenset({"TCO1", "VD", "VEP4"})
"""Groups whose signal is taken only while no other group has had it."""

VEHICLE_IDENTIFICATION: Final = 0xFEEC
_CONTROL, _DATA = 0xECFF, 0xEBFF
"""TP.CM and TP.DT to all: parameter group and destination."""
_BROADCAST: Final = 32
PACKET: Final = 7
SHORTEST, LONGEST = 9, 1785
PACKET_S: Final = 0.75
"""Longest pause between packets (T1)."""


def truck_dbc() -> str:
    """Return the parameter groups as a CAN database."""
    return (resources.files("v2g.telemetry") / "data" / "j1939.dbc").read_text()


class _Announced(msgspec.Struct):
    """A message that comes packet by packet."""

    group: int
    length: int
    at_s: float
    data: bytearray = msgspec.field(default_factory=bytearray)


class Broadcasts:
    """Joins the packets of messages to all, one message a source address at a time. Incomplete ones are counted as
    `broken`."""

    def __init__(self) -> None:
        self.broken = 0
        self._announced: dict[int, _Announced] = {}

    def receive(self, frame_id: int, data: bytes, at_s: float) -> tuple[int, bytes] | None:
        """Return the group and content of a message that is complete with this frame, which came at `at_s` (s)."""
        group, source = frame_id >> 8 & 0x3FFFF, frame_id & 0xFF
        if group not in (_CONTROL, _DATA) or len(data) != PACKET + 1:
            return None
        if group == _CONTROL:
            if data[0] == _BROADCAST:
                self.broken += self._announced.pop(source, None) is not None
                length = int.from_bytes(data[1:3], "little")
                if SHORTEST <= length <= LONGEST and data[3] == -(-length // PACKET):
                    self._announced[source] = _Announced(int.from_bytes(data[5:8], "little"), length, at_s)
                else:
                    self.broken += 1
            return None
        message = self._announced.get(source)
        if message is None:
            return None
        if data[0] != len(message.data) // PACKET + 1 or not 0 <= at_s - message.at_s <= PACKET_S:
            del self._announced[source]
            self.broken += 1
            return None
        message.data += data[1:]
        message.at_s = at_s
        if len(message.data) < message.length:
            return None
        del self._announced[source]
        return message.group, bytes(message.data[: message.length])


class TruckBus:
    """Takes the frames of a bus, and knows the vehicle's VIN once it was sent."""

    def __init__(self) -> None:
        self.vin = ""
        self._mapping = CanMapping(truck_dbc(), TRUCK_SIGNALS)
        self._broadcasts = Broadcasts()
        self._best: set[str] = set()

    def receive(self, frame_id: int, data: bytes, at_s: float) -> Mapped | None:
        """Return what a frame says, or the message that is complete with it; None if it says nothing that is known."""
        joined = self._broadcasts.receive(frame_id, data, at_s)
        if joined is not None:
            group, data = joined
            if group == VEHICLE_IDENTIFICATION:
                self.vin = data.partition(b"*")[0].decode("ascii", "replace").strip()
            frame_id = frame_id & 0x1C0000FF | group << 8
        mapped = self._mapping.decode(frame_id, data)
        if mapped is None or not (mapped.values or mapped.absent or mapped.context):
            return None
        if self._mapping.message_name(frame_id) not in SECOND_BEST:
            self._best |= mapped.values.keys()
        elif not self._best.isdisjoint((*mapped.values, *mapped.absent)):
            return None
        return mapped
