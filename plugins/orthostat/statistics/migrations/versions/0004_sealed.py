"""A sealed ledger: what decided each period, what was revised and why, no way to add to a release later.

A release is open in the transaction that makes it (`open_in`), and closed by a trigger when that commits:
what a restored database remembers of transactions opens nothing. Functions look for tables in `public` first,
or a temporary table could stand in for `release`.

Released rows stay as they are. Whether their periods were complete was not kept: they are called open. Two
roles that own nothing are given their rights: `orthostat_writer` releases, `orthostat_reader` reads.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE release ADD COLUMN open_in bigint;
ALTER TABLE release_period
    ADD COLUMN inputs jsonb,
    ADD COLUMN cause text,
    ADD COLUMN figures_sha256 text,
    ADD COLUMN result_uri text;
ALTER TABLE observation ADD COLUMN period_state text NOT NULL DEFAULT 'open';
ALTER TABLE observation ALTER COLUMN period_state DROP DEFAULT;
CREATE TABLE confirmation (
    release_id text NOT NULL REFERENCES release (release_id),
    period text NOT NULL,
    inputs_sha256 text NOT NULL,
    inputs jsonb NOT NULL,
    run_id text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (release_id, period, inputs_sha256)
);
CREATE TABLE revision (
    release_id text NOT NULL REFERENCES release (release_id),
    period text NOT NULL,
    indicator text NOT NULL,
    zone_id text NOT NULL,
    class_id bigint NOT NULL,
    method text NOT NULL,
    old_value double precision,
    new_value double precision,
    difference double precision,
    old_coverage double precision,
    new_coverage double precision,
    old_status text,
    new_status text,
    cause text,
    PRIMARY KEY (release_id, period, indicator, zone_id, class_id, method)
);
"""

TRIGGERS = """
CREATE FUNCTION orthostat_check_release() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    latest record;
BEGIN
    SELECT release_id, vintage INTO latest FROM release
        WHERE pipeline = NEW.pipeline ORDER BY vintage DESC LIMIT 1;
    IF NEW.vintage <> coalesce(latest.vintage, 0) + 1
        OR NEW.supersedes IS DISTINCT FROM latest.release_id THEN
        RAISE EXCEPTION
            'release % of % has vintage % and supersedes %; the next one is vintage % and supersedes %',
            NEW.release_id, NEW.pipeline, NEW.vintage, coalesce(NEW.supersedes, 'none'),
            coalesce(latest.vintage, 0) + 1, coalesce(latest.release_id, 'none');
    END IF;
    IF NEW.status <> 'draft' THEN
        RAISE EXCEPTION 'release % begins as %; every release begins as draft', NEW.release_id, NEW.status;
    END IF;
    NEW.open_in := pg_current_xact_id()::text::bigint;
    NEW.created_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER check_release BEFORE INSERT ON release
    FOR EACH ROW EXECUTE FUNCTION orthostat_check_release();

CREATE FUNCTION orthostat_close_release() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE release SET open_in = NULL WHERE release_id = NEW.release_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER close_release AFTER INSERT ON release DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION orthostat_close_release();

CREATE OR REPLACE FUNCTION orthostat_refuse_release_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    steps text[] := ARRAY['draft', 'reviewed', 'published'];
BEGIN
    IF to_jsonb(OLD) - 'status' - 'open_in' IS DISTINCT FROM to_jsonb(NEW) - 'status' - 'open_in'
        OR NEW.open_in IS NOT NULL THEN
        RAISE EXCEPTION 'release % is append-only: only its status may change; publish a new release',
            OLD.release_id;
    END IF;
    IF OLD.status <> NEW.status
        AND array_position(steps, NEW.status) IS DISTINCT FROM array_position(steps, OLD.status) + 1 THEN
        RAISE EXCEPTION 'release % cannot go from % to %: a release goes from draft to reviewed to published',
            OLD.release_id, OLD.status, NEW.status;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION orthostat_seal() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT a.release_id INTO wrong FROM (SELECT DISTINCT release_id FROM added) a
        WHERE NOT EXISTS (
            SELECT FROM release r
            WHERE r.release_id = a.release_id AND r.open_in = pg_current_xact_id()::text::bigint
        ) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION
            'release % is sealed: nothing is added to it after its transaction; publish a new release', wrong;
    END IF;
    IF TG_TABLE_NAME <> 'release_period' THEN
        SELECT a.period INTO wrong FROM (SELECT DISTINCT release_id, period FROM added) a
            WHERE NOT EXISTS (
                SELECT FROM release_period p WHERE p.release_id = a.release_id AND p.period = a.period
            ) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'rows of % stand in a release that does not hold that period', wrong;
        END IF;
    END IF;
    IF TG_TABLE_NAME IN ('observation', 'accuracy') THEN
        SELECT a.pipeline INTO wrong FROM (SELECT DISTINCT release_id, pipeline FROM added) a
            JOIN release r USING (release_id) WHERE r.pipeline <> a.pipeline LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'rows of pipeline % stand in a release of another one', wrong;
        END IF;
    END IF;
    RETURN NULL;
END $$;
"""

KEEP = """
CREATE TRIGGER keep_{0} BEFORE UPDATE OR DELETE OR TRUNCATE ON {0}
    FOR EACH STATEMENT EXECUTE FUNCTION orthostat_refuse_change();
"""

SEAL = """
CREATE TRIGGER seal_{0} AFTER INSERT ON {0} REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION orthostat_seal();
"""

VINTAGE_OBSERVATION = """
CREATE OR REPLACE VIEW vintage_observation AS
SELECT
    release_id, pipeline, indicator, freq, zone_id, zone_name, class_id, class_name,
    period, method, area_m2, std_err_m2, ci_lower_m2, ci_upper_m2, conf_level, cv_pct,
    sample_size, sample_id, is_simulated, mapped_area_m2, zone_area_m2, valid_area_m2, coverage,
    scene_count, obs_status, obs_note, model_sha256, code_version, boundary_version,
    inputs_sha256,
    vintage, as_of,
    cardinality(causes) > 0 AS is_break,
    object_count, mapped_count,
    uninterpreted_size, population, frame_area_m2,
    period_state, nullif(array_to_string(causes, ', '), '') AS break_note
FROM (
    SELECT found.*, array_remove(ARRAY[
        CASE WHEN model_sha256 <> lag(model_sha256) OVER series THEN 'model' END,
        CASE WHEN boundary_version <> lag(boundary_version) OVER series THEN 'zones' END,
        CASE WHEN inputs->>'options' <> lag(inputs->>'options') OVER series THEN 'options' END,
        CASE WHEN inputs->>'grid' <> lag(inputs->>'grid') OVER series THEN 'grid' END,
        CASE WHEN inputs->>'rule' <> lag(inputs->>'rule') OVER series THEN 'rule' END,
        CASE WHEN indicator = 'COUNT'
            AND inputs->>'merge_threshold' <> lag(inputs->>'merge_threshold') OVER series
            THEN 'merge_threshold' END,
        CASE WHEN class_name <> lag(class_name) OVER series THEN 'class' END,
        CASE WHEN inputs->>'steps' <> lag(inputs->>'steps') OVER series THEN 'method' END
    ], NULL) AS causes
    FROM (
        SELECT o.*, held.vintage, held.as_of, p.inputs
        FROM vintage_period held
        JOIN observation o USING (pipeline, release_id, period)
        JOIN release_period p USING (release_id, period)
    ) found
    WINDOW series AS (
        PARTITION BY pipeline, as_of, indicator, freq, zone_id, class_id, method ORDER BY period
    )
) judged;
"""

CURRENT_OBSERVATION = """
CREATE OR REPLACE VIEW current_observation AS
SELECT seen.*
FROM (SELECT pipeline, max(vintage) AS vintage FROM release GROUP BY pipeline) latest
CROSS JOIN LATERAL (
    SELECT * FROM vintage_observation v WHERE v.pipeline = latest.pipeline AND v.as_of = latest.vintage
) seen;
"""

ROLES = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['orthostat_reader', 'orthostat_writer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this server is migrated at the same time
END $$;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO orthostat_reader, orthostat_writer;
GRANT INSERT ON release, release_period, observation, accuracy, lineage, confirmation, revision
    TO orthostat_writer;
GRANT UPDATE (status) ON release TO orthostat_writer;
"""


def upgrade() -> None:
    """Add columns and tables, seal them, and give the roles their rights."""
    execute(TABLES + TRIGGERS)
    for name in ("confirmation", "revision"):
        execute(KEEP.format(name))
    for name in ("release_period", "observation", "accuracy", "lineage", "revision"):
        execute(SEAL.format(name))
    execute(VINTAGE_OBSERVATION + CURRENT_OBSERVATION)
    execute(ROLES)


def execute(statements: str) -> None:
    """Run SQL as it stands: no parameters in it."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Refused: it would delete published figures."""
    raise NotImplementedError("releases are append-only; restore a backup instead of downgrading")
