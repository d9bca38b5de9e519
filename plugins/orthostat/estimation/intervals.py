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
    return _said_by(share, se, size, method)


def interval_of_ratio(
    part: Sequence[SampledShare],
    rest: Sequence[SampledShare],
    ratio: float,
    se: float,
    size: float,
    method: IntervalMethod,
) -> Interval:
    """Interval of a ratio of two totals, part / (part + rest), such as an accuracy, within 0 and 1.

    `part` and `rest` are the units that are right and those that are wrong, in the same strata. `wilson`: as
    above, with the units that the standard error says, and at most `size`. That knows nothing of a stratum
    without a unit of either, where a large one may hold more of the rest than all that was found: so the
    interval of the ratio of the two shares (MOVER: Donner and Zou 2012, Stat. Methods Med. Res. 21:347-359)
    is asked as well, and the wider side counts.
    """
    low, high = _said_by(ratio, se, size, method)
    if method == "normal":
        return low, high
    found = _limits(part), _limits(rest)
    if found[0][0] >= found[1][0]:
        least, most = _mover(found[1], found[0])
        return min(low, 1 / (1 + most)), max(high, 1 / (1 + least))
    least, most = _mover(*found)
    return min(low, least / (1 + least)), max(high, 1 - 1 / (1 + most))


def _said_by(share: float, se: float, size: float, method: IntervalMethod) -> Interval:
    """The interval that a standard error gives, `wilson` with at most `size` units."""
    if method == "normal":
        return max(0.0, share - Z95 * se), min(1.0, share + Z95 * se)
    said = share * (1 - share) / se**2 if se > 0 else math.inf
    return _wilson(share, min(size, said))


def _limits(strata: Sequence[SampledShare]) -> tuple[float, float, float]:
    """A share with its interval."""
    share = math.fsum(h.weight * h.hits / h.size for h in strata)
    variance = math.fsum(
        h.weight**2 * h.unseen_share * h.hits * (h.size - h.hits) / h.size**2 / max(1, h.size - 1)
        for h in strata
    )
    return share, *interval_of_share(strata, share, math.sqrt(variance), "wilson")


def _mover(over: tuple[float, float, float], under: tuple[float, float, float]) -> Interval:
    """Interval of a quotient of two shares above 0, each given with its own; `under` is the greater one."""
    (one, low, high), (other, least, most) = over, under
    product = one * other

    def bound(of_one: float, of_other: float, sign: int) -> float:
        divisor = of_other * (2 * other - of_other)
        if divisor <= 0:
            return math.inf
        return (
            product + sign * math.sqrt(max(0.0, product**2 - of_one * (2 * one - of_one) * divisor))
        ) / divisor

    # Past 2 * other the formula has no lower limit; 0 is a safe one.
    upper_divides = most * (2 * other - most) > 0
    return max(0.0, bound(low, most, -1)) if upper_divides else 0.0, bound(high, least, 1)


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
