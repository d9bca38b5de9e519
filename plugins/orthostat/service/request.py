"""What a client asks for: JSON of a bounded size, and three addresses in S3."""

import json
import reprlib
from typing import Annotated, Any, NoReturn

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from orthostat.service.problems import ProblemError

# Local paths would let whoever reaches the service read and write the files of its machine.
S3Uri = Annotated[
    str,
    Field(
        pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}/[^\x00-\x1f\x7f]+$",
        max_length=1100,
        examples=["s3://bucket/key"],
    ),
]


class PredictionRequest(BaseModel):
    """What to predict, with what, and where the result goes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    image: S3Uri
    """The image."""
    model: Annotated[S3Uri, Field(validation_alias=AliasChoices("model", "bundle"))]
    """Raster Vision's model bundle; `bundle` is another name of it."""
    output: S3Uri
    """The folder below which item.json and its files go."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """Digest of the bundle; it may be left out where the allow-list knows the address."""
    fill: Annotated[FiniteFloat, Field(strict=True)] | None = None
    """Value that means no data in every band, where the image does not say so itself."""


def parse_json(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises ProblemError when it is none in UTF-8, or holds NaN."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ProblemError(
            400, f"the body is no JSON in UTF-8 ({error!s:.200}); send a JSON object"
        ) from error
    if not isinstance(value, dict):
        raise ProblemError(400, f"the body is {type(value).__name__}, not a JSON object; send one")
    return value


def parse_request(content: dict[str, Any]) -> PredictionRequest:
    """The request. Raises ProblemError that names each field, its value in short, and the cure."""
    try:
        return PredictionRequest.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors()[:_MOST_PROBLEMS])
        cure = (
            "send image, model and output as s3:// addresses, with sha256 where the service knows no digest"
        )
        raise ProblemError(422, f"{problems}; {cure} (GET /docs)") from error


_MOST_PROBLEMS = 5


def _describe(problem: Any) -> str:
    place = ".".join(f"{part!s:.50}" for part in problem["loc"]) or "body"
    if problem["type"] == "missing":
        return f"{place} is missing"
    return f"{place} is {reprlib.repr(problem['input'])}: {problem['msg']}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
