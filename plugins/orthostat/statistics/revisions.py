"""What a release changes: each figure that was another one before, with old, new, difference and cause."""

from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat.statistics.codes import PROVENANCE
from orthostat.statistics.schema import OBSERVATIONS
from orthostat.statistics.vintages import Release

_KEY = ("indicator", "zone_id", "class_id", "method")
_COMPARED = [
    name
    for name in OBSERVATIONS.columns
    if name not in PROVENANCE and name not in (OBSERVATIONS.unique or [])
]
"""What a row says besides its key and where it comes from: as `tables.digest_figures` takes it."""
_RECORD = f"""
WITH old AS (
    SELECT o.*, coalesce(o.area_m2, o.object_count) AS value
    FROM observation o JOIN vintage_period held USING (release_id, period)
    WHERE held.pipeline = :pipeline AND held.as_of = :before AND o.period = :period
), new AS (
    SELECT o.*, coalesce(o.area_m2, o.object_count) AS value
    FROM observation o WHERE release_id = :release_id AND period = :period
)
INSERT INTO revision (
    release_id, period, {", ".join(_KEY)}, old_value, new_value, difference,
    old_coverage, new_coverage, old_status, new_status, cause
)
SELECT :release_id, :period, {", ".join(_KEY)}, old.value, new.value, new.value - old.value,
    old.coverage, new.coverage, old.obs_status, new.obs_status, :cause
FROM old FULL JOIN new USING ({", ".join(_KEY)})
WHERE ({", ".join(f"old.{name}" for name in _COMPARED)})
    IS DISTINCT FROM ({", ".join(f"new.{name}" for name in _COMPARED)})
"""


def record_revisions(connection: Connection, new: Release, period: str, cause: str) -> None:
    """Write the differences of a period between the vintage before and `new`, whose rows are there.

    A figure that appears or vanishes has no difference; one of which something else changed, such as its
    interval, its status or its coverage, has 0.
    """
    connection.execute(
        text(_RECORD),
        {
            "pipeline": new.pipeline,
            "before": new.vintage - 1,
            "release_id": new.release_id,
            "period": period,
            "cause": cause,
        },
    )
