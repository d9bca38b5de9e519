"""The allow-list: which bundles are opened, where images may lie and results may go, for people who ask.

One list for the command line, the DAG that predicts on demand, and the service; ORTHOSTAT_ALLOW names it:

    bundles:
      - title: Land cover from Landsat
        uri: s3://models/landcover.zip
        sha256: 0123..
    images: [s3://images/]
    outputs: [s3://results/on-demand/]
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orthostat import settings, storage
from orthostat.errors import ConfigurationError, OrthostatError, RefusedError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AllowedBundle(BaseModel):
    """A bundle that somebody has looked at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str
    sha256: Sha256
    title: str = ""


class AllowList(BaseModel):
    """What may be asked for. A list that is left out allows everything of its kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundles: tuple[AllowedBundle, ...] | None = None
    digests: tuple[Sha256, ...] | None = None
    """Of more bundles, wherever they lie."""
    images: tuple[str, ...] | None = None
    """Prefixes below which images may lie."""
    outputs: tuple[str, ...] | None = None
    """Prefixes below which results may go."""

    @field_validator("images", "outputs")
    @classmethod
    def _as_folders(cls, prefixes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """`s3://a` must not allow `s3://ab/`. Raises ValueError for what is no prefix."""
        for prefix in prefixes or ():
            if not re.match(r"s3://[^/]|/", prefix):
                raise ValueError(f"'{prefix}' is no prefix; write s3://BUCKET/PREFIX/ or an absolute path")
        return prefixes if prefixes is None else tuple(prefix.rstrip("/") + "/" for prefix in prefixes)

    @property
    def names_bundles(self) -> bool:
        """Whether only some bundles are opened."""
        return self.bundles is not None or self.digests is not None

    def sha256_of(self, uri: str) -> str | None:
        """The digest of the bundle at an address, where the list knows it."""
        return next((bundle.sha256 for bundle in self.bundles or () if bundle.uri == uri), None)

    def require_bundle(self, uri: str, sha256: str | None) -> None:
        """Raises RefusedError unless the bundle with that digest may be opened."""
        known = {*(bundle.sha256 for bundle in self.bundles or ()), *(self.digests or ())}
        if self.names_bundles and (sha256 or "").lower() not in known:
            told = f"with sha256 {sha256}" if sha256 else "without a sha256"
            raise RefusedError(
                f"bundle {uri} {told} is none of the {len(known)} on the allow-list; a bundle is code: have "
                "it looked at and added, or name one that is on the list"
            )

    def require_image(self, uri: str) -> None:
        """Raises RefusedError unless an image may lie there."""
        _require_below(self.images, uri, "read")

    def require_output(self, uri: str) -> None:
        """Raises RefusedError unless results may go there."""
        _require_below(self.outputs, uri, "written")


def is_below(uri: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an address lies below one of `prefixes`; local ones after links and `..` are followed."""
    if storage.is_s3(uri):
        return uri.startswith(prefixes)
    local = [prefix for prefix in prefixes if not storage.is_s3(prefix)]
    return any(Path(uri).resolve().is_relative_to(Path(prefix).resolve()) for prefix in local)


def _require_below(prefixes: tuple[str, ...] | None, uri: str, verb: str) -> None:
    if prefixes is not None and not is_below(storage.join(uri, "x"), prefixes):
        raise RefusedError(
            f"{uri} may not be {verb}: it lies below none of the allowed prefixes "
            f"({', '.join(prefixes[:5]) or 'none'}); give an address below one of them, or have one added"
        )


def read_allow_list() -> AllowList:
    """The list in the file that ORTHOSTAT_ALLOW names; one that allows everything where it names none.

    Raises ConfigurationError when the file cannot be read.
    """
    path = settings.allow_list_path()
    if path is None:
        return AllowList()
    import yaml

    try:
        return AllowList.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # pydantic's is a ValueError
        reason = "; ".join(_problems(error)) if isinstance(error, ValidationError) else error
        raise ConfigurationError(
            f"{path} (ORTHOSTAT_ALLOW) is no allow-list: {reason}; correct it"
        ) from error


def allow_of_pipelines() -> AllowList:
    """What the pipeline files let people ask for, where there is no list: their bundles and images, and
    results beside the pipelines' own, never among them.
    """
    from orthostat.pipelines.load import load_pipeline, pipeline_files

    pipelines = []
    for path in pipeline_files():
        try:
            pipelines.append(load_pipeline(path))
        except OrthostatError:
            continue  # its own DAG says what is wrong
    return AllowList(
        bundles=tuple(
            AllowedBundle(uri=p.model.bundle, sha256=p.model.sha256, title=p.title) for p in pipelines
        ),
        images=tuple(p.scenes.folder for p in pipelines),
        outputs=tuple(storage.join(p.output, "on-demand") for p in pipelines),
    )


def _problems(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(part) for part in p['loc'])}: {p['msg']}" for p in error.errors()]
