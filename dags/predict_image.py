"""On demand: one image, one model bundle, one place for the result; outside any pipeline."""

from orthostat_airflow.predict_image import predict_image_dag

dag = predict_image_dag()
