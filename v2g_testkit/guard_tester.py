"""Tests a controllable system of EEBUS (a charger, a heat pump, an energy manager) as its energy guard.

The cases are those of the published test specification of LPC 1.0.0 that need no restart of the device, in our own
words; LPP has the same with its own sign. The device must trust the tester's SKI. Waits are those of the use case.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from v2g.eebus.guard import EnergyGuard, limit_of
from v2g.eebus.identity import ShipNode
from v2g.eebus.messages import (
    REJECTED,
    CharacteristicList,
    ConfigurationDescriptionList,
    ConfigurationList,
    KeyValue,
    Limit,
    LimitDescriptionList,
    LimitList,
    scaled,
)
from v2g.eebus.spine import Moment, PeerLink
from v2g.errors import TimeoutExpired
from v2g.io.eebus.files import node_key
from v2g.io.eebus.node import EebusNode
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g_testkit.cases.case import Described, Result, Verdict

ANSWER_S: Final = 10.0
"""Time for an answer (eebus-go waits as long)."""
CONNECT_S: Final = 60.0
WAIT_S: Final = 130.0
"""After this without a heartbeat a system is in failsafe."""
UseCaseName = Literal["lpc", "lpp"]


class Unmet(Exception):
    """The device does not do what a case requires."""


class GuardBench(msgspec.Struct, frozen=True, kw_only=True):
    """The device: its SKI and URL, the direction, and the range in which it can be limited, W."""

    ski: str
    url: str
    use_case: UseCaseName = "lpc"
    least_w: int = 0
    most_w: int = 22_000


class GuardCase(Described, frozen=True, kw_only=True):
    """A case of the published specification."""

    check: Callable[["GuardTester"], Awaitable[str]]

    @property
    def group(self) -> str:
        return "limitation"


class GuardTester:
    """Runs cases in sequence on one connection. `wait` passes time: tests of the tester replace it."""

    def __init__(
        self,
        bench: GuardBench,
        folder: Path,
        *,
        clock: Clock,
        observe: Callable[[Observe], None],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.bench, self._clock, self._wait = bench, clock, wait
        key = node_key(folder, "v2g conform eebus")
        node = ShipNode(ski=key.ski, id=f"d:_n:v2g-engine_guard-{key.ski[:12]}", type="GridGuard", categories=("1",))
        self.ski: Final = key.ski
        self.guard = EnergyGuard(node.id, self._now())
        self._node = EebusNode(
            key,
            node,
            self.guard,
            self,
            clock=clock,
            observe=observe,
            trusted=lambda: frozenset({bench.ski}),
            targets=lambda: {bench.ski: bench.url},
        )
        self._sign = 1 if bench.use_case == "lpc" else -1

    async def open(self) -> None:
        """Connect, bind and read. Raises TransportError, TimeoutExpired."""
        await self._node.open("127.0.0.1", 0)
        wanted = {"loadControlLimitDescriptionListData", "loadControlLimitListData"}
        await self._until(lambda: wanted <= self.guard.data.keys(), CONNECT_S, "the device's limits")

    async def close(self) -> None:
        """Disconnect."""
        await self._node.close()

    def processed(self) -> None:
        """See ShipListener."""

    def peers_changed(self) -> None:
        """See ShipListener."""

    async def run(self, case: GuardCase) -> Result:
        """Run a case and judge it."""
        began = self._clock.monotonic()
        try:
            verdict, found = Verdict.PASS, await case.check(self)
        except Unmet as why:
            verdict, found = Verdict.FAIL, str(why)
        except TimeoutExpired as why:
            verdict, found = Verdict.INCONCLUSIVE, str(why)
        seconds = round(self._clock.monotonic() - began, 3)
        return Result(case=case.id, verdict=verdict, found=found, seconds=seconds)

    # -- words of the cases

    @property
    def delta_w(self) -> float:
        """5 % of the range."""
        return 0.05 * (self.bench.most_w - self.bench.least_w)

    @property
    def middle_w(self) -> float:
        """The middle of the range."""
        return (self.bench.most_w + self.bench.least_w) / 2

    async def beat(self) -> None:
        """Send a heartbeat."""
        self.guard.beat(self._now())
        self._node.pump()

    async def limit(
        self, *, watts: float | None = None, active: bool | None = None, lasts_s: int | None = None, ends: bool = False
    ) -> int:
        """Write a limit (a magnitude); return the errorNumber."""
        value = None if watts is None else self._sign * watts
        limit = limit_of(self._number, watts=value, active=active, lasts_s=lasts_s)
        return await self._result(self.guard.write_limit(self._link, limit, end_duration=ends))

    async def key(self, name: str, value: KeyValue) -> int:
        """Write a failsafe value; return the errorNumber."""
        return await self._result(self.guard.write_key(self._link, self._key(name), value))

    async def shown(self) -> Limit:
        """Read the limit."""
        self.guard.read_again(self._link, "LoadControl")
        self._node.pump()
        await self._until(lambda: "loadControlLimitListData" in self.guard.data, ANSWER_S, "an answer to a reading")
        data = self.guard.data["loadControlLimitListData"]
        assert isinstance(data, LimitList)
        found = [each for each in data.load_control_limit_data or () if each.limit_id == self._number]
        if not found:
            raise Unmet("the limit is not in the list")
        return found[0]

    async def value_of(self, name: str) -> KeyValue:
        """Read a failsafe value."""
        self.guard.read_again(self._link, "DeviceConfiguration")
        self._node.pump()
        function = "deviceConfigurationKeyValueListData"
        await self._until(lambda: function in self.guard.data, ANSWER_S, "an answer to a reading")
        data = self.guard.data[function]
        assert isinstance(data, ConfigurationList)
        number = self._key(name)
        for each in data.device_configuration_key_value_data or ():
            if each.key_id == number and each.value is not None:
                return each.value
        raise Unmet(f"{name} has no value")

    async def controlled(self) -> None:
        """Come to unlimited/controlled, from any state."""
        await self.beat()
        await self.expect(self.limit(watts=self.middle_w, active=False, ends=True), 0, "a deactivated limit")
        await self.active(wanted=False)

    async def limited(self) -> None:
        """Come to limited, without a duration."""
        await self.controlled()
        await self.expect(self.limit(watts=self.middle_w, active=True, ends=True), 0, "an activated limit")
        await self.active(wanted=True)

    async def failsafe(self) -> None:
        """Come to failsafe."""
        await self.limited()
        await self.passes(WAIT_S)
        await self.active(wanted=False)

    async def active(self, *, wanted: bool) -> None:
        """Require that the limit is activated, or not."""
        if (await self.shown()).is_limit_active is not wanted:
            raise Unmet(f"the limit is {'not ' if wanted else ''}activated")

    async def expect(self, written: Awaitable[int], number: int, what: str) -> None:
        """Require a result of a write."""
        if (found := await written) != number:
            raise Unmet(f"{what}: errorNumber {found} instead of {number}")

    async def passes(self, seconds: float) -> None:
        """Let time pass without a heartbeat."""
        await self._wait(seconds)

    def nominal(self, kind: str) -> float | None:
        """Return a nominal maximum; None if it is not offered."""
        data = self.guard.data.get("electricalConnectionCharacteristicListData")
        assert data is None or isinstance(data, CharacteristicList)
        items = data.electrical_connection_characteristic_data if data is not None else None
        return next((e.value.value for e in items or () if e.characteristic_type == kind and e.value is not None), None)

    # -- inside

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.utc_ms())

    @property
    def _link(self) -> PeerLink:
        link = next((each for each in self.guard.links if each.device is not None), None)
        if link is None:
            raise Unmet("the connection is lost")
        return link

    @property
    def _number(self) -> int:
        data = self.guard.data["loadControlLimitDescriptionListData"]
        assert isinstance(data, LimitDescriptionList)
        wanted = ("signDependentAbsValueLimit", "obligation", "consume" if self._sign > 0 else "produce")
        for each in data.load_control_limit_description_data or ():
            if (each.limit_type, each.limit_category, each.limit_direction) == wanted and each.limit_id is not None:
                return each.limit_id
        raise Unmet(f"no limit is described as {', '.join(wanted)}")

    def _key(self, name: str) -> int:
        data = self.guard.data.get("deviceConfigurationKeyValueDescriptionListData")
        assert data is None or isinstance(data, ConfigurationDescriptionList)
        items = data.device_configuration_key_value_description_data if data is not None else None
        for each in items or ():
            if each.key_name == name and each.key_id is not None:
                return each.key_id
        raise Unmet(f"no key is named {name}")

    @property
    def failsafe_key(self) -> str:
        """Name of the failsafe limit."""
        return f"failsafe{'Consumption' if self._sign > 0 else 'Production'}ActivePowerLimit"

    async def _result(self, counter: int) -> int:
        self._node.pump()
        await self._until(lambda: counter in self.guard.results, ANSWER_S, "a result")
        return self.guard.results.pop(counter).error_number or 0

    async def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        until = self._clock.monotonic() + seconds
        while not holds():
            if self._clock.monotonic() > until:
                raise TimeoutExpired(what, seconds)
            await asyncio.sleep(0.02)


async def _heartbeats(tester: GuardTester) -> str:
    await tester.controlled()
    seen = len(tester.guard.beats)
    for _ in range(6):
        await tester.passes(55)
        await tester.beat()
    times = tester.guard.beats[seen:]
    gaps = [late - early for early, late in itertools.pairwise(times)]
    if len(gaps) < 5 or max(gaps) > 60:
        raise Unmet(f"{len(times)} heartbeats in 330 s, at most {max(gaps, default=0):.0f} s apart")
    return f"at most {max(gaps):.1f} s apart"


async def _values(tester: GuardTester) -> str:
    bench, delta = tester.bench, tester.delta_w
    for watts in (
        max(0.0, bench.least_w - delta), bench.least_w + delta, tester.middle_w, bench.most_w - delta,
        bench.most_w + delta,
    ):  # fmt: skip
        await tester.controlled()
        await tester.expect(tester.limit(watts=watts, active=True, ends=True), 0, f"a limit of {watts:.0f} W")
        await tester.active(wanted=True)
    await tester.controlled()
    return "all accepted and activated"


async def _failsafe_values(tester: GuardTester) -> str:
    await tester.controlled()
    before, lasts = await tester.value_of(tester.failsafe_key), await tester.value_of("failsafeDurationMinimum")
    for watts in (0.0, tester.middle_w, tester.bench.most_w + tester.delta_w):
        await tester.expect(tester.key(tester.failsafe_key, KeyValue(scaled_number=scaled(watts))), 0, f"{watts:.0f} W")
        shown = (await tester.value_of(tester.failsafe_key)).scaled_number
        if shown is None or round(shown.value) != round(watts):
            raise Unmet(f"{watts:.0f} W was accepted and is not shown")
    await tester.expect(tester.key(tester.failsafe_key, KeyValue(scaled_number=scaled(-1000))), REJECTED, "-1000 W")
    await tester.expect(tester.key("failsafeDurationMinimum", KeyValue(duration="PT1H54M")), REJECTED, "1 h 54 min")
    await tester.expect(tester.key(tester.failsafe_key, before), 0, "the value before")
    await tester.expect(tester.key("failsafeDurationMinimum", lasts), 0, "the duration before")
    return "accepted and shown; invalid ones are refused"


async def _refused_in_limited(tester: GuardTester) -> str:
    await tester.limited()
    before = await tester.shown()
    for active in (None, True, False):
        written = tester.limit(watts=-1000, active=active)
        await tester.expect(written, REJECTED, "a limit of -1000 W")
    if await tester.shown() != before:
        raise Unmet("a refused write has changed the limit")
    await tester.controlled()
    return "refused, nothing changed"


async def _refused_in_controlled(tester: GuardTester) -> str:
    await tester.controlled()
    await tester.expect(tester.limit(watts=-1000, active=True), REJECTED, "a limit of -1000 W")
    await tester.active(wanted=False)
    return "refused, nothing changed"


async def _between_heartbeats(tester: GuardTester) -> str:
    await tester.limited()
    await tester.beat()
    await tester.passes(90)
    await tester.expect(tester.limit(watts=tester.middle_w, active=True), 0, "a limit 90 s after a heartbeat")
    await tester.beat()
    await tester.active(wanted=True)
    await tester.controlled()
    return "accepted 90 s after a heartbeat"


async def _nominal(tester: GuardTester) -> str:
    name = "Consumption" if tester.bench.use_case == "lpc" else "Production"
    device = tester.nominal(f"power{name}NominalMax")
    contract = tester.nominal(f"contractual{name}NominalMax")
    if (device is None) is (contract is None):
        raise Unmet(f"power{name}NominalMax is {device}, contractual{name}NominalMax {contract}: one of them is due")
    return f"{device if device is not None else contract:.0f} W"


async def _duration(tester: GuardTester) -> str:
    await tester.limited()
    await tester.expect(tester.limit(watts=tester.middle_w, active=True, lasts_s=60), 0, "a limit of 60 s")
    await tester.active(wanted=True)
    await tester.beat()
    await tester.passes(62)
    await tester.beat()
    shown = await tester.shown()
    if shown.is_limit_active is not False:
        raise Unmet("the limit is still activated after its duration")
    return "ended with its duration"


async def _deactivation(tester: GuardTester) -> str:
    await tester.limited()
    await tester.expect(tester.limit(active=False), 0, "a deactivation")
    await tester.active(wanted=False)
    return "deactivated at once"


async def _lost(tester: GuardTester) -> str:
    await tester.failsafe()
    await tester.expect(tester.limit(active=False), REJECTED, "a limit without a heartbeat")
    return "deactivated after 120 s; a limit without a heartbeat is refused"


async def _failsafe_left(tester: GuardTester) -> str:
    await tester.failsafe()
    await tester.beat()
    written = tester.key(tester.failsafe_key, KeyValue(scaled_number=scaled(tester.middle_w)))
    await tester.expect(written, REJECTED, "a failsafe value before a limit")
    await tester.expect(tester.limit(watts=tester.middle_w, active=True, ends=True), 0, "an activated limit")
    await tester.active(wanted=True)
    await tester.controlled()
    return "left by heartbeat and limit"


async def _failsafe_left_by_refusal(tester: GuardTester) -> str:
    await tester.failsafe()
    await tester.beat()
    await tester.expect(tester.limit(watts=-1000, active=True), REJECTED, "a limit of -1000 W")
    await tester.expect(tester.limit(active=False), 0, "a limit then, in unlimited/controlled")
    return "left by a refused limit"


def _case(
    name: str, title: str, required: str, requirements: str, check: Callable[[GuardTester], Awaitable[str]],
    *, quick: bool = True,
) -> GuardCase:  # fmt: skip
    ids = tuple(f"LPC-TS-{each}" for each in requirements.split())
    number = f"ATC_COM_{name}"
    return GuardCase(
        id=number, title=title, required=required, requirements=ids, published=(number,), check=check, quick=quick
    )


CASES: Final = (
    _case("PT_CSHeartbeat_001", "count heartbeats", "at most 60 s apart", "007", _heartbeats, quick=False),
    _case("PT_CSConnection_007", "limits in and beyond the range", "all are accepted", "001 035 035/4", _values),
    _case("PT_CSConnection_008", "failsafe values", "valid ones are stored", "015/1 038", _failsafe_values),
    _case("NT_CSLimited_001", "invalid limits while limited", "nothing changes", "024 035/1", _refused_in_limited),
    _case("PT_CSLimited_002", "a limit 90 s after a heartbeat", "accepted", "002", _between_heartbeats, quick=False),
    _case("NT_CSUnlCntrl_001", "an invalid limit", "refused, nothing changes", "009 023", _refused_in_controlled),
    _case("PT_CSUnlCntrl_003", "read the nominal maximum", "of a device or a contract", "010/1 040", _nominal),
    _case("PT_CSTransition6_001", "a limit with a duration", "ends with it", "008 025", _duration, quick=False),
    _case("PT_CSTransition6_002", "deactivate a limit", "ends at once", "026", _deactivation),
    _case("PT_CSTransition7_001", "no heartbeat for 130 s", "failsafe: deactivated", "029 036", _lost, quick=False),
    _case("PT_CSTransition9_001", "heartbeat and limit then", "limited", "032 037", _failsafe_left, quick=False),
    _case("PT_CSTransition8_001", "an invalid limit then", "controlled", "031", _failsafe_left_by_refusal, quick=False),
)
