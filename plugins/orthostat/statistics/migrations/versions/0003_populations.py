"""What an estimate is about: its population, its frame, and units that say nothing.

Released rows stay as they are. Their estimates were about their zones; how many of their units the map showed
is not known any more. The views get the new columns at the end, so that rights to read them stay.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE observation
    ADD COLUMN uninterpreted_size bigint,
    ADD COLUMN population text NOT NULL DEFAULT 'zone',
    ADD COLUMN frame_area_m2 double precision;
ALTER TABLE observation ALTER COLUMN population DROP DEFAULT;
ALTER TABLE accuracy ADD COLUMN mapped_size bigint;
"""

VINTAGE_OBSERVATION = """
CREATE OR REPLACE VIEW vintage_observation AS
SELECT
    o.release_id, o.pipeline, o.indicator, o.freq, o.zone_id, o.zone_name, o.class_id, o.class_name,
    o.period, o.method, o.area_m2, o.std_err_m2, o.ci_lower_m2, o.ci_upper_m2, o.conf_level, o.cv_pct,
    o.sample_size, o.sample_id, o.is_simulated, o.mapped_area_m2, o.zone_area_m2, o.valid_area_m2, o.coverage,
    o.scene_count, o.obs_status, o.obs_note, o.model_sha256, o.code_version, o.boundary_version,
    o.inputs_sha256,
    held.vintage, held.as_of,
    coalesce(
        o.model_sha256 <> lag(o.model_sha256) OVER series
        OR o.boundary_version <> lag(o.boundary_version) OVER series,
        false
    ) AS is_break,
    o.object_count, o.mapped_count,
    o.uninterpreted_size, o.population, o.frame_area_m2
FROM vintage_period held JOIN observation o USING (pipeline, release_id, period)
WINDOW series AS (
    PARTITION BY o.pipeline, held.as_of, o.indicator, o.freq, o.zone_id, o.class_id, o.method
    ORDER BY o.period
);
"""

CURRENT_OBSERVATION = """
CREATE OR REPLACE VIEW current_observation AS
SELECT seen.*
FROM (SELECT pipeline, max(vintage) AS vintage FROM release GROUP BY pipeline) latest
CROSS JOIN LATERAL (
    SELECT * FROM vintage_observation v WHERE v.pipeline = latest.pipeline AND v.as_of = latest.vintage
) seen;
"""


def upgrade() -> None:
    """Add the columns to the tables and to the views."""
    statements = TABLES + VINTAGE_OBSERVATION + CURRENT_OBSERVATION
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Refused: it would delete published figures."""
    raise NotImplementedError("releases are append-only; restore a backup instead of downgrading")
