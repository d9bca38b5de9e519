"""`python -m benchmarks.intervals [--samples N]`: what is published of a known population, rules included.

Samples are drawn from populations whose class shares are known, estimated and put through the rules of
publication. Wanted of the published 95 % intervals: 93 to 97.5 % hold the truth for common classes and at
least 93 % for a class of 1 %, and the mean of what is published of it is within 10 % of the truth.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orthostat.estimation.intervals import IntervalMethod
from orthostat.estimation.period import ZoneEstimate
from orthostat.estimation.stratified import Stratum, Unit, estimate_population
from orthostat.pipelines.config import Publication, Sample
from orthostat.statistics.rules import publish_estimate

CLASSES = ("common", "half", "third", "rare")
POPULATION = 1_000_000
"""Pixels of a zone."""
SAMPLE = Sample(uri="s", strata_uri="t", crs="EPSG:4326", sample_id="simulated", frame="the zone")


@dataclass(frozen=True)
class Design:
    """Strata of a zone: their weights, the shares of the classes in each, and the units drawn in each."""

    name: str
    weights: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]

    @property
    def truth(self) -> np.ndarray:
        """Share of each class in the zone."""
        truth: np.ndarray = np.array(self.weights) @ np.array(self.shares)
        return truth


DESIGNS = (
    Design("no strata", (1.0,), ((0.45, 0.3, 0.24, 0.01),), (30,)),
    Design("no strata", (1.0,), ((0.45, 0.3, 0.24, 0.01),), (300,)),
    *(
        Design(
            "strata are map classes",
            (0.46, 0.31, 0.22, 0.01),
            (
                (0.93, 0.04, 0.027, 0.003),
                (0.05, 0.90, 0.047, 0.003),
                (0.03, 0.06, 0.908, 0.002),
                (0.1, 0.1, 0.06, 0.74),
            ),
            sizes,
        )
        for sizes in ((11, 8, 7, 4), (110, 80, 60, 50))
    ),
    *(
        Design(
            "strata are an outdated map",
            (0.45, 0.30, 0.24, 0.01),
            (
                (0.80, 0.12, 0.072, 0.008),
                (0.15, 0.70, 0.141, 0.009),
                (0.1, 0.15, 0.74, 0.01),
                (0.3, 0.3, 0.2, 0.2),
            ),
            sizes,
        )
        for sizes in ((11, 8, 7, 4), (110, 80, 60, 50))
    ),
    *(
        Design(
            "strata are geography",
            (0.25, 0.25, 0.25, 0.25),
            (
                (0.70, 0.2, 0.09, 0.01),
                (0.5, 0.3, 0.195, 0.005),
                (0.35, 0.4, 0.23, 0.02),
                (0.25, 0.3, 0.445, 0.005),
            ),
            sizes,
        )
        for sizes in ((8, 8, 7, 7), (75, 75, 75, 75))
    ),
)


def draw(design: Design, random: np.random.Generator, interval: IntervalMethod) -> ZoneEstimate:
    """The estimate of one sample."""
    units = [
        Unit(str(number), "map", CLASSES[drawn])
        for number, (shares, size) in enumerate(zip(design.shares, design.sizes, strict=True))
        for drawn in random.choice(len(CLASSES), size, p=shares)
    ]
    strata = [Stratum(str(i), int(POPULATION * w), POPULATION * w) for i, w in enumerate(design.weights)]
    found = estimate_population(units, strata, interval=interval, classes=CLASSES)
    areas = {name: found.classes[name].area for name in CLASSES}
    return ZoneEstimate("2024", "a", found.sample_size, 0, found.effective_size, found.area, areas)


def simulate(design: Design, samples: int, interval: IntervalMethod) -> Iterator[str]:
    """A line per class: what the intervals hold, and what is published."""
    random = np.random.default_rng(sum(design.sizes))
    zones = [draw(design, random, interval) for _ in range(samples)]
    rules = Publication(min_sample_size=30)
    for name, share in zip(CLASSES, design.truth, strict=True):
        truth = share * POPULATION
        areas = [zone.classes[name] for zone in zones]
        held = np.array([area.ci_lower <= truth <= area.ci_upper for area in areas])
        width = np.mean([area.ci_upper - area.ci_lower for area in areas]) / POPULATION
        values = [
            publish_estimate(area, zone, SAMPLE, rules).value for area, zone in zip(areas, zones, strict=True)
        ]
        is_out = np.array([value is not None for value in values])
        line = f"  {name:7} {share:6.3f}  all: {held.mean():.3f} hold, width {width:.3f}"
        if is_out.mean() < 0.01:
            yield f"{line}  published: {is_out.mean():.1%}"
            continue
        mean = np.mean([value for value in values if value is not None]) / truth
        published = f"{is_out.mean():6.1%}, {held[is_out].mean():.3f} hold, mean {mean:.3f} of the truth"
        yield f"{line}  published: {published}"


def main() -> None:
    """Run every design."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--interval", choices=["wilson", "normal"], default="wilson")
    arguments = parser.parse_args()
    for design in DESIGNS:
        print(f"{design.name}, {sum(design.sizes)} units ({', '.join(map(str, design.sizes))})", flush=True)
        print("\n".join(simulate(design, arguments.samples, arguments.interval)), flush=True)


if __name__ == "__main__":
    main()
