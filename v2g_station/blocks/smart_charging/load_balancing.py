"""Power control that keeps the load of a building between two thresholds, with or without the CSMS (Q09)."""

from collections.abc import Callable, Mapping

from v2g_station.blocks.evse import Evse, Fact
from v2g_station.blocks.smart_charging.local_control import LocalControl
from v2g_station.blocks.smart_charging.smart_charging import SmartCharging
from v2g_station.blocks.transactions.transactions import MeterSample
from v2g_station.kernel.kernel import Kernel


class UpstreamLoad(Fact, frozen=True, kw_only=True):
    """The meter reading at the grid connection, W; positive is drawn from the grid. It includes the vehicles."""

    power_w: float


class LoadBalancing(LocalControl):
    """Local load balancing, shared by all EVSEs of a station whose profiles ask for it."""

    mode = "LocalLoadBalancing"

    def __init__(
        self,
        kernel: Kernel,
        evses: Mapping[int, Evse],
        smart_charging: SmartCharging,
        read: Callable[[int], MeterSample | None],
    ) -> None:
        super().__init__(kernel, evses, smart_charging)
        self._read = read

    def measured(self, fact: UpstreamLoad) -> None:
        """Q09.FR.03, .04: split the power beyond the threshold over the vehicles."""
        followers = [evse for evse in self._evses.values() if self.period(evse) is not None]
        delta = self._delta(fact.power_w + sum(map(self._to_come, followers)))
        for evse in followers:
            self.want(evse, self._base(evse) + delta / len(followers))

    def follow(self, evse: Evse) -> None:
        """Stay within changed limits (Q09.FR.05)."""
        if self.power(evse) is not None:
            self.want(evse, self._base(evse))

    def _delta(self, load_w: float) -> float:
        """Return the necessary change of the set-point."""
        upper, lower, upper_offset, lower_offset = (
            self._k.model.number(f"V2XChargingCtrlr.LocalLoadBalancing[{name}]")
            for name in ("UpperThreshold", "LowerThreshold", "UpperOffset", "LowerOffset")
        )
        if load_w > upper:
            return upper + upper_offset - load_w
        return lower + lower_offset - load_w if load_w < lower else 0.0

    def _base(self, evse: Evse) -> float:
        """Return the current set-point, or the actual power before there is one."""
        power = self.power(evse)
        return power if power is not None else self._flowing(evse) or 0.0

    def _to_come(self, evse: Evse) -> float:
        """Return how much of the last set-point the vehicle has yet to follow, W: requesting it twice would overshoot.

        It also counts for a vehicle that cannot follow, whose set-point would otherwise run away.
        """
        flowing, power = self._flowing(evse), self.power(evse)
        return 0.0 if flowing is None or power is None else power - flowing

    def _flowing(self, evse: Evse) -> float | None:
        sample = self._read(evse.number)
        return None if sample is None or sample.power_w is None else float(sample.power_w)
