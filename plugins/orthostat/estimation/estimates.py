"""What a reference sample says: figures with their standard errors and 95 % intervals."""

from dataclasses import dataclass


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

    @property
    def cv_pct(self) -> float | None:
        """Standard error in per cent of the estimate; None where the estimate or the error is 0."""
        return 100 * self.se / self.estimate if self.estimate > 0 and self.se > 0 else None

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

    overall_accuracy: Estimate | None
    """Share of the mapped area that is mapped right; None where the map shows no unit."""
    classes: dict[str, ClassEstimates]
    """By class, sorted: those that the map or the reference has in the sample, and those asked for."""
    sample_size: int
    """Units that could be interpreted; all figures are from these."""
    mapped_size: int
    """Those of them that the map shows; accuracies are from these."""
    uninterpreted_size: int
    """Units that were drawn and could not be interpreted."""
    effective_size: float
    """Units of a simple random sample that would tell as much; inf in a census."""
    area: float
    """Area of all strata."""
