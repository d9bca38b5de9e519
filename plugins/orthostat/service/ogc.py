"""OGC API - Processes, part 1: core (OGC 18-062r2): its documents, and jobs as it tells them."""

from datetime import datetime
from typing import Any

from orthostat import __version__
from orthostat.service.job import Job, Response, now
from orthostat.service.problems import NO_SUCH_PROCESS, ProblemError

_CONFORMANCE = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
_REL = "http://www.opengis.net/def/rel/ogc/1.0/"
PROCESS = "predict"
JSON, GEOJSON = "application/json", "application/geo+json"
_URI_SCHEMA = {"type": "string", "format": "uri", "pattern": "^s3://"}


def link(base: str, path: str, rel: str, media_type: str = JSON, **more: str) -> dict[str, str]:
    """A link of a document."""
    return {"href": f"{base}{path}", "rel": rel, "type": media_type, **more}


def landing_page(base: str, *, has_jobs: bool) -> dict[str, Any]:
    """The first document."""
    return {
        "title": "Orthostat prediction",
        "description": "Predicts an image in S3 with a Raster Vision model bundle in S3.",
        "links": [
            link(base, "/", "self"),
            link(base, "/openapi.json", "service-desc"),
            link(base, "/docs", "service-doc", "text/html"),
            link(base, "/conformance", f"{_REL}conformance"),
            link(base, "/processes", f"{_REL}processes"),
            *([link(base, "/jobs", f"{_REL}job-list")] if has_jobs else []),
        ],
    }


def conformance(*, has_jobs: bool) -> dict[str, Any]:
    """The classes that hold."""
    classes = ["core", "ogc-process-description", "json", *(["job-list", "dismiss"] if has_jobs else [])]
    return {"conformsTo": [f"{_CONFORMANCE}{name}" for name in classes]}


def _summary(base: str, *, has_jobs: bool) -> dict[str, Any]:
    return {
        "id": PROCESS,
        "version": __version__,
        "title": "Predict an image",
        "description": "Runs a Raster Vision model over an image: classes, cells or objects, and an Item.",
        "jobControlOptions": ["sync-execute", *(["async-execute", "dismiss"] if has_jobs else [])],
        "outputTransmission": ["value"],
        "links": [link(base, f"/processes/{PROCESS}", "self")],
    }


def process_list(base: str, *, has_jobs: bool) -> dict[str, Any]:
    """All processes, of which there is one."""
    return {"processes": [_summary(base, has_jobs=has_jobs)], "links": [link(base, "/processes", "self")]}


def process(base: str, process_id: str, *, has_jobs: bool) -> dict[str, Any]:
    """The description of a process. Raises ProblemError (404) when there is none of that id."""
    require_process(process_id)
    summary = _summary(base, has_jobs=has_jobs)
    summary["links"] = [
        *summary["links"],
        link(base, f"/processes/{PROCESS}/execution", f"{_REL}execute", title="Execute"),
    ]
    sha256 = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
    return {
        **summary,
        "inputs": {
            "image": {"title": "Address of the image in S3", "schema": _URI_SCHEMA},
            "model": {"title": "Address of the Raster Vision model bundle in S3", "schema": _URI_SCHEMA},
            "output": {"title": "Folder in S3 for the results", "schema": _URI_SCHEMA},
            "sha256": {"title": "SHA-256 of the bundle", "minOccurs": 0, "schema": sha256},
            "fill": {"title": "Value that means no data", "minOccurs": 0, "schema": {"type": "number"}},
        },
        "outputs": {
            "item": {
                "title": "STAC Item of the prediction",
                "schema": {
                    "type": "object",
                    "required": ["type", "assets"],
                    "properties": {"type": {"type": "string", "enum": ["Feature"]}},
                    "contentMediaType": GEOJSON,
                },
            }
        },
    }


def require_process(process_id: str) -> None:
    """Raises ProblemError (404) when there is no such process."""
    if process_id != PROCESS:
        raise ProblemError(
            404,
            f"there is no process '{process_id:.100}'; there is: {PROCESS}",
            NO_SUCH_PROCESS,
            "No such process",
        )


def read_execution(content: dict[str, Any]) -> tuple[dict[str, Any], Response]:
    """The inputs of an execute request, and how its result is to be told. Raises ProblemError (400, 422)."""
    inputs, outputs = content.get("inputs", {}), content.get("outputs") or {}
    response = content.get("response", "raw")
    if not isinstance(inputs, dict) or not isinstance(outputs, dict) or response not in ("raw", "document"):
        raise ProblemError(
            400, "inputs and outputs are JSON objects, response is raw or document; correct the request"
        )
    for name, output in outputs.items():
        mode = output.get("transmissionMode", "value") if isinstance(output, dict) else None
        if name != "item" or mode != "value":
            raise ProblemError(400, f"the output '{name:.50}' cannot be had so; ask for item, by value")
    return {name: _plain(value) for name, value in inputs.items()}, response


def _plain(value: Any) -> Any:
    """An input by value, qualified, or by reference: a link to an object in S3 is its address."""
    if isinstance(value, dict) and len(value) <= 4:
        for name in ("value", "href"):
            if isinstance(value.get(name), str):
                return value[name]
    return value


def result(job: Job, item: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The result of a job and its media type, as its request wanted it."""
    if job.response == "document":
        return {"item": {"value": item, "mediaType": GEOJSON}}, JSON
    return item, GEOJSON


def status_info(base: str, job: Job) -> dict[str, Any]:
    """A job as the standard tells it."""
    path = f"/jobs/{job.job_id}"
    links = [link(base, path, "self"), link(base, path, "monitor"), link(base, "/jobs", "up")]
    if job.status == "successful":
        links.append(link(base, f"{path}/results", f"{_REL}results"))
    times = {"created": job.created, "started": job.started, "finished": job.finished}
    return {
        "jobID": job.job_id,
        "processID": PROCESS,
        "type": "process",
        "status": job.status,
        "message": job.message,
        "progress": job.progress,
        **{name: _text(moment) for name, moment in times.items() if moment is not None},
        "updated": _text(job.finished or job.alive or job.started or job.created),
        "links": links,
    }


def seconds_of(job: Job) -> float | None:
    """How long a job has run; None before it began."""
    return None if job.started is None else ((job.finished or now()) - job.started).total_seconds()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
