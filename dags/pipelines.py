"""One DAG for each file in config/pipelines."""

from airflow.sdk import get_parsing_context

from orthostat.errors import ConfigurationError
from orthostat.pipelines.load import load_pipeline, pipeline_files
from orthostat_airflow.pipeline_dag import broken_pipeline_dag, pipeline_dag

wanted = get_parsing_context().dag_id  # of the task that this process runs; None: all of them
for path in pipeline_files():
    if wanted not in (None, path.stem):
        continue
    try:
        globals()[path.stem] = pipeline_dag(load_pipeline(path))
    except ConfigurationError as error:
        globals()[path.stem] = broken_pipeline_dag(path, str(error))
