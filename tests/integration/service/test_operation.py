"""How the service is run: who may ask for what, a full queue, a stop, kills, and two of it at once."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from orthostat import storage
from tests.integration.service.server import Inputs, problem, serve


def test_tokens_say_who_may_ask_for_what(
    folder: Path, s3_endpoint: str, jobs_bucket: str, inputs: Inputs
) -> None:
    digest = inputs.request["sha256"]
    lines = [
        f"all-rights # a comment\n{hashlib.sha256(b'hashed').hexdigest()} {inputs.bucket}/",
        f"narrow {inputs.bucket}/elsewhere/ {digest}",
        f"other {inputs.bucket}/ {'ab' * 32}",
    ]
    path = folder / "tokens"
    path.write_text("\n".join(lines))
    options = ["--tokens", str(path), "--jobs", f"{jobs_bucket}/tokens", "--trusted-host", "api.example"]
    with serve(folder, s3_endpoint, *options) as server:
        server.http.headers["Host"] = "api.example"

        def ask(token: str | None, scheme: str = "Bearer", **headers: str) -> httpx.Response:
            sent = {"Authorization": f"{scheme} {token}"} if token else {}
            return server.http.post("/predict", json=inputs.request, headers=sent | headers)

        for token, scheme in ((None, ""), ("wrong", "Bearer"), ("all-rights", "Basic"), ("", "Bearer")):
            refused = ask(token, scheme)
            problem(refused, 401)
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert ask("all-rights").status_code == 200
        assert ask("hashed").status_code == 200
        problem(ask(hashlib.sha256(b"hashed").hexdigest()), 401)  # the hash is no token
        assert "below none of the allowed prefixes" in problem(ask("narrow"), 403)
        assert "is none of the 1 on the allow-list" in problem(ask("other"), 403)
        problem(server.http.get("/jobs"), 401)
        job = ask("all-rights", Prefer="respond-async").json()["jobID"]
        problem(server.http.get(f"/jobs/{job}", headers={"Authorization": "Bearer hashed"}), 404)
        problem(server.http.get("/jobs", headers={"Host": "127.0.0.1"}), 400)
        assert server.http.get("/health", headers={"Host": "10.0.0.1"}).status_code == 200
        path.write_text("new-one\n")
        problem(ask("all-rights"), 401)
        assert ask("new-one").status_code == 200


def test_a_full_queue_says_when_to_come_again(
    folder: Path, s3_endpoint: str, inputs: Inputs, large: str, jobs_bucket: str
) -> None:
    """One large image is worked on, others wait; small ones go past them; a wrong digest evicts nothing."""
    options = ["--jobs", f"{jobs_bucket}/full", "--queue", "2", "--allow-prefix", inputs.bucket]
    with serve(folder, s3_endpoint, *options, ORTHOSTAT_LARGE_MB="1") as server:
        later = {"Prefer": "respond-async"}
        sent = [
            server.http.post("/predict", json=inputs.to(f"large{n}", image=large), headers=later)
            for n in range(4)
        ]
        assert [answer.status_code for answer in sent[:2]] == [201, 201]
        first = sent[0].json()["jobID"]
        full = next(answer for answer in sent if answer.status_code != 201)
        assert "jobs wait already, allowed are 2" in problem(full, 429)
        assert int(full.headers["retry-after"]) >= 1
        second = sent[1].json()["jobID"]
        waiting = [a.json()["jobID"] for a in sent[1:] if a.status_code == 201]
        for job in waiting[1:]:
            server.http.delete(f"/jobs/{job}")
        server.wait_for(first, "running", "successful")
        assert server.http.post("/predict", json=inputs.to("small")).status_code == 200
        behind = server.http.get(f"/jobs/{second}").json()["status"]
        assert behind == "accepted" or server.http.get(f"/jobs/{first}").json()["status"] != "running"
        loaded = server.log_path.read_text().count("let go")
        problem(server.http.post("/predict", json=inputs.to("x", sha256="ab" * 32)), 422)
        assert server.log_path.read_text().count("let go") == loaded
        for job in (first, second):
            server.http.delete(f"/jobs/{job}")


def test_a_graceful_stop_hands_back_what_does_not_end(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str
) -> None:
    options = ["--jobs", f"{jobs_bucket}/stop", "--queue", "50"]
    later = {"Prefer": "respond-async"}
    with serve(folder, s3_endpoint, *options) as server:
        jobs = [
            server.http.post("/predict", json=inputs.to(f"s{n}"), headers=later).json()["jobID"]
            for n in range(30)
        ]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
        assert "Traceback" not in server.log_path.read_text()
    with serve(folder, s3_endpoint, *options) as server:
        assert {server.wait_for(job)["status"] for job in jobs} == {"successful"}
    assert not list(storage.list_objects(f"{jobs_bucket}/stop/open/"))


def test_jobs_of_killed_servers_end_once(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str, tmp_path: Path
) -> None:
    """KILLED_JOBS (30) jobs, and a SIGKILL at random for every ten of them."""
    count, random = int(os.environ.get("KILLED_JOBS", "30")), np.random.default_rng(19)
    options = ["--jobs", f"{jobs_bucket}/killed", "--queue", str(count)]
    later, scratch = {"Prefer": "respond-async"}, tmp_path / "scratch"
    scratch.mkdir()
    variables = {"ORTHOSTAT_LEASE_SECONDS": "2", "TMPDIR": str(scratch)}
    jobs: list[str] = []
    for kill in range(count // 10):
        with serve(folder, s3_endpoint, *options, **variables) as server:
            for n in range(10):
                request = inputs.to(f"k{kill}-{n}")
                jobs.append(server.http.post("/predict", json=request, headers=later).json()["jobID"])
            time.sleep(random.uniform(0, 1.5))
            server.process.kill()
            server.process.wait()
    with serve(folder, s3_endpoint, *options, **variables) as server:
        ended = [server.wait_for(job) for job in jobs]
        assert [job["message"] for job in ended if job["status"] != "successful"] == []
    stored = [storage.read_json(f"{jobs_bucket}/killed/jobs/{job}.json") for job in jobs]
    for job in stored:
        assert job["item"] == storage.read_json(f"{job['request']['output']}/item.json")
    items = [e for e in storage.list_objects(f"{inputs.bucket}/k") if e.uri.endswith("/item.json")]
    assert len(items) == len(jobs) == count
    assert not list(storage.list_objects(f"{jobs_bucket}/killed/open/"))
    assert list(scratch.iterdir()) == []


def test_two_servers_share_the_jobs(
    folder: Path, s3_endpoint: str, inputs: Inputs, jobs_bucket: str, large: str
) -> None:
    options = ["--jobs", f"{jobs_bucket}/two"]
    later = {"Prefer": "respond-async"}
    variables = {"ORTHOSTAT_LEASE_SECONDS": "1.5"}
    with (
        serve(folder, s3_endpoint, *options, **variables) as one,
        serve(folder, s3_endpoint, *options, **variables) as two,
    ):
        job = one.http.post("/predict", json=inputs.request, headers=later).json()["jobID"]
        assert two.wait_for(job)["status"] == "successful"
        slow = one.http.post("/predict", json=inputs.to("slow", image=large), headers=later).json()["jobID"]
        one.wait_for(slow, "running")
        assert two.http.delete(f"/jobs/{slow}").json()["status"] == "dismissed"
        assert one.wait_for(slow)["status"] == "dismissed"
        deadline = time.monotonic() + 20
        while '"running":0' not in one.http.get("/ready").text and time.monotonic() < deadline:
            time.sleep(0.1)
        assert json.loads(one.http.get("/ready").text)["running"] == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--port", "70000"], "is no port"),
        (["--queue", "0"], "is no number from 1 on"),
        (["--jobs", "/tmp/jobs"], "is no prefix in S3"),
        (["--tokens", "/nothing"], "the tokens in /nothing cannot be read"),
        (["--sha256", "ab"], "is no SHA-256"),
    ],
)
def test_options_that_mean_nothing_are_refused(option: list[str], message: str) -> None:
    command = [Path(sys.executable).parent / "orthostat", "serve", *option]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
