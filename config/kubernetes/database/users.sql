-- The users of both databases, and who may enter which. Run it as `orthostat` after `orthostat statistics
-- migrate`, and again to change passwords; they come from the environment, so that no process list shows them.
-- Made here and not in Terraform, because whatever Cloud SQL's interface makes is a cloudsqlsuperuser.
\set ON_ERROR_STOP on
\getenv airflow_password AIRFLOW_PASSWORD
\getenv worker_password WORKER_PASSWORD
\getenv statisticians_password STATISTICIANS_PASSWORD

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['airflow', 'airflow_worker', 'statisticians']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE airflow LOGIN PASSWORD :'airflow_password';
ALTER ROLE airflow_worker LOGIN PASSWORD :'worker_password';
ALTER ROLE statisticians LOGIN PASSWORD :'statisticians_password';

REVOKE CONNECT ON DATABASE airflow, orthostat FROM PUBLIC;
GRANT CONNECT ON DATABASE airflow TO airflow;
GRANT CONNECT ON DATABASE orthostat TO airflow_worker, statisticians;

-- airflow_worker releases figures and changes none; statisticians read.
GRANT orthostat_writer TO airflow_worker;
GRANT orthostat_reader TO statisticians;

\connect airflow
GRANT ALL ON SCHEMA public TO airflow;
