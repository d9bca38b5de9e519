"""What Orthostat adds to Airflow itself."""

from airflow.plugins_manager import AirflowPlugin

from orthostat_airflow import pools, preload, run_note
from orthostat_airflow.priority import BackfillsLast


class OrthostatPlugin(AirflowPlugin):
    """Run notes, the pools of pods, whose turn it is in them, and libraries that are loaded once."""

    name = "orthostat"
    listeners = [run_note, pools, preload]  # noqa: RUF012 - Airflow's interface
    priority_weight_strategies = [BackfillsLast]  # noqa: RUF012
