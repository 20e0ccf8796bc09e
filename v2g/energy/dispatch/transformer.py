"""Keeps a transformer within its rating while many vehicles start at once: limits fall at once and rise in steps."""

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.energy.dispatch.split import level


class Transformer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transformer's rating (VA), and the power factor of the vehicles' chargers."""

    rated_va: Annotated[int, Meta(ge=1, le=10_000_000)]
    power_factor: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0

    def limit_w(self, *, base_w: int = 0, base_var: int = 0) -> int:
        """Return the active power of vehicles that it carries beside a load of active and reactive power.

        The least of what apparent power allows: sqrt((base + P)^2 + (base_var + P * tan)^2) = rated.
        """
        tan = math.tan(math.acos(self.power_factor))
        a, b = 1 + tan**2, base_w + abs(base_var) * tan
        rest = b**2 - a * (base_w**2 + base_var**2 - self.rated_va**2)
        return max(0, math.floor((math.sqrt(rest) - b) / a)) if rest > 0 else 0


def raise_steps(
    limit_w: int, granted_w: Mapping[str, int], wanted_w: Mapping[str, int], *, step_w: int, least_w: int = 0
) -> dict[str, int]:
    """Return the next limit of each vehicle (W): lower ones at once, higher ones in steps within `limit_w` for all.

    `granted_w`: the most that each may draw at this moment: its last limit, or its measured power where that is more.
    A lower limit frees nothing before this has fallen. Power fed back does not count, as it may end at any time.
    `step_w`: total raise of one call. A vehicle at 0 W starts with at least `least_w`, in the order of `wanted_w`. Call
    it every few seconds with the present values.
    """
    room = min(step_w, limit_w - sum(max(0, each) for each in granted_w.values()))
    found = {name: want if want <= 0 else min(max(0, granted_w.get(name, 0)), want) for name, want in wanted_w.items()}
    more = {}
    for name, want in wanted_w.items():
        has = max(0, granted_w.get(name, 0))
        if want <= has:
            continue
        if not has:
            if want < least_w or room < least_w:
                continue
            has = found[name] = least_w
            room -= least_w
        more[name] = want - has
    for name, part in level(max(0, room), more.items()).items():
        found[name] += part
    return found
