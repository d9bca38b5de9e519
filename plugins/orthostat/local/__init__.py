"""The services of one machine: PostgreSQL, an S3 server and Airflow, all on loopback."""
