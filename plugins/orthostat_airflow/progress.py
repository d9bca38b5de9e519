"""How far a step is, told to Airflow while it works."""

import logging
import time
from typing import Any

from orthostat_airflow.notes import PROGRESS, read_progress

_TELL_S = 10
"""Seconds between two words."""


class Progress(logging.Handler):
    """Reads a step's log, and says now and then how much of its work is done."""

    def __init__(self, ti: Any) -> None:
        """`ti` is the step's task instance."""
        super().__init__()
        self._ti = ti
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Read a line. That it cannot be told stops no work."""
        progress = read_progress(record.getMessage())
        if progress and (time.monotonic() - self._told > _TELL_S or progress["done"] == progress["of"]):
            self._told = time.monotonic()
            try:
                self._ti.xcom_push(PROGRESS, progress)
            except Exception:
                self.handleError(record)
