"""How the EVSEs of a charger share what feeds them: power, and with alternating current each line conductor. Pure.

What every vehicle gets is max-min fair (`v2g.energy.balancing`), and waits until the others no longer draw more than
is left: a vehicle may go on for as long as it has to follow a lower limit (R57, R192). What one has not used for
UNUSED_S goes to those that want more, and it is behind those that wait: they take turns where there is not enough for
the least power of each.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from secc.hardware.ac import EXCESS_S, FOLLOW_S
from v2g.energy.balancing import Limits, Load, Node, share
from v2g.energy.conductors import LINE_NAMES, LINES, Currents, line_current_ma, line_power_w, spread
from v2g.energy.limits import MOST_MA, MOST_W, SITE, EffectiveLimits, Limit

HELD_S: Final = FOLLOW_S + EXCESS_S + 0.5
"""After a lower share a vehicle may draw as before for so long: then it has followed, or its contactor is open."""
LEAST_MA: Final = 6_000
"""Vehicles draw no less from a conductor of alternating current (IEC 61851-1)."""
LEAST_RAISE_W: Final = 115
"""Shares are not raised by less, half an ampere of one conductor, while others want more, too: measurements are never
quite the same."""
ERROR_MA: Final = 2_000
"""A vehicle draws more than its share only by more than this, and less of it, too."""
UNUSED_S: Final = 120.0
"""A vehicle that has used less than its share for so long needs no more than it uses: one that is full, or paused."""


class FeederEvse(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE as it is now. `lines` are the feeder's conductors (0 to 2) that it uses or may use, in any order.

    `served`: a vehicle follows its limits; `closed`: the output is connected. Both false: nothing flows. Closed and
    not served: something flows that nobody limits, such as through a welded contactor.
    """

    most: EffectiveLimits
    """Of its rating, cable, profiles and temperatures."""
    lines: tuple[int, ...]
    served: bool
    closed: bool
    power_w: int | None
    """Measured, signed; None if nothing is measured."""
    currents: Currents | None = None
    """Measured in the feeder's conductors; None where only the power is."""
    direct: bool = False
    """Its power electronics follow at once, and down to the least power."""
    shown_ma: int = 0
    """What a duty cycle shows it, mA of each conductor: a lower one is shown some time after the last."""
    least_w: tuple[int, int] = (0, 0)
    """The least power that can be held, W, into a vehicle and out of it."""


class _Amount(NamedTuple):
    """Power, W, and the current of each conductor in use, mA, in one direction."""

    watts: int
    line_ma: int


_NOTHING: Final = _Amount(0, 0)
_ALL: Final = _Amount(MOST_W, MOST_MA)


class FeederShares:
    """The shares of one feeder's EVSEs, by their number. `volts` is between line and neutral, `unbalance_ma` how much
    more may be drawn from one conductor than from another, None: any."""

    def __init__(self, volts: int, unbalance_ma: int | None = None) -> None:
        self._ways = _Way(1, volts, unbalance_ma), _Way(-1, volts, unbalance_ma)
        self._known: tuple[Limit, Mapping[int, FeederEvse]] | None = None
        self._settled: dict[int, Limit] = {}

    def settle(
        self, feeder: Limit, evses: Mapping[int, FeederEvse], now: float, *, raises: bool = True
    ) -> dict[int, Limit]:
        """Return the share of each EVSE that is served, those that are lowered first. `now` in s, monotonic.

        Without `raises` shares are lowered only: more may change at the same time. Without `charge_ma` and
        `discharge_ma` the feeder's conductors are not looked at.
        """
        charge, discharge = self._ways
        if (feeder, evses) == self._known:
            return self._settled
        charged, lower = charge.settle(feeder.charge_w, feeder.charge_ma, evses, now, raises)
        discharged, less = discharge.settle(feeder.discharge_w, feeder.discharge_ma, evses, now, raises)
        before = self._settled
        self._settled = {
            number: Limit(
                source=SITE,
                charge_w=charged[number].watts,
                discharge_w=discharged[number].watts,
                charge_ma=None if feeder.charge_ma is None else charged[number].line_ma,
                discharge_ma=None if feeder.discharge_ma is None else discharged[number].line_ma,
            )
            for number in sorted(charged, key=lambda each: each not in lower | less)
        }
        changes = not raises or self._settled != before or any(way.held or way.unused for way in self._ways)
        self._known = None if changes else (feeder, evses)
        return self._settled


class _Way:
    """One direction of energy: 1 into the vehicles, -1 out of them."""

    def __init__(self, sign: int, volts: int, unbalance_ma: int | None) -> None:
        self._sign, self._volts, self._unbalance_ma = sign, volts, unbalance_ma
        self.shares: dict[int, _Amount] = {}
        """In the order in which vehicles came."""
        self.held: dict[int, tuple[_Amount, float]] = {}
        """What may flow before a lower share is followed, and until when."""
        self.unused: dict[int, tuple[_Amount, float]] = {}
        """The most that vehicles use of their shares which use less, and since when."""
        self._needs: dict[int, _Amount] = {}
        """What those need, after UNUSED_S."""

    def settle(
        self, watts: int, line_ma: int | None, evses: Mapping[int, FeederEvse], now: float, raises: bool
    ) -> tuple[dict[int, _Amount], set[int]]:
        """Return the share of each EVSE that is served, and which of them are lowered."""
        here = {number: evse for number, evse in evses.items() if evse.served or evse.closed}
        self.shares = {number: each for number, each in self.shares.items() if number in here}
        for number, evse in here.items():
            self.shares.setdefault(number, _NOTHING if evse.served else self._most(evse))
        served = {number: here[number] for number in self.shares if here[number].served}
        self.held = {number: held for number, held in self.held.items() if number in served and now < held[1]}
        for number, evse in served.items():
            if self._sign > 0 and evse.shown_ma > self.shares[number].line_ma:
                shown = _Amount(line_power_w(evse.shown_ma, self._volts, len(evse.lines)), evse.shown_ma)
                self.held[number] = _Amount(*map(max, shown, self.held.get(number, (_NOTHING, now))[0])), now + HELD_S
        self._look_at_use(served, now)
        served = {number: served[number] for number in self.shares if number in served}
        nodes = [Node(id="power", limits=(watts,) * 3)]
        if line_ma is not None:
            nodes.append(Node(id="balance", limits=(MOST_MA,) * 3, unbalance=self._unbalance_ma))
            nodes.append(Node(id="lines", parent="balance", limits=(line_ma,) * 3))
        most = {number: self._most(evse) for number, evse in served.items()}
        wanted, lowered = self._fair(nodes, here, most), set[int]()
        for number, evse in served.items():
            before = self.shares[number]
            self.shares[number] = least = _Amount(*map(min, before, wanted[number]))
            if least != before:
                lowered.add(number)
                if evse.closed and not evse.direct:
                    flowing, _ = self.held.get(number, (before, now))
                    self.held[number] = _Amount(*map(max, before, flowing)), now + HELD_S
        limits = Limits(nodes, ())
        for number in here:
            self._draw(limits, nodes, number, here[number])
        for number, evse in served.items() if raises else ():
            self._draw(limits, nodes, number, evse, -1)  # what is left while the others go on as they are
            before, after = self.shares[number], _Amount(*map(min, wanted[number], self._room(limits, nodes, evse)))
            little = after.watts < before.watts + LEAST_RAISE_W and wanted[number] != most[number]
            least = self._least(evse)
            if after.line_ma >= least.line_ma and after.watts >= least.watts and not little:
                self.shares[number] = _Amount(*map(max, before, after))
            self._draw(limits, nodes, number, evse)
        return {number: self.shares[number] for number in served}, lowered

    def _look_at_use(self, served: Mapping[int, FeederEvse], now: float) -> None:
        """Note which vehicles use less than their shares."""
        for each in (self.unused, self._needs):
            for number in each.keys() - served.keys():
                del each[number]
        for number, evse in served.items():
            used, share = self._used(evse), _Amount(*map(min, self.shares[number], self._needs.get(number, _ALL)))
            error_w = line_power_w(ERROR_MA, self._volts, len(evse.lines))
            if used is None or used.line_ma + ERROR_MA >= share.line_ma or used.watts + error_w >= share.watts:
                self.unused.pop(number, None)
                if share.watts:  # it waits for none
                    self._needs.pop(number, None)
                continue
            before, since = self.unused.get(number, (_NOTHING, now))
            most = _Amount(*map(max, before, used))
            self.unused[number] = most, since
            if now >= since + UNUSED_S:
                self.unused[number] = used, now
                line_ma = max(LEAST_MA, most.line_ma + 2 * ERROR_MA)
                watts = max(line_power_w(LEAST_MA, self._volts, len(evse.lines)), most.watts + 2 * error_w)
                self._needs[number] = _Amount(watts, line_ma)
                if most.line_ma < ERROR_MA:
                    self.shares[number] = self.shares.pop(number)  # behind the others

    def _used(self, evse: FeederEvse) -> _Amount | None:
        """Return what flows; None if that is unknown."""
        if not evse.closed:
            return _NOTHING
        if evse.power_w is None:
            return None
        watts = max(0, self._sign * evse.power_w)
        if evse.currents is not None:
            return _Amount(watts, max(0, *(self._sign * evse.currents[line] for line in evse.lines)))
        return _Amount(watts, watts * 1000 // (self._volts * (len(evse.lines) if evse.direct else 1)))

    def _fair(
        self, nodes: Sequence[Node], here: Mapping[int, FeederEvse], most: Mapping[int, _Amount]
    ) -> dict[int, _Amount]:
        """Return what each served EVSE gets once all have followed."""
        fixed = [
            each for number, evse in here.items() if not evse.served for each in self._flowing(nodes, number, evse)
        ]
        found = dict(most)
        if len(nodes) > 1:
            fixed += [each for number in most for each in self._fed_back(number, here[number])]
            loads = [
                self._load(number, place, here[number], "lines", here[number].lines, each.line_ma)
                for place, (number, each) in enumerate(most.items())
            ]
            shares = share(nodes, [*fixed, *loads])
            for number, each in most.items():
                carried_w = line_power_w(shares[str(number)], self._volts, len(here[number].lines))
                found[number] = _Amount(min(each.watts, carried_w), shares[str(number)])
        powers = [
            self._load(number, place, here[number], "power", (0,), each.watts)
            for place, (number, each) in enumerate(found.items())
        ]
        shares = share(nodes, [*fixed, *powers])
        for number, each in found.items():
            if (power_w := shares[str(number)]) < each.watts:  # of less power each conductor carries its part
                found[number] = _Amount(power_w, line_current_ma(power_w, self._volts, len(here[number].lines)))
        return found

    def _load(self, number: int, place: int, evse: FeederEvse, node: str, lines: tuple[int, ...], most: int) -> Load:
        """Return what a vehicle wants of the power (W) or of the conductors (mA)."""
        power = node == "power"
        least, need = self._least(evse), self._needs.get(number, _ALL)
        return Load(
            id=str(number),
            node=node,
            phases=lines,
            least=least.watts if power else least.line_ma,
            most=most,
            needed=need.watts if power else need.line_ma,
            since_ms=place,
            running=self.shares[number].watts > 0 and need.line_ma > LEAST_MA,
        )

    def _draw(self, limits: Limits, nodes: Sequence[Node], number: int, evse: FeederEvse, times: int = 1) -> None:
        """Subtract from the limits what may flow, or add it again."""
        for load in self._flowing(nodes, number, evse):
            limits.draw(limits.way(load.node, load.phases), times * (load.fixed or 0))

    def _room(self, limits: Limits, nodes: Sequence[Node], evse: FeederEvse) -> _Amount:
        """Return what an EVSE may have of what is left."""
        line_ma = limits.room(limits.way("lines", evse.lines)) if len(nodes) > 1 else MOST_MA
        left_w = limits.room(limits.way("power", (0,)))
        return _Amount(min(left_w, line_power_w(line_ma, self._volts, len(evse.lines))), line_ma)

    def _flowing(self, nodes: Sequence[Node], number: int, evse: FeederEvse) -> list[Load]:
        """Return what may flow: the same in all lines in use, what is measured beyond that, and the power."""
        allowed = last = self.shares[number]
        if evse.served:
            allowed = _Amount(*map(max, allowed, self.held.get(number, (_NOTHING, 0.0))[0]))
        elif evse.power_w is not None:
            allowed = _NOTHING
        power_w = self._sign * (evse.power_w or 0)
        error_ma = ERROR_MA if evse.served else 0
        error_w = line_power_w(error_ma, self._volts, len(evse.lines))
        if (evse.served and evse.direct) or power_w <= allowed.watts + error_w:
            power_w = allowed.watts
        found = [Load(id=f"{number} W", node="power", phases=(0,), least=0, most=0, fixed=power_w)]
        if len(nodes) == 1:
            return found
        sum_ma = power_w * 1000 // self._volts
        part_ma = -(-sum_ma // len(evse.lines))
        if not evse.served:  # how it is spread is unknown: all of it in one conductor, as far as that was permitted
            part_ma = max(part_ma, min(sum_ma, last.line_ma))
        found.append(Load(id=f"{number}", node="lines", phases=evse.lines, most=0, fixed=allowed.line_ma))
        for line in LINES:
            measured_ma = part_ma * (line in evse.lines)
            if evse.currents is not None:
                measured_ma = self._sign * evse.currents[line]
            beyond_ma = measured_ma - allowed.line_ma * (line in evse.lines)
            if beyond_ma > error_ma:
                name = f"{number} {LINE_NAMES[line]}"
                found.append(Load(id=name, node="lines", phases=(line,), most=0, fixed=beyond_ma))
        return found + self._fed_back(number, evse)

    def _fed_back(self, number: int, evse: FeederEvse) -> list[Load]:
        """Return by how much more is drawn from the other conductors while a vehicle feeds back into its own, in whole
        amperes, as measurements vary: who charges makes room for it."""
        if self._unbalance_ma is None or self._sign < 0:
            return []
        currents = evse.currents or spread((evse.power_w or 0) * 1000 // self._volts, evse.lines)
        others = tuple(line for line in LINES if currents[line] > -ERROR_MA)
        if not 0 < len(others) < len(LINES):
            return []
        back_ma = -(min(currents) // 1000) * 1000
        return [Load(id=f"{number} fed back", node="balance", phases=others, most=0, fixed=back_ma)]

    def _most(self, evse: FeederEvse) -> _Amount:
        most = evse.most
        watts, line = (most.charge_w, most.charge_line) if self._sign > 0 else (most.discharge_w, most.discharge_line)
        if evse.direct or line is None:
            return _Amount(watts, -(-watts * 1000 // (self._volts * len(evse.lines))))
        line_ma, _ = line
        return _Amount(min(watts, line_power_w(line_ma, self._volts, len(evse.lines))), line_ma)

    def _least(self, evse: FeederEvse) -> _Amount:
        """Return the least that a vehicle uses, if it uses anything."""
        least_w, most = evse.least_w[self._sign < 0], self._most(evse)
        if evse.direct:
            return _Amount(least_w, 0)
        line_ma = min(LEAST_MA, most.line_ma)
        return _Amount(min(most.watts, max(least_w, line_power_w(line_ma, self._volts, len(evse.lines)))), line_ma)
