"""Statistics: the published table, its schema, its append-only releases and its exports."""

AIRFLOW, WORKER, READER = "airflow", "airflow_worker", "statisticians"
"""The users of the databases: of Airflow's, and who releases figures, and who reads them."""
