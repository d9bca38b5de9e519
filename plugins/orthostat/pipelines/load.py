"""From YAML file to `Pipeline`; what is wrong is said with file, field, value and cure."""

import difflib
import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orthostat import settings
from orthostat.errors import ConfigurationError
from orthostat.pipelines.config import Pipeline


def pipeline_files(folder: Path | None = None) -> list[Path]:
    """The pipeline files of a folder (default: the configured one), by name."""
    return sorted((folder or settings.pipelines_dir()).glob("*.yaml"))


def load_pipeline(path: Path) -> Pipeline:
    """Read and check one pipeline file. Raises ConfigurationError that lists everything wrong in it."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is no UTF-8 text ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: is no mapping of fields; start with 'name: {path.stem}'")
    try:
        pipeline = Pipeline.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise ConfigurationError(f"{path}: {error.error_count()} field(s) to correct:\n{lines}") from error
    if pipeline.name != path.stem:
        raise ConfigurationError(
            f"{path}: field 'name' is '{pipeline.name}', the file is '{path.name}'; make them equal"
        )
    return pipeline


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of that name. Raises ConfigurationError that names those that exist."""
    paths = {path.stem: path for path in pipeline_files()}
    if name not in paths:
        raise ConfigurationError(
            f"there is no pipeline '{name}' in {settings.pipelines_dir()}; "
            f"there are: {', '.join(paths) or 'none'}"
        )
    return load_pipeline(paths[name])


def _explain(detail: ErrorDetails) -> str:
    field = ".".join(str(part) for part in detail["loc"]) or "(file)"
    if detail["type"] == "extra_forbidden":
        return f"field '{field}' is unknown; {_suggest(detail['loc'])}"
    if detail["type"] == "missing":
        return f"field '{field}' is missing; add it"
    value = detail["input"] if not isinstance(detail["input"], dict) else "(this section)"
    return (
        f"field '{field}' has the value {reprlib.repr(value)}: {detail['msg'].removeprefix('Value error, ')}"
    )


def _suggest(location: tuple[int | str, ...]) -> str:
    fields = _fields(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(sorted(fields))}"


def _fields(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Pipeline
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            option for option in options if isinstance(option, type) and issubclass(option, BaseModel)
        )
    return list(model.model_fields)
