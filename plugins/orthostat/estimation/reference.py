"""A pipeline's reference sample, read once and asked for one period at a time."""

from dataclasses import asdict, dataclass
from functools import cached_property

from orthostat import storage
from orthostat.estimation.sample import SampleStratum, SampleUnit, read_sample, read_strata
from orthostat.pipelines.config import Sample


@dataclass(frozen=True)
class Reference:
    """The units and strata of all periods."""

    sample: Sample

    @cached_property
    def _units(self) -> list[SampleUnit]:
        return read_sample(self.sample)

    @cached_property
    def _strata(self) -> list[SampleStratum]:
        return read_strata(self.sample)

    def units(self, period: str) -> list[SampleUnit]:
        """The period's units. Raises SampleError, StorageError as `read_sample` does."""
        return [unit for unit in self._units if unit.period == period]

    def strata(self, period: str) -> list[SampleStratum]:
        """The period's strata. Raises SampleError, StorageError as `read_strata` does."""
        return [stratum for stratum in self._strata if stratum.period == period]

    def digest(self, period: str) -> str:
        """SHA-256 of what the sample says of a period, however its files are written, and of its design."""
        design = self.sample.model_dump(mode="json", exclude={"uri", "strata_uri"})
        units = sorted((asdict(unit) for unit in self.units(period)), key=lambda unit: unit["unit_id"])
        strata = sorted(
            (asdict(stratum) for stratum in self.strata(period)),
            key=lambda stratum: (stratum["zone_id"], stratum["stratum"]),
        )
        return storage.digest([design, units, strata])
