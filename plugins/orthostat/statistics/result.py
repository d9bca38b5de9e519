"""A period's result, as the estimate step stores it and the release step reads it."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.prediction.classes import LabelClass
from orthostat.statistics.schema import Row


class PeriodResult(BaseModel):
    """All that a release says about one period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    """2020-05, 2020-Q2 or 2020."""
    inputs_sha256: str
    """Digest of all that decides the figures: predictions, rule, grid, zones, sample."""
    rows: tuple[Row, ...]
    """Rows of the table OBSERVATIONS."""
    accuracy: tuple[Row, ...] = ()
    """Rows of the table ACCURACY; empty without a sample."""
    lineage: tuple[Row, ...] = ()
    """Rows of the table LINEAGE."""
    tile_uris: tuple[str, ...] = ()
    """Composite tiles, drawn as a map of classes where there are any."""
    objects_uris: tuple[str, ...] | None = None
    """The objects of these tiles, drawn as dots on what was observed; None where the model detects none."""
    classes: tuple[LabelClass, ...] = ()
    """The model's classes with their colours."""


def write_result(uri: str, result: PeriodResult) -> None:
    """Write a result as canonical JSON."""
    storage.write_json(uri, result.model_dump(mode="json"))


def read_result(uri: str) -> PeriodResult:
    """The result at `uri`. Raises StorageError when it is missing."""
    return PeriodResult.model_validate(storage.read_json(uri))
