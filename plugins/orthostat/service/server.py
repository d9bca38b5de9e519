"""The server of the API: it says no to new work, ends what runs, and then itself."""

import logging
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from orthostat.service.service import Service

log = logging.getLogger(__name__)

_GRACE_SECONDS = 20.0
"""For running work, when the service is told to end; Kubernetes kills after 30."""
_LARGEST_HEADER = 16 * 1024


class Server(uvicorn.Server):
    """Tells the service to end before it closes connections, whose clients still get an answer."""

    def __init__(self, service: Service, app: FastAPI, host: str, port: int):
        """Listen on `host` and `port`."""
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                http="h11",
                h11_max_incomplete_event_size=_LARGEST_HEADER,
                timeout_graceful_shutdown=int(_GRACE_SECONDS) + 5,
            )
        )
        self._service = service
        self._ending: threading.Thread | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for SIGINT and SIGTERM."""
        if self._ending is None:
            log.info("stopping: no new work; what runs has %.0f s", _GRACE_SECONDS)
            self._ending = threading.Thread(target=self._end, args=(sig, frame))
            self._ending.start()
        else:
            super().handle_exit(sig, frame)

    def wait(self) -> None:
        """Serve until told to end."""
        try:
            self.run()
        finally:
            if self._ending is None:
                self._service.stop(0)
            else:
                self._ending.join()

    def _end(self, sig: int, frame: FrameType | None) -> None:
        self._service.stop(_GRACE_SECONDS)
        super().handle_exit(sig, frame)
