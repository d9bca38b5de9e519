"""From YAML file to `Pipeline`; what is wrong is said with file, field, value and cure.

`defaults.yaml` beside the pipeline files says what holds for all of them, so that ten pipelines do not repeat
the name of an image. What a pipeline's own file says comes first, field by field.
"""

import contextlib
import difflib
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orthostat import settings
from orthostat.errors import ConfigurationError
from orthostat.pipelines.config import Pipeline
from orthostat.pipelines.defaults import Defaults, PredictImage

DEFAULTS = "defaults.yaml"
_Model = TypeVar("_Model", bound=BaseModel)


def pipeline_files(folder: Path | None = None) -> list[Path]:
    """The pipeline files of a folder (default: the configured one), by name."""
    found = (folder or settings.pipelines_dir()).glob("*.yaml")
    return sorted(path for path in found if path.name != DEFAULTS)


def load_pipeline(path: Path) -> Pipeline:
    """Read and check one pipeline file. Raises ConfigurationError that lists everything wrong in it."""
    shared = _read_defaults(path.parent)
    shared.pop("predict_image", None)
    pipeline = _validate(path, Pipeline, _merge(shared, _read(path, f"name: {path.stem}")))
    if pipeline.name != path.stem:
        raise ConfigurationError(
            f"{path}: field 'name' is '{pipeline.name}', the file is '{path.name}'; make them equal"
        )
    return pipeline


def load_predict_image() -> PredictImage:
    """Where the DAG `predict_image` runs. Raises ConfigurationError when defaults.yaml is wrong."""
    shared = _read_defaults(settings.pipelines_dir())
    own = shared.pop("predict_image", {})
    inherited = {name: value for name, value in shared.items() if name in {"runner", "resources"}}
    return PredictImage.model_validate(_merge(inherited, own))


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of that name. Raises ConfigurationError that names those that exist."""
    paths = {path.stem: path for path in pipeline_files()}
    if name not in paths:
        raise ConfigurationError(
            f"there is no pipeline '{name}' in {settings.pipelines_dir()}; "
            f"there are: {', '.join(paths) or 'none'}"
        )
    return load_pipeline(paths[name])


def load_all(*folders: Path | None) -> Iterator[Pipeline]:
    """The pipelines of these folders (None: the configured one); a file with an error says so itself."""
    for folder in folders or (None,):
        for path in pipeline_files(folder):
            with contextlib.suppress(ConfigurationError):
                yield load_pipeline(path)


def _read_defaults(folder: Path) -> dict[str, Any]:
    """What holds for all pipelines of a folder; nothing without such a file."""
    path = folder / DEFAULTS
    if not path.exists():
        return {}
    content = _read(path, "runner: kubernetes")
    _validate(path, Defaults, content)
    return content


def _read(path: Path, example: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no UTF-8 text ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: is no mapping of fields; start with '{example}'")
    return content


def _merge(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `shared`; sections field by field, other values as a whole."""
    merged = dict(shared)
    for name, value in own.items():
        below = shared.get(name)
        merged[name] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _validate(path: Path, model: type[_Model], content: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(detail, model)}" for detail in error.errors())
        raise ConfigurationError(f"{path}: {error.error_count()} field(s) to correct:\n{lines}") from error


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    field = ".".join(str(part) for part in detail["loc"]) or "(file)"
    if detail["type"] == "extra_forbidden":
        return f"field '{field}' is unknown; {_suggest(detail['loc'], model)}"
    if detail["type"] == "missing":
        return f"field '{field}' is missing; add it"
    value = detail["input"] if not isinstance(detail["input"], dict) else "(this section)"
    return (
        f"field '{field}' has the value {reprlib.repr(value)}: {detail['msg'].removeprefix('Value error, ')}"
    )


def _suggest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    fields = _fields(location[:-1], model)
    close = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(sorted(fields))}"


def _fields(location: tuple[int | str, ...], model: Any) -> list[str]:
    for part in location:
        if isinstance(part, int):
            continue  # a place in a list
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            option for option in options if isinstance(option, type) and issubclass(option, BaseModel)
        )
    return list(model.model_fields)
