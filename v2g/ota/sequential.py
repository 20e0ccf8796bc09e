"""When a fleet stops an update: a sequential test of the stations that are in trouble after it (R137).

Wald's test compares how likely the results are with a bad update and with a good one, and needs no fixed number of
results. How bad a bad one is nobody knows beforehand: the alternatives are mixed, so that a few failures among the
first stations stop an update that breaks each, and some dozens one that breaks 3 %. The ratio is a martingale while
the update is good: it ever reaches 1 / a with probability a at most (Ville's inequality), however often it is looked
at, and however large the fleet is.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

_MIXTURE: Final = ((0.5, 0.0), (0.25, 0.1), (0.25, 0.5))
"""Weights, and the share of stations that an update breaks, at least the one that must stop it."""

Share = Annotated[float, Meta(gt=0, lt=1)]


class SequentialTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tolerated`: share of stations in trouble with a good update; `bad`: with one that must be stopped.

    `false_alarm`: the greatest probability that a good one is stopped. What is missed depends on the number of
    stations: see the page on firmware campaigns.
    """

    tolerated: Share = 0.01
    bad: Share = 0.03
    false_alarm: Share = 0.01

    def __post_init__(self) -> None:
        """Require that a bad update is worse than a good one."""
        if self.tolerated >= self.bad:
            raise ValueError("tolerated must be less than bad")

    def stops(self, failed: int, settled: int) -> bool:
        """Return whether so many failed of so many settled stations stop the update."""
        return self.log_ratio(failed, settled) >= -math.log(self.false_alarm)

    def log_ratio(self, failed: int, settled: int) -> float:
        """Return the logarithm of the likelihood of a bad update over that of a good one."""
        good = _log_likelihood(self.tolerated, failed, settled)
        ratios = [
            math.log(weight) + _log_likelihood(max(self.bad, share), failed, settled) - good
            for weight, share in _MIXTURE
        ]
        greatest = max(ratios)  # without it, the exponential may be too large for a float
        return greatest + math.log(sum(math.exp(each - greatest) for each in ratios))


def _log_likelihood(share: float, failed: int, settled: int) -> float:
    return failed * math.log(share) + (settled - failed) * math.log1p(-share)
