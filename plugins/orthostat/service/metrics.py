"""What Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from orthostat.service.models import WarmModels
from orthostat.service.work_queue import WorkQueue

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """Counters of requests and jobs, and gauges of the queue and the models."""

    def __init__(self, queue: WorkQueue, models: WarmModels):
        """A registry of its own: several services may live in one process."""
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "orthostat_http_requests",
            "Answers by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self.jobs = Counter("orthostat_jobs", "Jobs by how they ended.", ("status",), registry=self._registry)
        self.seconds = Histogram(
            "orthostat_job_seconds", "From acceptance to end.", buckets=_SECONDS, registry=self._registry
        )
        gauges = {
            "orthostat_queue_length": ("Jobs that wait.", lambda: queue.waiting),
            "orthostat_jobs_running": ("Jobs that are worked on.", lambda: queue.running),
            "orthostat_warm_models": ("Models that are loaded.", lambda: models.count),
            "orthostat_model_memory_bytes": ("Memory of their processes.", lambda: models.memory_mb * 1e6),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)
