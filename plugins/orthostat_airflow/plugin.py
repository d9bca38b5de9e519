"""What Orthostat adds to Airflow itself."""

from airflow.plugins_manager import AirflowPlugin

from orthostat_airflow import run_note


class OrthostatPlugin(AirflowPlugin):
    """Run notes."""

    name = "orthostat"
    listeners = [run_note]  # noqa: RUF012 - Airflow's interface
