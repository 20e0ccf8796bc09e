"""A radial feeder of a distribution grid: the voltages that loads and generators make at its nodes. Pure.

For simulations and tests. Symmetrical phases; lines are R and X in series, as low-voltage lines are calculated. Solved
by backward and forward sweeps (Shirmohammadi et al., IEEE Trans. Power Systems 3(2), 1988).
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

Ohm = Annotated[float, Meta(ge=0, le=100)]
Power = Annotated[float, Meta(ge=-10_000_000, le=10_000_000)]

TOLERANCE_V: Final = 1e-6
SWEEPS: Final = 500


class FeederNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node, the line that feeds it, and its own load. Reactive power that a load absorbs is positive."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    parent: Annotated[str, Meta(max_length=64)] = ""
    """Name of an earlier node; empty: the head of the feeder."""
    r_ohm: Ohm
    """Resistance of the line from the parent, of each phase."""
    x_ohm: Ohm = 0.0
    """Its reactance."""
    load_w: Power = 0.0
    """Load apart from the chargers, of all phases together; below 0: generation, such as PV."""
    load_var: Power = 0.0


class Feeder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The nodes behind a transformer or a point with a stiff voltage."""

    nodes: Annotated[tuple[FeederNode, ...], Meta(min_length=1, max_length=1000)]
    """Each after its parent."""
    phases: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        """Reject nodes that are no tree."""
        known = {""}
        for node in self.nodes:
            if node.parent not in known or node.name in known:
                raise ValueError(f"node {node.name!r}: its name must be new, and its parent a node before it")
            known.add(node.name)

    def voltages(self, drawn: Mapping[str, complex], head_v: float) -> dict[str, float]:
        """Return the voltage of each node (V, phase to neutral) while chargers draw `drawn` there: W + j var of all
        phases together. `head_v` is the voltage at the head. All are 0 V if the feeder cannot carry the power
        (voltage collapse).
        """
        powers = [(complex(node.load_w, node.load_var) + drawn.get(node.name, 0)) / self.phases for node in self.nodes]
        place = {"": -1} | {node.name: number for number, node in enumerate(self.nodes)}
        parents = [place[node.parent] for node in self.nodes]
        lines = [complex(node.r_ohm, node.x_ohm) for node in self.nodes]
        volts = [complex(head_v)] * len(self.nodes)
        for _ in range(SWEEPS):
            if not all(volts):
                break
            currents = [(power / volt).conjugate() for power, volt in zip(powers, volts, strict=True)]
            for number in reversed(range(len(volts))):
                if parents[number] >= 0:
                    currents[parents[number]] += currents[number]
            before, change = volts[:], 0.0
            for number, parent in enumerate(parents):
                volts[number] = (head_v if parent < 0 else volts[parent]) - lines[number] * currents[number]
                change = max(change, abs(volts[number] - before[number]))
            if change < TOLERANCE_V:
                return {node.name: abs(volt) for node, volt in zip(self.nodes, volts, strict=True)}
        return dict.fromkeys(place.keys() - {""}, 0.0)
