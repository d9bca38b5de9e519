"""Design-based estimates from a stratified random sample, whether or not the strata are map classes.

Stehman (2014), Estimating area and map accuracy for stratified random sampling when the strata are different
from the map classes, Int. J. Remote Sens. 35:4923-4939. Where the strata are the map classes and the finite
population correction is left out, the results are those of Olofsson et al. (2014), Remote Sens. Environ.
148:42-57.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orthostat.errors import SampleError
from orthostat.estimation.estimates import ClassEstimates, Estimate, PopulationEstimates
from orthostat.estimation.intervals import (
    IntervalMethod,
    SampledShare,
    interval_of_ratio,
    interval_of_share,
)

UNMAPPED = frozenset({"unobserved", "nodata"})
"""Map classes of units that the map leaves out: they say nothing of its accuracy."""
UNINTERPRETED = "uninterpreted"
"""Reference class of a unit whose true class nobody could tell."""

_Cells = Mapping[tuple[str, str], int]
_Matches = Callable[[str, str], bool]


@dataclass(frozen=True)
class Unit:
    """A sample unit with its two classes."""

    stratum: str
    map_class: str
    reference_class: str


@dataclass(frozen=True)
class Stratum:
    """A part of the population that was sampled by itself."""

    name: str
    size: int
    """Units in the population."""
    area: float
    """Area of those units, in any unit; the size itself where no area is known."""

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.area < math.inf:
            raise SampleError(
                f"stratum '{self.name}' has the size {self.size} and the area {self.area}; "
                "both must be above 0"
            )


@dataclass(frozen=True)
class _Sampled:
    """A stratum and its interpreted sample units, counted by (map class, reference class)."""

    stratum: Stratum
    cells: _Cells
    size: int
    unseen_share: float
    """Finite population correction: 1 - n/N, or 1 where it is left out."""

    def count(self, matches: _Matches) -> int:
        return sum(number for cell, number in self.cells.items() if matches(*cell))


@dataclass(frozen=True)
class _Design:
    """The strata of a sample, and how intervals are made."""

    sampled: Sequence[_Sampled]
    interval: IntervalMethod

    @property
    def area(self) -> float:
        return math.fsum(h.stratum.area for h in self.sampled)

    @property
    def is_census(self) -> bool:
        return all(h.unseen_share == 0 for h in self.sampled)


def estimate_population(
    units: Iterable[Unit],
    strata: Sequence[Stratum],
    finite_population: bool = True,
    interval: IntervalMethod = "wilson",
    classes: Collection[str] = (),
) -> PopulationEstimates:
    """Accuracies, area proportions and areas with standard errors and 95 % intervals.

    Of every class that the map or the reference has in the sample, and of `classes`: what no unit is of has
    the estimate 0, and an interval that says how much there may be.

    Strata weigh by area. `finite_population` multiplies each stratum's variance by 1 - n/N (Stehman 2014);
    without it, and with the interval `normal`, the results are those of Olofsson et al. (2014).

    A unit whose reference class is "uninterpreted" is left out, as if it had not been drawn: the others of
    its stratum stand for it. Accuracies are about the part of the population that the map shows, so that
    units of the map classes "unobserved" and "nodata" have no say in them; areas need no map at all.

    Raises SampleError when a stratum has fewer than two interpreted units (unless all of its units are in the
    sample and `finite_population` is set), more units than its size, or stands twice, and when a unit's
    stratum is missing.
    """
    drawn = list(units)
    interpreted = [unit for unit in drawn if unit.reference_class != UNINTERPRETED]
    design = _Design(_count(drawn, interpreted, strata, finite_population), interval)
    cells = [cell for h in design.sampled for cell in h.cells]
    names = sorted({*classes, *(name for cell in cells for name in cell)} - UNMAPPED)
    return PopulationEstimates(
        _accuracy(design, lambda mapped, reference: mapped == reference, _is_mapped),
        {name: _estimate_class(design, name) for name in names},
        sample_size=len(interpreted),
        mapped_size=sum(unit.map_class not in UNMAPPED for unit in interpreted),
        uninterpreted_size=len(drawn) - len(interpreted),
        effective_size=_effective_size(design),
        area=design.area,
    )


def _is_mapped(map_class: str, _: str) -> bool:
    return map_class not in UNMAPPED


def _estimate_class(design: _Design, name: str) -> ClassEstimates:
    def mapped(map_class: str, _: str) -> bool:
        return map_class == name

    def true(_: str, reference: str) -> bool:
        return reference == name

    def true_where_mapped(map_class: str, reference: str) -> bool:
        return reference == name and map_class not in UNMAPPED

    def right(map_class: str, reference: str) -> bool:
        return map_class == reference == name

    proportion = _proportion(design, true)
    return ClassEstimates(
        _accuracy(design, right, mapped, is_mapped=True),
        _accuracy(design, right, true_where_mapped),
        proportion,
        proportion.scale(design.area),
    )


def _proportion(design: _Design, part: _Matches) -> Estimate:
    """A share of everything: the ratio estimator with x = 1 for every unit."""
    counts = [(h.count(part), h.size) for h in design.sampled]
    share, se = _ratio(design.sampled, counts)
    found = [
        SampledShare(h.stratum.area / design.area, y, h.size, h.unseen_share)
        for h, (y, _) in zip(design.sampled, counts, strict=True)
    ]
    interval = interval_of_share(found, share, se, design.interval)
    return Estimate(share, se, *interval, is_degenerate=se == 0 and not design.is_census)


def _accuracy(
    design: _Design, part: _Matches, whole: _Matches, *, is_mapped: bool = False
) -> Estimate | None:
    """A share of a part of the population; None where no sample unit belongs to that part.

    Where the part `is_mapped`, as of a user's accuracy, it lies in the strata that hold a unit of it: a map
    class is often a stratum. What is true of the ground may be anywhere.
    """
    counts = [(h.count(part), h.count(whole)) for h in design.sampled]
    size = sum(x for _, x in counts)
    if size == 0:
        return None
    share, se = _ratio(design.sampled, counts)
    pairs = zip(design.sampled, counts, strict=True)
    among = [(h, found) for h, found in pairs if found[1] > 0 or not is_mapped]
    area = math.fsum(h.stratum.area for h, _ in among)
    right = [SampledShare(h.stratum.area / area, y, h.size, h.unseen_share) for h, (y, _) in among]
    wrong = [SampledShare(h.stratum.area / area, x - y, h.size, h.unseen_share) for h, (y, x) in among]
    size_at_most = math.inf if design.is_census else size
    interval = interval_of_ratio(right, wrong, share, se, size_at_most, design.interval)
    return Estimate(share, se, *interval, is_degenerate=se == 0 and not design.is_census)


def _effective_size(design: _Design) -> float:
    """Units of a simple random sample that would tell as much of a class that lies evenly in all strata.

    1 / sum of W_h^2 (1 - n_h/N_h) / n_h (Kish 1965, Survey Sampling); inf in a census. It is known before
    anything is interpreted.
    """
    inverse = math.fsum((h.stratum.area / design.area) ** 2 * h.unseen_share / h.size for h in design.sampled)
    return 1 / inverse if inverse > 0 else math.inf


def _ratio(sampled: Sequence[_Sampled], counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Combined ratio estimator R = Y / X and its standard error, variance by eq. 28 of Stehman (2014).

    Each sample unit has x = 1 where it is in the whole and y = 1 where it is in the part, else 0; `counts`
    are the sums of y and x per stratum. Sums are exact before they are rounded (fsum), so that no result
    depends on the order of strata.
    """
    strata = [(h, h.stratum.area / h.size, y, x) for h, (y, x) in zip(sampled, counts, strict=True)]
    total = math.fsum(expansion * x for _, expansion, _, x in strata)
    ratio = math.fsum(expansion * y for _, expansion, y, _ in strata) / total
    variance = math.fsum(
        (h.stratum.area / total) ** 2 * h.unseen_share * _residual_variance(h.size, y, x, ratio) / h.size
        for h, _, y, x in strata
        if h.unseen_share > 0  # a census of one unit has no residual variance to divide by
    )
    return ratio, math.sqrt(variance)


def _residual_variance(n: int, y: int, x: int, ratio: float) -> float:
    """Variance of the residuals y - R x of n units: s2y + R2 s2x - 2 R sxy.

    Written as a sum over pairs of unequal residuals, which are 1 - R, -R or 0: never negative, and exactly 0
    where all are equal.
    """
    pairs = y * (x - y) + y * (n - x) * (1 - ratio) ** 2 + (x - y) * (n - x) * ratio**2
    return pairs / n / (n - 1)


def _count(
    drawn: Iterable[Unit], interpreted: Iterable[Unit], strata: Sequence[Stratum], finite_population: bool
) -> list[_Sampled]:
    """The interpreted sample units of each stratum, counted by their two classes."""
    sizes = Counter(unit.stratum for unit in drawn)
    cells: dict[str, Counter[tuple[str, str]]] = {stratum.name: Counter() for stratum in strata}
    if len(cells) < len(strata):
        names = Counter(stratum.name for stratum in strata)
        twice = sorted(name for name, number in names.items() if number > 1)
        raise SampleError(f"strata {twice} stand more than once among the strata; keep one row for each")
    for name in sizes:
        if name not in cells:
            raise SampleError(
                f"the sample has the stratum '{name}', the strata are {sorted(cells)}; "
                "add it with its size or correct the name"
            )
    for unit in interpreted:
        cells[unit.stratum][unit.map_class, unit.reference_class] += 1
    return [
        _sample_stratum(stratum, sizes[stratum.name], cells[stratum.name], finite_population)
        for stratum in strata
    ]


def _sample_stratum(stratum: Stratum, drawn: int, cells: _Cells, finite_population: bool) -> _Sampled:
    size = sum(cells.values())
    if drawn > stratum.size:
        raise SampleError(
            f"stratum '{stratum.name}' has {drawn} sample units but a size of {stratum.size}; "
            "correct its size or remove units that were counted twice"
        )
    if size < 2 and not (finite_population and size == stratum.size):
        without = f", {drawn - size} more could not be interpreted" if drawn > size else ""
        raise SampleError(
            f"stratum '{stratum.name}' has {size} sample unit(s){without}; at least 2 are needed for a "
            "standard error; draw more units in it or merge it with a similar stratum"
        )
    return _Sampled(stratum, cells, size, 1 - size / stratum.size if finite_population else 1.0)
