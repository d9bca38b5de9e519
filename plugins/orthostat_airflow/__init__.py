"""What Airflow needs to run pipelines: operators, the DAG, the plugin. Wires, never computes."""
