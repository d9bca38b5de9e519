"""What is refused before anything is parsed: foreign hosts, large or packed bodies."""

import asyncio
import re
from collections.abc import Collection
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orthostat.service.problems import ProblemError, answer

MOST_BYTES = 64 * 1024
"""Of a body."""
_SECONDS = 30
"""For each part of a body."""
_OPEN = {"/health", "/ready", "/metrics"}
"""Asked for by address, by probes that know no name."""


class Shield:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()):
        """`hosts` are the names that requests may be sent to, any when empty."""
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; hand on the rest, whose body is whole and small."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_headers(scope["path"], headers)
            body = await _read_body(receive)
        except ProblemError as problem:
            await answer(problem)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _check_headers(self, path: str, headers: dict[bytes, str]) -> None:
        host = re.sub(r":\d+$", "", headers.get(b"host", "")).strip("[]").lower()
        if self._hosts and host not in self._hosts and path not in _OPEN:
            raise ProblemError(400, f"requests for the host '{host:.100}' are not answered (--trusted-host)")
        if headers.get(b"content-encoding", "identity") != "identity":
            raise ProblemError(415, "packed bodies are not read; send the JSON as it is")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length[:20]) > MOST_BYTES:
            raise _too_large()


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        try:
            message = await asyncio.wait_for(receive(), _SECONDS)
        except TimeoutError as error:
            raise ProblemError(408, f"the body did not come within {_SECONDS} s; send it again") from error
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return body


def _too_large() -> ProblemError:
    return ProblemError(413, f"the body is larger than {MOST_BYTES} bytes; send addresses, not data")


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
