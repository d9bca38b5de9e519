"""A period's result, as the estimate step stores it and the release step reads it."""

from collections.abc import Mapping

import pyarrow as pa
from pandera.pandas import DataFrameSchema
from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.prediction.classes import LabelClass
from orthostat.statistics.inputs import Inputs
from orthostat.statistics.tables import dump_parquet, read_parquet

_PARQUET = "application/vnd.apache.parquet"


class PeriodResult(BaseModel):
    """All that a release says about one period; its tables lie beside it, read when they are needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    """2020-05, 2020-Q2 or 2020."""
    inputs: Inputs
    uri: str
    """Folder of the result."""
    figures_sha256: str
    """Digest of the figures (`tables.digest_tables`)."""
    boundaries_uri: str
    """The zones, as they were projected to the grid."""
    tile_uris: tuple[str, ...] = ()
    """Composite tiles, drawn as a map of classes where there are any."""
    objects_uris: tuple[str, ...] | None = None
    """The objects of these tiles, drawn as dots on what was observed; None where the model detects none."""
    classes: tuple[LabelClass, ...] = ()
    """The model's classes with their colours."""

    def read(self, schema: DataFrameSchema) -> pa.Table:
        """One of the tables. Raises StorageError when it is missing."""
        return read_parquet(storage.read_bytes(storage.join(self.uri, f"{schema.name}.parquet")))


def write_result(result: PeriodResult, tables: Mapping[str, pa.Table]) -> str:
    """Store a result and its tables, by the names of their schemas; returns its URI."""
    for name, table in tables.items():
        storage.write_bytes(storage.join(result.uri, f"{name}.parquet"), dump_parquet(table), _PARQUET)
    uri = storage.join(result.uri, "result.json")
    storage.write_json(uri, result.model_dump(mode="json"))
    return uri


def read_result(uri: str) -> PeriodResult:
    """The result at `uri`. Raises StorageError when it is missing."""
    return PeriodResult.model_validate(storage.read_json(uri))
