-- POSTGRES_DB made Airflow's; the statistics get one of their own.
CREATE DATABASE orthostat;
