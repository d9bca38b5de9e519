"""What is done to a pipeline that runs: one fault after the other, in an order that a seed decides."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orthostat.errors import ServiceError
from orthostat.local import airflow_service, process, services
from tests.cluster.conftest import Cluster
from tests.cluster.kubectl import attempt, get
from tests.cluster.relay import Relay

AWAY_S = 30
_PAUSE_S = (3, 10)


@dataclass(frozen=True)
class Faults:
    """The cluster's Airflow, and what can go wrong with it."""

    cluster: Cluster
    api: Relay
    """Airflow's way to the Kubernetes API."""
    dag_id: str
    random: random.Random
    done: list[str] = field(default_factory=list)
    """What was done, in order, with how many pods there were then."""

    def do_all(self, fail_and_clear: Callable[[], None]) -> None:
        """Everything once, each after a killed pod."""
        faults: dict[str, Callable[[], None]] = {
            "PostgreSQL away": self.stop_postgres,
            "scheduler killed": lambda: self.kill("scheduler"),
            "triggerer killed": lambda: self.kill("triggerer"),
            "Kubernetes API away": self.cut_api,
            "run failed by hand and cleared": fail_and_clear,
        }
        for name in self.random.sample(sorted(faults), len(faults)):
            self.kill_pod()
            time.sleep(self.random.uniform(*_PAUSE_S))
            assert self.is_under_way(), f"no run is under way that '{name}' could disturb"
            self.note(name)
            faults[name]()
            time.sleep(self.random.uniform(*_PAUSE_S))

    def is_under_way(self) -> bool:
        """Whether a run has not ended."""
        return any(
            run.state not in {"success", "failed"} for run in self.cluster.client.dag_runs(self.dag_id)
        )

    def note(self, name: str) -> None:
        """Remember and print it: who watches sees what the run goes through."""
        self.done.append(name)
        print(f"{time.strftime('%H:%M:%S')} {name}, with {len(self.pods())} pods", flush=True)

    def pods(self) -> list[str]:
        """Names of the pods that run or will."""
        found = get("pods", "-n", self.cluster.namespace)["items"]
        return [pod["metadata"]["name"] for pod in found if pod["status"]["phase"] in {"Pending", "Running"}]

    def kill_pod(self) -> None:
        """Delete a pod at once, as a node's end does; waits until there is one, or nothing is under way."""
        deadline = time.monotonic() + 300
        while not (pods := self.pods()) and self.is_under_way() and time.monotonic() < deadline:
            time.sleep(1)
        if pods:
            self.note("pod killed")
            chosen = self.random.choice(sorted(pods))
            attempt("-n", self.cluster.namespace, "delete", "pod", chosen, "--grace-period=0", "--force")

    def stop_postgres(self) -> None:
        """Without Airflow's metadata and the statistics; what gives up is started again after it."""
        services.stop_postgres(self.cluster.local_dir)
        time.sleep(AWAY_S)
        services.start(self.cluster.local_dir)

    def kill(self, name: str) -> None:
        """SIGKILL to one of Airflow's programs, and its start as whoever watches over it would do."""
        [program] = [p for p in airflow_service.programs(self.cluster.local_dir) if p.name == name]
        found = process.find(program)
        if found is None:
            raise ServiceError(f"{name} does not run before its turn to be killed")
        found.kill()
        found.wait()
        services.start(self.cluster.local_dir)

    def cut_api(self) -> None:
        """The Kubernetes API is away for Airflow; its pods go on."""
        with self.api.away():
            time.sleep(AWAY_S)
