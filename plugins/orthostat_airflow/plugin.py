"""What Orthostat adds to Airflow itself."""

from airflow.plugins_manager import AirflowPlugin

from orthostat_airflow import pools, run_note


class OrthostatPlugin(AirflowPlugin):
    """Run notes, and the pool of predict pods."""

    name = "orthostat"
    listeners = [run_note, pools]  # noqa: RUF012 - Airflow's interface
