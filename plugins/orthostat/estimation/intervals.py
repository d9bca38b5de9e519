"""95 % intervals of shares that hold near 0 and 1, where the normal one, estimate ± 1.96 SE, does not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Z95 = 1.96
"""Half-width of a 95 % interval in standard errors, rounded as in Olofsson et al. (2014)."""
IntervalMethod = Literal["wilson", "normal"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class SampledShare:
    """A share found in one stratum."""

    weight: float
    """The stratum's share of the population; weights add up to 1."""
    hits: int
    """Units of the class."""
    size: int
    """Units of the stratum."""
    unseen_share: float
    """Finite population correction: 1 - n/N, or 1 where it is left out; 0 in a census."""


def interval_of_share(
    strata: Sequence[SampledShare], share: float, se: float, method: IntervalMethod
) -> Interval:
    """Interval of a share of the population, estimated from independent strata, within 0 and 1.

    `wilson`: the score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209-212) with as many units as a simple
    random sample needs to be as precise (Franco et al. 2019, J. Surv. Stat. Methodol. 7:334-364). How precise
    the sample is, is asked twice, and the worse answer counts: the standard error, and the one that one unit
    more of the class and one more of none would give in each stratum (as Agresti and Caffo 2000, Am. Stat.
    54:280-288, add them), as strata without a unit of a class may hold some. So no interval is 0 ± 0 but in a
    census. Chosen by simulation: `python -m benchmarks.intervals`. `normal`: estimate ± 1.96 SE.
    """
    variance = math.fsum(h.weight**2 * h.unseen_share * _more(h) * (1 - _more(h)) / h.size for h in strata)
    more = math.fsum(h.weight * _more(h) for h in strata)
    size = more * (1 - more) / variance if variance > 0 else math.inf
    return interval_of_ratio(share, se, size, method)


def interval_of_ratio(ratio: float, se: float, size: float, method: IntervalMethod) -> Interval:
    """Interval of a ratio of two totals, such as a user's accuracy, within 0 and 1.

    `wilson`: as above, with the units that the standard error says, and at most `size`.
    """
    if method == "normal":
        return max(0.0, ratio - Z95 * se), min(1.0, ratio + Z95 * se)
    said = ratio * (1 - ratio) / se**2 if se > 0 else math.inf
    return _wilson(ratio, min(size, said))


def _more(stratum: SampledShare) -> float:
    """The stratum's share with one unit more of the class and one more of none."""
    return (stratum.hits + 1) / (stratum.size + 2)


def _wilson(share: float, size: float) -> Interval:
    if math.isinf(size):
        return share, share
    ratio = Z95**2 / size
    centre = (share + ratio / 2) / (1 + ratio)
    half = Z95 / (1 + ratio) * math.sqrt(share * (1 - share) / size + ratio / size / 4)
    # At 0 and 1 the limit is the share itself; rounding must not put it on the other side.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
