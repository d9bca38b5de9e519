"""Releases, their rows, the triggers that keep them, and the views of what is current.

A migration is history: it repeats the columns as they were then and never imports the schema.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OBSERVATION_COLUMNS = """
    pipeline text NOT NULL, indicator text NOT NULL, freq text NOT NULL,
    zone_id text NOT NULL, zone_name text NOT NULL, class_id bigint NOT NULL, class_name text NOT NULL,
    period text NOT NULL, method text NOT NULL,
    area_m2 double precision, std_err_m2 double precision,
    ci_lower_m2 double precision, ci_upper_m2 double precision, conf_level double precision,
    cv_pct double precision, sample_size bigint, sample_id text, is_simulated boolean NOT NULL,
    mapped_area_m2 double precision NOT NULL, zone_area_m2 double precision NOT NULL,
    valid_area_m2 double precision NOT NULL, coverage double precision NOT NULL,
    scene_count bigint NOT NULL, obs_status text NOT NULL, obs_note text,
    model_sha256 text NOT NULL, code_version text NOT NULL, boundary_version text NOT NULL,
    inputs_sha256 text NOT NULL
"""
ACCURACY_COLUMNS = """
    pipeline text NOT NULL, period text NOT NULL, class_name text NOT NULL, measure text NOT NULL,
    value double precision, std_err double precision, ci_lower double precision, ci_upper double precision,
    sample_size bigint NOT NULL, sample_id text NOT NULL, is_simulated boolean NOT NULL,
    inputs_sha256 text NOT NULL
"""
LINEAGE_COLUMNS = """
    period text NOT NULL, scene_id text NOT NULL, item_uri text NOT NULL, image_uri text NOT NULL,
    image_etag text NOT NULL, inputs_sha256 text NOT NULL
"""
TABLES = {
    "observation": (OBSERVATION_COLUMNS, "pipeline, indicator, zone_id, class_id, period, method"),
    "accuracy": (ACCURACY_COLUMNS, "pipeline, period, class_name, measure"),
    "lineage": (LINEAGE_COLUMNS, "period, scene_id, item_uri"),
}

RELEASES = """
CREATE TABLE release (
    release_id text PRIMARY KEY,
    pipeline text NOT NULL,
    vintage integer NOT NULL,
    supersedes text REFERENCES release (release_id),
    reason text NOT NULL,
    status text NOT NULL DEFAULT 'draft',
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    run_id text NOT NULL,
    code_version text NOT NULL,
    UNIQUE (pipeline, vintage),
    CONSTRAINT release_status CHECK (status IN ('draft', 'reviewed', 'published'))
);
CREATE TABLE release_period (
    release_id text NOT NULL REFERENCES release (release_id),
    period text NOT NULL,
    inputs_sha256 text NOT NULL,
    PRIMARY KEY (release_id, period)
);
"""

TRIGGERS = """
CREATE FUNCTION orthostat_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused; publish a correction as a new release',
        TG_TABLE_NAME, TG_OP;
END $$;
CREATE FUNCTION orthostat_refuse_release_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'status' IS DISTINCT FROM to_jsonb(NEW) - 'status' THEN
        RAISE EXCEPTION 'release % is append-only: only its status may change; publish a new release',
            OLD.release_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_release BEFORE UPDATE ON release
    FOR EACH ROW EXECUTE FUNCTION orthostat_refuse_release_change();
CREATE TRIGGER keep_releases BEFORE DELETE OR TRUNCATE ON release
    FOR EACH STATEMENT EXECUTE FUNCTION orthostat_refuse_change();
"""

VINTAGE_PERIOD = """
CREATE VIEW vintage_period AS
SELECT seen.pipeline, seen.vintage AS as_of, held.period, held.release_id, held.vintage, held.inputs_sha256
FROM release seen
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (p.period) p.period, p.release_id, r.vintage, p.inputs_sha256
    FROM release r JOIN release_period p USING (release_id)
    WHERE r.pipeline = seen.pipeline AND r.vintage <= seen.vintage
    ORDER BY p.period, r.vintage DESC
) held;
"""

VINTAGE_OBSERVATION = """
CREATE VIEW vintage_observation AS
SELECT o.*, held.vintage, held.as_of,
    coalesce(
        o.model_sha256 <> lag(o.model_sha256) OVER series
        OR o.boundary_version <> lag(o.boundary_version) OVER series,
        false
    ) AS is_break
FROM vintage_period held JOIN observation o USING (pipeline, release_id, period)
WINDOW series AS (
    PARTITION BY o.pipeline, held.as_of, o.indicator, o.freq, o.zone_id, o.class_id, o.method
    ORDER BY o.period
);
"""

CURRENT_OBSERVATION = """
CREATE VIEW current_observation AS
SELECT seen.*
FROM (SELECT pipeline, max(vintage) AS vintage FROM release GROUP BY pipeline) latest
CROSS JOIN LATERAL (
    SELECT * FROM vintage_observation v WHERE v.pipeline = latest.pipeline AND v.as_of = latest.vintage
) seen;
"""


def upgrade() -> None:
    """Create everything."""
    execute(RELEASES + TRIGGERS)
    for name, (columns, key) in TABLES.items():
        execute(f"""
            CREATE TABLE {name} (
                release_id text NOT NULL REFERENCES release (release_id), {columns},
                PRIMARY KEY (release_id, {key})
            );
            CREATE INDEX {name}_period ON {name} (release_id, period);
        """)
    for name in ("release_period", *TABLES):
        execute(f"""
            CREATE TRIGGER keep_{name} BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}
                FOR EACH STATEMENT EXECUTE FUNCTION orthostat_refuse_change();
        """)
    execute(VINTAGE_PERIOD + VINTAGE_OBSERVATION + CURRENT_OBSERVATION)


def execute(statements: str) -> None:
    """Run SQL as it stands: no parameters in it."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Refused: it would delete published figures."""
    raise NotImplementedError("releases are append-only; restore a backup instead of downgrading")
