"""The HTTP API: one process, over a short route of its own and as OGC API - Processes."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from orthostat import __version__
from orthostat.service import ogc
from orthostat.service.access import Caller
from orthostat.service.job import Ticket
from orthostat.service.jobs_list import select_jobs
from orthostat.service.openapi import DESCRIPTION, EXECUTE_BODY, JOB_FILTERS, PREDICT_BODY, RESPONSES
from orthostat.service.problems import NOT_READY, ProblemError, answer, problem_of
from orthostat.service.request import parse_json, parse_request
from orthostat.service.service import Service
from orthostat.service.shield import Shield

_JSON_TYPE = re.compile(r"application/(.+\+)?json( *; *charset=\"?utf-8\"?)?", re.IGNORECASE)
_THREADS = 40


def make_app(service: Service, hosts: Collection[str] = ()) -> FastAPI:
    """The API of a service; `hosts` are the names that it answers to, any when empty."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A client that waits holds a thread.
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS + service.queue.most
        yield

    app = FastAPI(
        title="Orthostat prediction",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    _add_probes(app, service)
    _add_predict(app, service)
    _add_processes(app, service)
    if service.has_jobs:
        _add_jobs(app, service)
    for kind in (ProblemError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    app.middleware("http")(_counted(service))
    app.add_middleware(Shield, hosts=hosts)
    return app


def _answer_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, HTTPException):
        detail = f"{request.method} {request.url.path:.200} is not answered here; see /docs"
        return answer(ProblemError(error.status_code, detail, headers=dict(error.headers or {})))
    return answer(problem_of(error))


def _counted(service: Service) -> Callable[[Request, Any], Awaitable[Response]]:
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            response = await call_next(request)
        except Exception as error:  # the last net: an answer, and the cause in the log
            response = answer(problem_of(error))
        route = getattr(request.scope.get("route"), "path", "other")
        service.metrics.requests.labels(route, response.status_code).inc()
        return response

    return count


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["probes"])
    async def health() -> dict[str, str]:
        """Answers as long as the server lives."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready", tags=["probes"])
    async def ready() -> JSONResponse:
        """200 while work is taken, 503 while the queue is full or the service stops."""
        state = {"waiting": service.queue.waiting, "running": service.queue.running}
        return JSONResponse(state, 200 if service.queue.has_room else 503)

    @app.get("/metrics", tags=["probes"])
    async def metrics() -> Response:
        """In Prometheus' text format."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _caller(service: Service) -> Callable[[Request], Caller]:
    def identify(request: Request) -> Caller:
        return service.access.identify(request.headers.get("authorization"))

    return identify


async def _read_json(request: Request) -> dict[str, Any]:
    media_type = request.headers.get("content-type", "application/json")
    if not _JSON_TYPE.fullmatch(media_type.strip()):
        raise ProblemError(415, f"the body is {media_type:.100}; send application/json in UTF-8")
    return parse_json(await request.body())


def _add_predict(app: FastAPI, service: Service) -> None:
    caller, body = Depends(_caller(service)), Depends(_read_json)

    @app.post("/predict", tags=["predict"], responses=RESPONSES, openapi_extra=PREDICT_BODY)
    def predict(request: Request, who: Caller = caller, content: dict[str, Any] = body) -> Response:
        """Predict an image; answers with the STAC Item, which lies in S3 by then."""
        wanted = parse_request(content)
        is_async = _prefers_async(request, service)
        return _answer_ticket(request, service.submit(who, wanted, is_async=is_async), is_async=is_async)


def _add_processes(app: FastAPI, service: Service) -> None:
    caller, body = Depends(_caller(service)), Depends(_read_json)
    has_jobs = service.has_jobs

    @app.get("/", tags=["OGC API - Processes"])
    async def landing(request: Request) -> dict[str, Any]:
        """The first document."""
        return ogc.landing_page(_base(request), has_jobs=has_jobs)

    @app.get("/conformance", tags=["OGC API - Processes"])
    async def conformance() -> dict[str, Any]:
        """The conformance classes that hold."""
        return ogc.conformance(has_jobs=has_jobs)

    @app.get("/processes", tags=["OGC API - Processes"])
    async def processes(request: Request) -> dict[str, Any]:
        """The processes, of which there is one."""
        _read_limit(request)
        return ogc.process_list(_base(request), has_jobs=has_jobs)

    @app.get("/processes/{process_id}", tags=["OGC API - Processes"], responses=RESPONSES)
    async def process(request: Request, process_id: str) -> dict[str, Any]:
        """What the process takes and gives."""
        return ogc.process(_base(request), process_id, has_jobs=has_jobs)

    @app.post(
        "/processes/{process_id}/execution",
        tags=["OGC API - Processes"],
        responses=RESPONSES,
        openapi_extra=EXECUTE_BODY,
    )
    def execute(
        request: Request, process_id: str, who: Caller = caller, content: dict[str, Any] = body
    ) -> Response:
        """Execute the process, and wait; with `Prefer: respond-async`, as a job."""
        ogc.require_process(process_id)
        inputs, response = ogc.read_execution(content)
        wanted = parse_request(inputs)
        is_async = _prefers_async(request, service)
        ticket = service.submit(who, wanted, response, is_async=is_async)
        return _answer_ticket(request, ticket, is_async=is_async)


def _add_jobs(app: FastAPI, service: Service) -> None:
    caller = Depends(_caller(service))

    @app.get("/jobs", tags=["jobs"], responses=RESPONSES, openapi_extra=JOB_FILTERS)
    def jobs(request: Request, who: Caller = caller) -> dict[str, Any]:
        """The caller's jobs, the newest first."""
        limit = _read_limit(request)
        found = select_jobs(service.list_jobs(who), request.query_params)
        told = [ogc.status_info(_base(request), job) for job in found[:limit]]
        return {"jobs": told, "links": [ogc.link(_base(request), "/jobs", "self")]}

    @app.get("/jobs/{job_id}", tags=["jobs"], responses=RESPONSES)
    def status(request: Request, job_id: str, who: Caller = caller) -> dict[str, Any]:
        """How a job stands."""
        return ogc.status_info(_base(request), service.find(who, job_id))

    @app.get("/jobs/{job_id}/results", tags=["jobs"], responses=RESPONSES)
    def results(job_id: str, who: Caller = caller) -> Response:
        """The result of a job that went well; of one that failed, why."""
        job = service.find(who, job_id)
        if job.status == "successful" and job.item is not None:
            content, media_type = ogc.result(job, job.item)
            return JSONResponse(content, media_type=media_type)
        if job.problem is not None:
            told = job.problem
            raise ProblemError(told.status, told.detail, told.type, told.title)
        if job.status == "dismissed":
            raise ProblemError(410, f"the job {job_id} was dismissed")
        raise ProblemError(
            404, f"the job {job_id} is {job.status}; ask again later", NOT_READY, "Result not ready"
        )

    @app.delete("/jobs/{job_id}", tags=["jobs"], responses=RESPONSES)
    def dismiss(request: Request, job_id: str, who: Caller = caller) -> dict[str, Any]:
        """Cancel a job, or forget one that is finished."""
        return ogc.status_info(_base(request), service.dismiss(who, job_id))


def _answer_ticket(request: Request, ticket: Ticket, *, is_async: bool) -> Response:
    if is_async:
        headers = {
            "Location": f"{_base(request)}/jobs/{ticket.job.job_id}",
            "Preference-Applied": "respond-async",
            "Vary": "Prefer",
        }
        return JSONResponse(ogc.status_info(_base(request), ticket.job), 201, headers)
    content, media_type = ogc.result(ticket.job, ticket.result.result())
    return JSONResponse(content, media_type=media_type)


def _prefers_async(request: Request, service: Service) -> bool:
    """RFC 7240; what is not known is ignored."""
    wishes = ",".join(request.headers.getlist("prefer")).lower()
    names = [wish.partition(";")[0].strip() for wish in wishes.split(",")]
    return service.has_jobs and "respond-async" in names


def _read_limit(request: Request) -> int:
    text = request.query_params.get("limit", "10")
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST_LISTED:
        raise ProblemError(400, f"limit is '{text:.50}'; give a number from 1 to {_MOST_LISTED}")
    return int(text)


_MOST_LISTED = 1000


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
