"""The HTTP API: JSON in, the STAC Item or a readable error out."""

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from orthostat import __version__
from orthostat.errors import (
    BundleError,
    ConfigurationError,
    MissingError,
    OrthostatError,
    RefusedError,
    SceneError,
    StorageError,
)
from orthostat.planning.manifest import Recipe
from orthostat.service.predictor import Predictor

log = logging.getLogger(__name__)

# Local paths would let whoever reaches the service read and write the files of its machine.
S3Uri = Annotated[str, Field(pattern=r"^s3://[^/]+/.+", examples=["s3://bucket/key"])]

_STATUS: dict[type[OrthostatError], int] = {
    RefusedError: 403,
    MissingError: 404,
    ConfigurationError: 422,
    SceneError: 422,
    BundleError: 422,
    StorageError: 502,
}


class PredictionRequest(BaseModel):
    """What to predict, and with what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: S3Uri
    bundle: S3Uri
    """Raster Vision's model bundle."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    """Digest of the bundle: a bundle is code, and no other is opened."""
    output: S3Uri
    """`labels.tif` and `item.json` go straight under it."""
    fill: float | None = None
    """Value that means no data in every band, where the image does not say so itself."""


def make_app(allowed: Collection[str] = ()) -> FastAPI:
    """The service; `allowed` are the sha256 of the bundles that it opens, any when empty."""
    predictor = Predictor(allowed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        predictor.close()

    app = FastAPI(title="Orthostat prediction", version=__version__, lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Answers while a prediction runs, too."""
        return {
            "status": "ok",
            "version": __version__,
            "is_busy": predictor.is_busy,
            "model_sha256": predictor.loaded_sha256,
        }

    @app.post(
        "/predict", responses={code: {"description": '{"error": ...}'} for code in (403, 404, 422, 502)}
    )
    def predict(request: PredictionRequest) -> dict[str, Any]:
        """Predict one image; the answer is the STAC Item, which lies in S3 by then."""
        recipe = Recipe(bundle=request.bundle, sha256=request.sha256, fill=request.fill)
        return predictor.predict(recipe, request.image, request.output)

    app.add_exception_handler(OrthostatError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(Exception, _answer_bug)
    return app


def _answer_error(request: Request, error: Exception) -> JSONResponse:
    log.info("%s refused: %s", request.url.path, error)
    code = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, code)


def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = "; ".join(_describe(problem) for problem in error.errors())
    cure = "send JSON with image, bundle, sha256 and output; GET /docs describes them"
    return JSONResponse({"error": f"{problems}; {cure}"}, 422)


def _describe(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"][1:]) or "body"
    return f"{place} is {problem.get('input')!r}: {problem['msg']}"


def _answer_bug(request: Request, error: Exception) -> JSONResponse:
    reason = f"{type(error).__name__}: {error}"
    return JSONResponse({"error": f"the prediction failed ({reason}); the service's log says where"}, 500)
