"""Design-based estimates from a stratified random sample, whether or not the strata are map classes.

Stehman (2014), Estimating area and map accuracy for stratified random sampling when the strata are different
from the map classes, Int. J. Remote Sens. 35:4923-4939. Where the strata are the map classes and the finite
population correction is left out, the results are those of Olofsson et al. (2014), Remote Sens. Environ.
148:42-57.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orthostat.errors import SampleError
from orthostat.estimation.estimates import ClassEstimates, Estimate, PopulationEstimates

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
    """A stratum and its sample units, counted by (map class, reference class)."""

    stratum: Stratum
    cells: _Cells
    size: int
    unseen_share: float
    """Finite population correction: 1 - n/N, or 1 where it is left out."""

    def count(self, matches: _Matches) -> int:
        return sum(number for cell, number in self.cells.items() if matches(*cell))


def estimate_population(
    units: Iterable[Unit], strata: Sequence[Stratum], finite_population: bool = True
) -> PopulationEstimates:
    """Accuracies, area proportions and areas with standard errors and 95 % intervals.

    Strata weigh by area. `finite_population` multiplies each stratum's variance by 1 - n/N (Stehman 2014);
    without it the results are those of Olofsson et al. (2014).

    Raises SampleError when a stratum has fewer than two units (unless all of its units are in the sample and
    `finite_population` is set), more units than its size, or stands twice, and when a unit's stratum is
    missing.
    """
    sampled = _count(units, strata, finite_population)
    classes = sorted({name for h in sampled for cell in h.cells for name in cell})
    area = math.fsum(h.stratum.area for h in sampled)
    return PopulationEstimates(
        _proportion(sampled, lambda mapped, reference: mapped == reference),
        {name: _estimate_class(sampled, name, area) for name in classes},
        sum(h.size for h in sampled),
        area,
    )


def _estimate_class(sampled: Sequence[_Sampled], name: str, area: float) -> ClassEstimates:
    def mapped(map_class: str, _: str) -> bool:
        return map_class == name

    def true(_: str, reference: str) -> bool:
        return reference == name

    def right(map_class: str, reference: str) -> bool:
        return map_class == reference == name

    proportion = _proportion(sampled, true)
    return ClassEstimates(
        _accuracy(sampled, right, mapped), _accuracy(sampled, right, true), proportion, proportion.scale(area)
    )


def _proportion(sampled: Sequence[_Sampled], part: _Matches) -> Estimate:
    """A share of everything: the ratio estimator with x = 1 for every unit."""
    return _ratio(sampled, [(h.count(part), h.size) for h in sampled])


def _accuracy(sampled: Sequence[_Sampled], part: _Matches, whole: _Matches) -> Estimate | None:
    """A share of a part of the population; None where no sample unit belongs to that part."""
    counts = [(h.count(part), h.count(whole)) for h in sampled]
    return _ratio(sampled, counts) if any(x for _, x in counts) else None


def _ratio(sampled: Sequence[_Sampled], counts: Sequence[tuple[int, int]]) -> Estimate:
    """Combined ratio estimator R = Y / X, variance by eq. 28 of Stehman (2014).

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
    is_census = all(h.unseen_share == 0 for h in sampled)
    return Estimate.of_share(ratio, math.sqrt(variance), is_census)


def _residual_variance(n: int, y: int, x: int, ratio: float) -> float:
    """Variance of the residuals y - R x of n units: s2y + R2 s2x - 2 R sxy.

    Written as a sum over pairs of unequal residuals, which are 1 - R, -R or 0: never negative, and exactly 0
    where all are equal.
    """
    pairs = y * (x - y) + y * (n - x) * (1 - ratio) ** 2 + (x - y) * (n - x) * ratio**2
    return pairs / n / (n - 1)


def _count(units: Iterable[Unit], strata: Sequence[Stratum], finite_population: bool) -> list[_Sampled]:
    """The sample units of each stratum, counted by their two classes."""
    cells: dict[str, Counter[tuple[str, str]]] = {stratum.name: Counter() for stratum in strata}
    if len(cells) < len(strata):
        names = Counter(stratum.name for stratum in strata)
        twice = sorted(name for name, number in names.items() if number > 1)
        raise SampleError(f"strata {twice} stand more than once among the strata; keep one row for each")
    for unit in units:
        if unit.stratum not in cells:
            raise SampleError(
                f"the sample has the stratum '{unit.stratum}', the strata are {sorted(cells)}; "
                "add it with its size or correct the name"
            )
        cells[unit.stratum][unit.map_class, unit.reference_class] += 1
    return [_sample_stratum(stratum, cells[stratum.name], finite_population) for stratum in strata]


def _sample_stratum(stratum: Stratum, cells: _Cells, finite_population: bool) -> _Sampled:
    size = sum(cells.values())
    if size > stratum.size:
        raise SampleError(
            f"stratum '{stratum.name}' has {size} sample units but a size of {stratum.size}; "
            "correct its size or remove units that were counted twice"
        )
    if size < 2 and not (finite_population and size == stratum.size):
        raise SampleError(
            f"stratum '{stratum.name}' has {size} sample unit(s), at least 2 are needed for a standard "
            "error; draw more units in it or merge it with a similar stratum"
        )
    return _Sampled(stratum, cells, size, 1 - size / stratum.size if finite_population else 1.0)
