"""What is said about a pipeline file that is wrong."""

from pathlib import Path

import pytest
import yaml

from orthostat.cli.main import build_parser
from orthostat.errors import ConfigurationError
from orthostat.pipelines.load import load_pipeline, load_predict_image, pipeline_files
from tests.builders import make_pipeline


def write(folder: Path, **changes: object) -> Path:
    content = make_pipeline().model_dump(mode="json", exclude_none=True) | changes
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    assert load_pipeline(write(tmp_path)) == make_pipeline()


def test_results_may_lie_beside_the_days_of_an_archive(tmp_path: Path) -> None:
    scenes = {"uri": "s3://a/{acquired:%Y/%m/%d}/", "stac_asset": "visual"}
    assert load_pipeline(write(tmp_path, scenes=scenes, output="s3://a/results")).output == "s3://a/results"
    with pytest.raises(ConfigurationError, match=r"output s3://a/2024/01/31/out lies below scenes.uri"):
        load_pipeline(write(tmp_path, scenes=scenes, output="s3://a/2024/01/31/out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookback_day": 3}, r"field 'lookback_day' is unknown; did you mean 'lookback_days'\?"),
        ({"period": "week"}, r"field 'period' has the value 'week': .*'month', 'quarter' or 'year'"),
        (
            {"grid": {"crs": "EPSG:3857", "resolution_m": 10}},
            r"field 'grid.crs' .*Web Mercator.*warp to an equal-area",
        ),
        ({"grid": {"crs": "EPSG:4326", "resolution_m": 10}}, r"field 'grid.crs' .*not projected"),
        ({"output": "/tmp/out"}, r"field 'output' has the value '/tmp/out'"),
        (
            {"scenes": {"uri": "s3://a/", "pattern": "(?P<scene_id>x)"}},
            r"lacks the named group\(s\) \['acquired'\]",
        ),
        ({"scenes": {"uri": "s3://a/"}}, r"exactly one of 'pattern' \(keys\) and 'stac_asset'"),
        ({"model": {"bundle": "s3://a/b.zip", "sha256": "12"}}, r"field 'model.sha256' has the value '12'"),
        ({"zones": {"uri": "s3://a/z", "id_colum": "a", "version": "1"}}, r"did you mean 'id_column'"),
        ({"schedule": "every night"}, r"field 'schedule' has the value 'every night': is no cron expression"),
        ({"publication": {"min_coverage": 0.9, "normal_coverage": 0.5}}, r"min_coverage 0.9 is above normal"),
        (
            {
                "output": "s3://archive/scenes/out",
                "scenes": {"uri": "s3://archive/scenes/", "stac_asset": "v"},
            },
            r"output s3://archive/scenes/out lies below scenes.uri s3://archive/scenes/: results",
        ),
        ({"resources": {"memory": "16k"}}, r"field 'resources.memory' .*: is 16000 bytes; .* e.g. 16Gi"),
        ({"resources": {"memory": "100"}}, r"field 'resources.memory' .*'100': is 100 bytes; .* e.g. 100Gi"),
        ({"output": "s3://b//made"}, "output s3://b//made has '//', '.' or '..' in it"),
        ({"output": "s3://b/x/../made"}, r"output s3://b/x/\.\./made has '//', '.' or '..' in it"),
        ({"resources": {"image": ""}}, r"field 'resources.image' has the value ''"),
        ({"name": "other"}, r"field 'name' is 'other', the file is 'made.yaml'; make them equal"),
    ],
)
def test_each_mistake_is_named_with_field_value_and_cure(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_pipeline(write(tmp_path, **changes))


@pytest.mark.parametrize("has_configured_folder", [True, False])
@pytest.mark.parametrize(
    ("output", "is_shared"),
    [
        ("s3://b/made", True),
        ("s3://b/made/", True),
        ("s3://b/made/more", True),
        ("s3://b", True),
        ("s3://b/made2", False),
        ("s3://a/made", False),
    ],
)
def test_no_two_pipelines_share_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, is_shared: bool, has_configured_folder: bool
) -> None:
    if has_configured_folder:
        monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    path = write(tmp_path, output="s3://b/made")
    other = yaml.safe_load(path.read_text()) | {"name": "other", "output": output}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    (tmp_path / "broken.yaml").write_text("name: [\n")  # which says so itself
    arguments = build_parser().parse_args(["pipelines", "check", str(path)])
    if not is_shared:
        assert arguments.run(arguments) == "made: valid"
        return
    message = r"'made' and 'other' have the outputs .* give each pipeline an output of its own"
    with pytest.raises(ConfigurationError, match=message):
        arguments.run(arguments)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text("name: made\ntitle: t\n")
    with pytest.raises(ConfigurationError, match=r"field 'model' is missing; add it"):
        load_pipeline(path)


def test_a_file_that_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"is no UTF-8 text .*save it as UTF-8"):
        load_pipeline(path)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text("name: made\n  title: t\n")
    with pytest.raises(ConfigurationError, match=r"is no valid YAML: .*\n.*line 2"):
        load_pipeline(path)


def test_defaults_hold_where_the_file_says_nothing(tmp_path: Path) -> None:
    defaults = {"runner": "process", "resources": {"image": "registry/predict:2", "namespace": "eo"}}
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump(defaults))
    path = tmp_path / "made.yaml"
    content = make_pipeline().model_dump(mode="json", exclude_none=True)
    del content["runner"]
    path.write_text(yaml.safe_dump(content | {"resources": {"namespace": "own"}}))
    pipeline = load_pipeline(path)
    assert pipeline.runner == "process"
    assert (pipeline.resources.image, pipeline.resources.namespace) == ("registry/predict:2", "own")
    assert pipeline_files(tmp_path) == [path]


def test_a_mistake_in_the_defaults_names_their_file(tmp_path: Path) -> None:
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump({"resources": {"imag": "x"}}))
    with pytest.raises(
        ConfigurationError, match=r"defaults.yaml: .*\n.*'resources.imag' is unknown; did you mean"
    ):
        load_pipeline(write(tmp_path))


def test_the_dag_on_demand_has_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOSTAT_PIPELINES_DIR", str(tmp_path))
    assert load_predict_image().runner == "process"
    own = {"resources": {"gpu": 0, "memory": "2Gi"}}
    shared = {"runner": "kubernetes", "resources": {"image": "registry/predict:2", "memory": "16Gi"}}
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump(shared | {"predict_image": own}))
    place = load_predict_image()
    assert place.runner == "kubernetes"
    assert (place.resources.image, place.resources.memory, place.resources.gpu) == (
        "registry/predict:2",
        "2Gi",
        0,
    )


def test_a_model_may_have_nearly_all_of_its_pods_memory() -> None:
    resources = {"memory": "10Gi"}
    in_pods = make_pipeline(runner="kubernetes", resources=resources)
    assert in_pods.model_limits.memory_mb == pytest.approx(0.9 * 10 * 2**30 / 1e6)
    told = make_pipeline(runner="kubernetes", resources=resources, limits={"memory_mb": 500})
    assert told.model_limits.memory_mb == 500
    here = make_pipeline(runner="process", resources=resources)
    assert here.model_limits == here.limits


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://a/{date:%Y}/", r"has the field \{date:%Y\}; the only one is the date: write e.g. s3://"),
        ("s3://a/{acquired}/", r"has the field \{acquired\}; the only one is the date"),
        ("s3://a/{acquired:%Y/%b}/", r"has %b in \{acquired:%Y/%b\}; use %Y, %m, %d and %j"),
        ("s3://a/{acquired:%Y/x/", r"has a brace that belongs to no field"),
        ("s3://a/{acquired:%m/%d}/", r"has the dates %d, %m, which are no day .*, month .* or year"),
        ("s3://a/{acquired:%Y}/{acquired:%d}/", r"has the dates %Y, %d, which are no day"),
        ("s3://a/{acquired:x}/", r"has the dates none, which are no day"),
        ("s3://a{acquired:%Y}/", r"has a date before its first folder"),
    ],
)
def test_dates_of_an_archive_must_be_days_months_or_years(tmp_path: Path, uri: str, message: str) -> None:
    scenes = {**make_pipeline().scenes.model_dump(), "uri": uri}
    with pytest.raises(ConfigurationError, match=rf"field 'scenes.uri' has the value .*{message}"):
        load_pipeline(write(tmp_path, scenes=scenes))
