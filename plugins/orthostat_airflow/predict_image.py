"""The DAG that predicts one image on demand."""

import re

from airflow.sdk import DAG, Param

from orthostat.errors import ConfigurationError
from orthostat.pipelines.allow import AllowList, allow_of_pipelines, read_allow_list
from orthostat_airflow.notes import TAG
from orthostat_airflow.priority import BACKFILLS_LAST
from orthostat_airflow.runner import single_step


def trigger_form(allowed: AllowList) -> dict[str, Param]:
    """The form: bundles to choose from, addresses below what is allowed."""
    bundles = allowed.bundles or ()
    return {
        "image": _address("Image", "GeoTIFF to predict", allowed.images),
        "bundle": Param(
            bundles[0].uri if len(bundles) == 1 else None,
            type="string",
            enum=[bundle.uri for bundle in bundles],
            values_display={bundle.uri: f"{bundle.title or bundle.uri} ({bundle.uri})" for bundle in bundles},
            title="Model bundle",
            description="A bundle is code: only those that somebody has looked at can be chosen.",
        ),
        "output": _address("Output", "Folder for item.json and its files", allowed.outputs),
    }


def predict_image_dag() -> DAG:
    """Wire the DAG; where it runs is defaults.yaml's to say."""
    allowed, doc = _read()
    arguments = ["predict", "--json", "--sha256", "{{ digests[params.bundle] }}"]
    for name in ("image", "bundle", "output"):
        arguments += [f"--{name}", f"{{{{ params.{name} }}}}"]
    with DAG(
        dag_id="predict_image",
        dag_display_name="Predict one image",
        description="Predict one image with one model bundle, outside any pipeline.",
        doc_md=doc,
        schedule=None,
        default_args={"weight_rule": BACKFILLS_LAST},
        params=trigger_form(allowed),
        user_defined_macros={"digests": {b.uri: b.sha256 for b in allowed.bundles or ()}},
        tags=[TAG, "on demand"],
    ) as dag:
        single_step("predict", arguments)
    return dag


def _read() -> tuple[AllowList, str]:
    """The allow-list, or else what the pipeline files allow; and what the form says of it."""
    doc = "Fill in the form. The task's log says what was written, or why nothing was."
    try:
        listed = read_allow_list()
    except ConfigurationError as error:
        return AllowList(bundles=(), images=(), outputs=()), f"Nothing is allowed: {error}"
    return (listed, doc) if listed.bundles is not None else (allow_of_pipelines(), doc)


def _address(title: str, description: str, prefixes: tuple[str, ...] | None) -> Param:
    below = "|".join(re.escape(prefix) for prefix in prefixes) if prefixes is not None else "s3://[^/]+/"
    told = f", below {', '.join(prefixes)}" if prefixes else ", s3://..."
    return Param(
        None,
        type="string",
        pattern=f"^({below}).+" if below else "^$",
        title=title,
        description=f"{description}{told}",
    )
