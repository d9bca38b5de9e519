"""Jobs of the service: followed, cancelled, listed, and asked for by a client that knows nothing of us."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orthostat import storage
from tests.integration.service.server import Inputs, Server, problem


def test_a_job_is_followed_to_its_result(server: Server, inputs: Inputs) -> None:
    answer = server.http.post("/predict", json=inputs.request, headers={"Prefer": "respond-async, wait=5"})
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "respond-async"
    info = answer.json()
    assert answer.headers["location"] == str(server.http.base_url.join(f"/jobs/{info['jobID']}"))
    done = server.wait_for(info["jobID"])
    assert (done["status"], done["progress"], done["type"]) == ("successful", 100, "process")
    assert {link["rel"].rpartition("/")[2] for link in done["links"]} >= {"self", "monitor", "results"}
    result = server.http.get(f"/jobs/{info['jobID']}/results")
    assert result.headers["content-type"] == "application/geo+json"
    assert result.json() == storage.read_json(f"{inputs.request['output']}/item.json")
    listed = server.http.get("/jobs", params={"status": "successful,failed", "limit": 1}).json()
    assert [job["jobID"] for job in listed["jobs"]] == [info["jobID"]]
    forgotten = server.http.delete(f"/jobs/{info['jobID']}").json()
    assert forgotten["status"] == "dismissed"
    problem(server.http.get(f"/jobs/{info['jobID']}"), 404)


def test_a_job_that_fails_says_why(server: Server, inputs: Inputs) -> None:
    storage.write_bytes(f"{inputs.bucket}/text.tif", b"no image")
    request = inputs.to("x", image=f"{inputs.bucket}/text.tif")
    job = server.http.post("/predict", json=request, headers={"Prefer": "respond-async"}).json()["jobID"]
    assert server.wait_for(job)["status"] == "failed"
    assert "cannot be read as an image" in problem(server.http.get(f"/jobs/{job}/results"), 422)


def test_a_running_job_can_be_cancelled(server: Server, inputs: Inputs, large: str) -> None:
    request = inputs.to("large", image=large)
    job = server.http.post("/predict", json=request, headers={"Prefer": "respond-async"}).json()["jobID"]
    server.wait_for(job, "running")
    assert "ask again later" in problem(server.http.get(f"/jobs/{job}/results"), 404)
    assert server.http.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    assert server.wait_for(job)["status"] == "dismissed"
    problem(server.http.get(f"/jobs/{job}/results"), 410)
    assert server.http.post("/predict", json=inputs.to("after")).status_code == 200
    assert not storage.exists(f"{inputs.bucket}/large/item.json")


def test_owslib_executes_and_follows(server: Server, inputs: Inputs) -> None:
    """A client of OGC API - Processes that knows nothing of us."""
    from owslib.ogcapi.processes import Processes

    client = Processes(f"{server.http.base_url}/")
    client.headers = dict(client.headers)
    assert [process["id"] for process in client.processes()] == ["predict"]
    assert set(client.process("predict")["inputs"]) == {"image", "model", "output", "sha256", "fill"}
    assert any(name.endswith("/conf/core") for name in client.conformance()["conformsTo"])
    document = client.execute("predict", inputs=inputs.to("sync"))
    item = storage.read_json(f"{inputs.bucket}/sync/item.json")
    assert document == {"item": {"value": item, "mediaType": "application/geo+json"}}
    asked = {"item": {"transmissionMode": "value"}}
    status = client.execute("predict", inputs=inputs.to("async"), outputs=asked, async_=True)
    assert client.response_headers["Location"].endswith(status["jobID"])
    assert server.wait_for(status["jobID"])["status"] == "successful"
    document = client._request(path=f"jobs/{status['jobID']}/results")
    assert document["item"]["value"]["id"] == "scene"


def schema_errors(name: str, document: Any) -> list[str]:
    """What in a document does not fit a schema of the standard."""
    from jsonschema import Draft4Validator

    schemas = Path(__file__).parents[2] / "data/ogc-processes-1.0"

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: f"#/definitions/{one.removesuffix('.yaml')}"
            if key == "$ref" and isinstance(one, str)
            else resolve(one)
            for key, one in value.items()
            if key != "default" or not isinstance(one, list)  # some are lists, which no validator takes
        }

    definitions = {path.stem: resolve(yaml.safe_load(path.read_text())) for path in schemas.glob("*.yaml")}
    assert name in definitions
    validator = Draft4Validator({"$ref": f"#/definitions/{name}", "definitions": definitions})
    return [error.message for error in validator.iter_errors(document)]


def test_documents_fit_the_standards_schemas(server: Server, inputs: Inputs) -> None:
    later = {"Prefer": "respond-async"}
    job = server.http.post("/predict", json=inputs.request, headers=later).json()["jobID"]
    server.wait_for(job)
    for path, name in (
        ("/", "landingPage"),
        ("/conformance", "confClasses"),
        ("/processes", "processList"),
        ("/processes/predict", "process"),
        ("/jobs", "jobList"),
        (f"/jobs/{job}", "statusInfo"),
        ("/jobs/none", "exception"),
        ("/processes/none", "exception"),
    ):
        assert schema_errors(name, server.http.get(path).json()) == [], path
    assert schema_errors("statusInfo", {"jobID": job}) != []  # the check can fail


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/processes/other/execution", {"inputs": {}}, 404),
        ("/processes/predict/execution", {"inputs": {}}, 422),
        ("/processes/predict/execution", {"inputs": []}, 400),
        ("/processes/predict/execution", {"outputs": {"map": {}}}, 400),
        ("/processes/predict/execution", {"outputs": {"item": {"transmissionMode": "reference"}}}, 400),
        ("/processes/predict/execution", {"response": "xml"}, 400),
        ("/processes/predict/execution", {"response": ["raw"]}, 400),
        ("/processes/predict/execution", {"response": {"a": 1}}, 400),
    ],
)
def test_executions_that_mean_nothing_are_refused(
    server: Server, path: str, content: dict[str, Any], status: int
) -> None:
    problem(server.http.post(path, json=content), status)


def test_inputs_may_be_qualified_or_links(server: Server, inputs: Inputs) -> None:
    given: dict[str, Any] = inputs.to("linked")
    given["image"] = {"href": given["image"], "type": "image/tiff"}
    given["model"] = {"value": given["model"]}
    answer = server.http.post("/processes/predict/execution", json={"inputs": given})
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == "scene"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=new", "datetime=now", "minDuration=-1"])
def test_filters_that_mean_nothing_are_refused(server: Server, query: str) -> None:
    problem(server.http.get(f"/jobs?{query}"), 400)
