"""The DAG that predicts one image on demand."""

from typing import Any

from airflow.sdk import DAG, Param

from orthostat_airflow.runner import single_step


def _field(title: str, description: str, **schema: Any) -> Param:
    return Param(None, type="string", minLength=1, title=title, description=description, **schema)


FORM = {
    "image": _field("Image", "GeoTIFF to predict, s3://..."),
    "bundle": _field("Model bundle", "Raster Vision model bundle, s3://..."),
    "sha256": _field(
        "SHA-256 of the bundle", "A bundle is code: no other is opened.", pattern="^[0-9a-f]{64}$"
    ),
    "output": _field("Output", "Folder for labels.tif and item.json, s3://..."),
}
"""The trigger form."""


def predict_image_dag() -> DAG:
    """Wire the DAG; where it runs is ORTHOSTAT_RUNNER's to say."""
    arguments = ["predict", "--json"]
    for name in FORM:
        arguments += [f"--{name}", f"{{{{ params.{name} }}}}"]
    with DAG(
        dag_id="predict_image",
        dag_display_name="Predict one image",
        description="Predict one image with one model bundle, outside any pipeline.",
        doc_md="Fill in the form. The task's log says what was written, or why nothing was.",
        schedule=None,
        params=FORM,
        tags=["orthostat", "on demand"],
    ) as dag:
        single_step("predict", arguments)
    return dag
