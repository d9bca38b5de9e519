"""What a release changes: each figure that was another one before, with old, new, difference and cause."""

from sqlalchemy import text
from sqlalchemy.engine import Connection

from orthostat.statistics.vintages import Release

_RECORD = """
WITH old AS (
    SELECT o.indicator, o.zone_id, o.class_id, o.method, o.obs_status AS status,
        coalesce(o.area_m2, o.object_count) AS value, o.ci_lower_m2, o.ci_upper_m2
    FROM observation o JOIN vintage_period held USING (release_id, period)
    WHERE held.pipeline = :pipeline AND held.as_of = :before AND o.period = :period
), new AS (
    SELECT indicator, zone_id, class_id, method, obs_status AS status,
        coalesce(area_m2, object_count) AS value, ci_lower_m2, ci_upper_m2
    FROM observation WHERE release_id = :release_id AND period = :period
)
INSERT INTO revision
SELECT :release_id, :period, indicator, zone_id, class_id, method,
    old.value, new.value, new.value - old.value, old.status, new.status, :cause
FROM old FULL JOIN new USING (indicator, zone_id, class_id, method)
WHERE (old.value, old.status, old.ci_lower_m2, old.ci_upper_m2)
    IS DISTINCT FROM (new.value, new.status, new.ci_lower_m2, new.ci_upper_m2)
"""


def record_revisions(connection: Connection, new: Release, period: str, cause: str) -> None:
    """Write the differences of a period between the vintage before and `new`, whose rows are there.

    A figure that appears or vanishes has no difference; one whose interval or status alone changed has 0.
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
