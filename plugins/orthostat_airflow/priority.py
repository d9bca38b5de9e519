"""Whose turn it is where a pool is full: what is due tomorrow comes before the figures of past years."""

from typing import Any

from airflow.task.priority_strategy import PriorityWeightStrategy
from airflow.utils.types import DagRunType

BACKFILL, OTHERS = 1, 10


class BackfillsLast(PriorityWeightStrategy):
    """Tasks of backfills wait for all others; Airflow alone would take the oldest dates first."""

    def get_weight(self, ti: Any) -> int:
        """The weight of a task by the kind of its run."""
        is_backfill = DagRunType.from_run_id(ti.run_id or "") == DagRunType.BACKFILL_JOB
        return BACKFILL if is_backfill else OTHERS


BACKFILLS_LAST = f"{BackfillsLast.__module__}.{BackfillsLast.__qualname__}"
"""The rule as a task names it; Airflow finds it in the plugin."""
