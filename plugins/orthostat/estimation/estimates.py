"""What a reference sample says: figures with their standard errors and 95 % intervals."""

from dataclasses import dataclass

Z95 = 1.96
"""Half-width of a 95 % interval in standard errors, rounded as in Olofsson et al. (2014)."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its precision."""

    estimate: float
    se: float
    """Standard error; never clipped."""
    ci_lower: float
    """Lower end of the 95 % interval, at least 0."""
    ci_upper: float
    """Upper end of the 95 % interval, at most the largest possible value."""
    is_degenerate: bool
    """The standard error is 0 though units remain unseen: the sample holds no variation to judge from."""

    @classmethod
    def of_share(cls, estimate: float, se: float, is_census: bool) -> "Estimate":
        """An estimate between 0 and 1; in a census nothing is unseen and a standard error of 0 is true."""
        lower, upper = max(0.0, estimate - Z95 * se), min(1.0, estimate + Z95 * se)
        return cls(estimate, se, lower, upper, is_degenerate=se == 0 and not is_census)

    def scale(self, factor: float) -> "Estimate":
        """The same estimate in other units."""
        return Estimate(
            self.estimate * factor,
            self.se * factor,
            self.ci_lower * factor,
            self.ci_upper * factor,
            self.is_degenerate,
        )


@dataclass(frozen=True)
class ClassEstimates:
    """What the sample says about one class."""

    users_accuracy: Estimate | None
    """Share of the mapped area that is right; None where no unit is mapped as the class."""
    producers_accuracy: Estimate | None
    """Share of the true area that is mapped; None where no unit truly is of the class."""
    area_proportion: Estimate
    """Share of the population that truly is of the class."""
    area: Estimate
    """The same in the unit of the strata's areas."""


@dataclass(frozen=True)
class PopulationEstimates:
    """What the sample says about the population."""

    overall_accuracy: Estimate
    """Share of the area that is mapped right."""
    classes: dict[str, ClassEstimates]
    """By class, sorted: every class that the map or the reference has in the sample."""
    sample_size: int
    area: float
    """Area of all strata."""
