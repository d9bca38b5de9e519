"""One DAG for each file in config/pipelines."""

from orthostat.errors import ConfigurationError
from orthostat.pipelines.load import load_pipeline, pipeline_files
from orthostat_airflow.pipeline_dag import broken_pipeline_dag, pipeline_dag

for path in pipeline_files():
    try:
        globals()[path.stem] = pipeline_dag(load_pipeline(path))
    except ConfigurationError as error:
        globals()[path.stem] = broken_pipeline_dag(path, str(error))
