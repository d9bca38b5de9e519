"""What the OpenAPI page says besides what the routes say themselves, with examples that work."""

from typing import Any

from orthostat.service.request import PredictionRequest

DESCRIPTION = """\
Predicts one image in S3 with one Raster Vision model bundle in S3, and writes the result to S3.

The examples work as they stand beside the demo (`make demo`, then `eval "$(orthostat local env)"` and
`orthostat serve --jobs s3://orthostat-demo/service`). With tokens, send `Authorization: Bearer TOKEN`.

What takes longer than you can wait: add `Prefer: respond-async`, and get a job's address in `Location`. The
same process is offered as [OGC API - Processes](https://ogcapi.ogc.org/processes/). Every error is
`application/problem+json`."""

_PROBLEM: dict[str, Any] = {
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was asked for cannot be done; detail says what to change.", **_PROBLEM},
    503: {"description": "The storage or the machine does not answer, or the service stops.", **_PROBLEM},
}
_SCHEMA = PredictionRequest.model_json_schema()
EXAMPLE = {
    "image": "s3://orthostat-demo/landsat/scenes/LC08_L1TP_224078_20200518_20200518_01_RT.tif",
    "model": "s3://orthostat-demo/landsat/bundle/landcover.zip",
    "sha256": "fecf500d1fc27ccd0f27032a83dbe6e1d0d10446497108da6c907faf0448c7e4",
    "output": "s3://orthostat-demo/landsat/on-demand/20200518",
    "fill": 0,
}
"""The demo's."""


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


PREDICT_BODY = _body(_SCHEMA, EXAMPLE)
EXECUTE_BODY = _body(
    {
        "type": "object",
        "properties": {
            "inputs": _SCHEMA,
            "outputs": {"type": "object"},
            "response": {"type": "string", "enum": ["raw", "document"]},
        },
    },
    {"inputs": EXAMPLE, "response": "document"},
)
JOB_FILTERS: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in {
            "status": "accepted, running, successful, failed, dismissed; several with commas",
            "type": "process",
            "processID": "predict",
            "datetime": "when the job was created: A, A/B, ../B or A/..",
            "minDuration": "seconds",
            "maxDuration": "seconds",
            "limit": "1 to 1000",
        }.items()
    ]
}
