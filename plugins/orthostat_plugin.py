"""For Airflow's plugin loader, which reads every file here but the packages listed in .airflowignore."""

from orthostat_airflow.plugin import OrthostatPlugin

__all__ = ["OrthostatPlugin"]
