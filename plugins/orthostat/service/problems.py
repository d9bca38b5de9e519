"""Errors as problem+json (RFC 9457): type, title, status and detail, from a 404 to a dead bundle."""

import logging
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from orthostat.errors import (
    BundleError,
    ConfigurationError,
    LimitError,
    MachineError,
    MissingError,
    ModelError,
    OrthostatError,
    OutageError,
    RefusedError,
    SceneError,
    StorageError,
)

log = logging.getLogger(__name__)

_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS, NO_SUCH_JOB, NOT_READY = (
    f"{_OGC}{name}" for name in ("no-such-process", "no-such-job", "result-not-ready")
)
_STATUS: dict[type[OrthostatError], int] = {
    RefusedError: 403,
    MissingError: 404,
    OutageError: 503,
    MachineError: 503,
    ConfigurationError: 422,
    SceneError: 422,
    LimitError: 422,
    BundleError: 422,
    ModelError: 422,
    StorageError: 422,
}
"""Of the first class that fits. What the client can cure is 4xx; 503 may pass by itself."""


class ProblemError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        detail: str,
        kind: str = "about:blank",
        title: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.title = title or HTTPStatus(status).phrase
        self.headers = headers or {}

    @property
    def content(self) -> dict[str, Any]:
        """As RFC 9457 has it."""
        return {"type": self.kind, "title": self.title, "status": self.status, "detail": self.detail}


def problem_of(error: BaseException) -> ProblemError:
    """What to answer when something was raised; what nobody foresaw is a 500, and its cause in the log."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, OutageError):
        log.warning("%s", error)  # where the storage is, is nobody's business
        return ProblemError(
            503, "the storage does not answer; ask again later", headers={"Retry-After": "30"}
        )
    if isinstance(error, OrthostatError):
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        headers = {"Retry-After": "30"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        return ProblemError(status, str(error)[:_LONGEST], headers=headers)
    log.error("defect: %s: %s", type(error).__name__, error, exc_info=error)
    return ProblemError(
        500, f"the service failed ({type(error).__name__}); its log says where: please report it"
    )


_LONGEST = 2000


def answer(problem: ProblemError) -> JSONResponse:
    """The response."""
    problem.detail = problem.detail.encode(
        "utf-8", "replace"
    ).decode()  # half of a surrogate pair, of a bundle
    return JSONResponse(
        problem.content, problem.status, problem.headers, media_type="application/problem+json"
    )
