"""The process of a model: what the parent says when it ends, hangs or fails, and how it goes on."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from orthostat import storage
from orthostat.errors import BundleError, LimitError, MachineError, ModelError
from orthostat.pipelines.options import PredictOptions
from orthostat.prediction import launch as launch_module
from orthostat.prediction.batch import Summary, predict_batch
from orthostat.prediction.bundle import unpack_bundle
from orthostat.prediction.launch import Launched, launched_early
from orthostat.prediction.process import ModelProcess
from tests.onnx_bundle import write_onnx_bundle
from tests.unit import misbehaving_child as acts
from tests.unit.prediction_images import key_of, make_batch, make_recipe, write_image

ROOT = Path(__file__).parents[2]
VALUES = np.array([[[0, 50, 200], [150, 0, 101]]], dtype=np.uint16)


@pytest.fixture
def misbehaving(monkeypatch):
    monkeypatch.setattr(launch_module, "_PROGRAM", (str(Path(acts.__file__)),))


def write_scene(tmp_path: Path, name: str, act: int = 0) -> str:
    write_image(tmp_path / "scenes" / f"{name}.tif", np.maximum(VALUES, np.uint16(act)) if act else VALUES)
    return name


def reason_of(tmp_path: Path, act: int, kind: str = "bundle") -> str:
    """A batch of a good scene, one that misbehaves, and another good one; the failure's reason."""
    names = [write_scene(tmp_path, "A"), write_scene(tmp_path, "B", act), write_scene(tmp_path, "C")]
    batch = make_batch(tmp_path, names)
    assert predict_batch(batch) == Summary(predicted=2, skipped=0, failed=1)
    failure = storage.read_json(key_of(batch, 1).failure)
    assert failure["kind"] == kind
    return failure["reason"]


@pytest.mark.parametrize(
    ("act", "kind", "reason"),
    [
        (acts.EXIT, "bundle", "ended by itself with exit code 0"),
        (acts.LEAVE, "bundle", "ended by itself with exit code 3; .*it printed: the last words"),
        (
            acts.KILL,
            "limit",
            r"was killed \(SIGKILL\), as by the kernel when memory runs out; give it more memory",
        ),
        (acts.SEGFAULT, "bundle", "was ended by SIGSEGV"),
        (acts.RAISE, "bundle", r"the model failed on .*B\.tif: RuntimeError: shapes do not match"),
        (acts.INTERRUPT, "bundle", "ended by itself with exit code 1|was ended by SIGINT"),
        (acts.SWELL, "limit", r"took .* MB, allowed are 1,500 and was ended; raise ORTHOSTAT_MAX_MEMORY_MB"),
        (acts.NAN, "bundle", r"B\.tif: the network gives values that are no numbers"),
    ],
)
def test_a_model_that_ends_fails_its_scene_and_the_next_one_is_predicted(
    tmp_path, misbehaving, monkeypatch, act, kind, reason
):
    monkeypatch.setenv("ORTHOSTAT_MAX_MEMORY_MB", "1500")
    assert re.search(reason, reason_of(tmp_path, act, kind))


def test_an_accelerator_that_fails_ends_the_batch_and_leaves_no_record(tmp_path, misbehaving):
    """CUDA's errors are sticky: every later scene would fail, too."""
    batch = make_batch(tmp_path, [write_scene(tmp_path, "A"), write_scene(tmp_path, "B", acts.BREAK)])
    with pytest.raises(MachineError, match=r"the model failed on .*B\.tif: RuntimeError: CUDA error"):
        predict_batch(batch)
    assert storage.exists(key_of(batch, 0).item)
    assert not storage.exists(key_of(batch, 1).failure)


def test_a_model_that_hangs_is_ended(tmp_path, misbehaving, monkeypatch):
    monkeypatch.setenv("ORTHOSTAT_SILENCE_SECONDS", "10")  # a busy machine takes some to load the model
    assert "silent for 10 s and was ended; raise ORTHOSTAT_SILENCE_SECONDS" in reason_of(
        tmp_path, acts.HANG, "limit"
    )


def test_a_scene_that_takes_too_long_is_ended(tmp_path, misbehaving, monkeypatch):
    monkeypatch.setenv("ORTHOSTAT_MAX_SECONDS", "6")
    told = reason_of(tmp_path, acts.HANG, "limit")
    assert "took more than 6 s and was ended; raise ORTHOSTAT_MAX_SECONDS" in told


def test_what_a_model_prints_goes_nowhere(tmp_path, misbehaving, capfd):
    batch = make_batch(tmp_path, [write_scene(tmp_path, "A", acts.TALK)])
    assert predict_batch(batch).predicted == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "xxxx" not in captured.err


def test_a_models_environment_opens_no_door(tmp_path, misbehaving, monkeypatch):
    secrets = (
        *("AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "ORTHOSTAT_DATABASE_URL"),
        *("AIRFLOW__CORE__FERNET_KEY", "KUBERNETES_SERVICE_HOST", "PGPASSWORD"),
    )
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    told = reason_of(tmp_path, acts.TELL).split()
    assert "PATH" in told
    assert not set(told) & set(secrets)
    assert not [name for name in told if name.startswith(("AWS", "ORTHOSTAT", "AIRFLOW"))]


def make_process(tmp_path: Path, early: Launched | None = None, **changes) -> ModelProcess:
    path = write_onnx_bundle(tmp_path / "bundle.zip", **changes)
    bundle = unpack_bundle(path, "s3://b/m.zip", "ab", tmp_path)
    return ModelProcess(bundle, "onnx", PredictOptions(), tmp_path, early=early)


def test_a_model_that_cannot_be_loaded_is_the_bundles_fault(tmp_path):
    with (
        make_process(tmp_path, model=b"no model") as process,
        pytest.raises(BundleError, match=r"ONNX Runtime .* cannot load model.onnx of s3://b/m\.zip"),
    ):
        process.start()


def test_a_process_that_ends_while_it_loads_is_the_bundles_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(launch_module, "_PROGRAM", ("-c", "import os; os._exit(7)"))
    with make_process(tmp_path) as process, pytest.raises(BundleError, match="exit code 7"):
        process.start()


def test_a_process_whose_own_child_holds_the_pipe_has_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOSTAT_SILENCE_SECONDS", "8")
    program = "import os, time; os.fork() or (os.setsid(), time.sleep(15)); os._exit(7)"
    monkeypatch.setattr(launch_module, "_PROGRAM", ("-c", program))
    with make_process(tmp_path) as process, pytest.raises(BundleError, match="exit code 7"):
        process.start()


def test_a_process_that_is_closed_by_another_thread_is_told_as_ended(tmp_path, misbehaving):
    image = write_image(tmp_path / "a.tif", np.full((1, 8, 8), acts.HANG, np.uint16))
    folder = tmp_path / "files"
    folder.mkdir()
    with make_process(tmp_path) as process:
        process.start()
        threading.Timer(1, process.close).start()
        with pytest.raises((ModelError, LimitError), match="the process of the model"):
            process.predict(image, "a.tif", 0, folder)


def test_a_process_that_answers_rubbish_is_ended(tmp_path, monkeypatch):
    program = "import sys; from multiprocessing.connection import Connection as C; p=C(int(sys.argv[1]));"
    program += "p.recv_bytes(); p.send_bytes(b'[1]'); p.recv_bytes()"
    monkeypatch.setattr(launch_module, "_PROGRAM", ("-c", program))
    with make_process(tmp_path) as process, pytest.raises(BundleError, match=r"answered \[1\]"):
        process.start()


def test_a_closed_process_is_gone_and_starts_again_when_it_is_needed(tmp_path):
    image = write_image(tmp_path / "a.tif", VALUES)
    with make_process(tmp_path) as process:
        for number in range(2):
            folder = tmp_path / f"files{number}"
            folder.mkdir()
            facts = process.predict(image, "a.tif", 0, folder)
            assert facts.histogram == {0: 1, 1: 3}
            started = process._talk.process
            process.close()
            assert started.poll() is not None
    assert process.model.network == "made.net"


def test_a_failure_while_predicting_leaves_no_process_behind(tmp_path, misbehaving):
    image = write_image(tmp_path / "a.tif", np.maximum(VALUES, np.uint16(acts.RAISE)))
    (tmp_path / "files").mkdir()
    with make_process(tmp_path) as process:
        process.start()
        started = process._talk.process
        with pytest.raises(ModelError):
            process.predict(image, "a.tif", None, tmp_path / "files")
        assert started.poll() is not None


def test_a_killed_parent_leaves_no_model_behind(tmp_path):
    """Not even one that hangs and will never look at its pipe again."""
    write_scene(tmp_path, "A", acts.HANG)
    recipe = make_recipe(tmp_path)
    program = (
        "import sys; from orthostat.cli.main import main; from orthostat.prediction import launch; "
        f"launch._PROGRAM = ({str(Path(acts.__file__))!r},); main(sys.argv[1:])"
    )
    command = ["predict", "--bundle", recipe.bundle, "--image", str(tmp_path / "scenes/A.tif")]
    parent = subprocess.Popen(
        [sys.executable, "-c", program, *command, "--output", str(tmp_path / "out"), "--engine", "onnx"],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "plugins")},
        stderr=subprocess.PIPE,
    )
    assert parent.stderr is not None
    while b"loaded on" not in parent.stderr.readline():
        assert parent.poll() is None
    child = psutil.Process(parent.pid).children()[0]
    parent.kill()
    parent.wait()
    assert child.wait(timeout=20) is not None or not child.is_running()


def test_a_process_that_was_launched_early_is_the_first_and_never_another(tmp_path):
    with launched_early() as early, make_process(tmp_path, early) as process:
        process.start()
        assert process._talk.process is early.process
        process.close()
        process.start()
        assert process._talk.process is not early.process
        assert process.model.network == "made.net"


def test_an_early_process_that_has_ended_is_replaced(tmp_path):
    with launched_early() as early, make_process(tmp_path, early) as process:
        early.kill()
        process.start()
        assert process.model.network == "made.net"


def test_an_early_process_that_nobody_used_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with launched_early() as early:
        assert early.process.poll() is None
        early_pid = early.process.pid
    assert early.process.poll() is not None
    assert list(tmp_path.iterdir()) == []
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, number: killed.append(pid))
    early.kill()
    assert early_pid not in killed


def test_two_recipes_never_share_a_process(tmp_path):
    assert make_recipe(tmp_path).sha256
    with make_process(tmp_path) as first, make_process(tmp_path) as second:
        first.start()
        second.start()
        assert first._talk.process.pid != second._talk.process.pid
