"""What Airflow's official Helm chart 1.22.0 makes of a component, as a pod: its arguments, probes, mounts,
variables, user and security contexts, with the values in config/helm.

A pod stands for a Deployment, StatefulSet or Job.
"""

import configparser
import io
from dataclasses import dataclass
from typing import Any

import yaml

from tests.cluster.chart.components import API_SERVER, PORT, SCHEDULER, WORKER, Component

HOME = "/opt/airflow"


@dataclass(frozen=True)
class Chart:
    """A release called `airflow` of the chart in a namespace, with these values."""

    namespace: str
    image: str
    values: dict[str, Any]
    api_server: tuple[str, int] | None = None
    """Where pods reach the Kubernetes API, on a cluster whose Service `kubernetes` leads nowhere."""

    def render_config(self) -> dict[str, Any]:
        """The ConfigMap: what the chart sets by itself, then `config` of the values."""
        parser = configparser.ConfigParser(interpolation=None)
        core = {
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "dags_folder": f"{HOME}/dags",
            "execution_api_server_url": f"http://airflow-api-server:{PORT}/execution/",
            "executor": self.values["executor"],
            "load_examples": "False",
        }
        own = {"core": core, "logging": {"colored_console_log": "False"}, "metrics": {"statsd_on": "False"}}
        for made in (own, self.values["config"]):
            for section, entries in made.items():
                parser.read_dict({section: entries})
        written = io.StringIO()
        parser.write(written)
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "airflow-config", "namespace": self.namespace},
            "data": {"airflow.cfg": written.getvalue(), "pod_template_file.yaml": ""},
        }

    def render_pod(self, component: Component, **overrides: str) -> dict[str, Any]:
        """The pod. `overrides` are variables of its log groomer."""
        mounts, env = self._mounts(component), self._environment(component)
        containers = [self._container(component.name, component.args, mounts, env) | self._probes(component)]
        if component.logs:
            containers.append(self._groomer(component, overrides))
        wait = ["airflow", "db", "check-migrations", "--migration-wait-timeout=60"]
        pod = {
            "serviceAccountName": f"airflow-{component.name}",
            "securityContext": self.values["securityContexts"]["pod"],
            "terminationGracePeriodSeconds": component.grace_s,
            "restartPolicy": "Always" if component.probes else "Never",
            "containers": containers,
            "volumes": [
                {"name": "config", "configMap": {"name": "airflow-config"}},
                *([{"name": "logs", "emptyDir": {}}] if component.logs else []),
                *self.values["volumes"],
            ],
        }
        if self.api_server is not None:
            alias = {
                "ip": self.api_server[0],
                "hostnames": ["kubernetes.default"],
            }  # a name of its certificate
            pod["hostAliases"] = [alias]
        if component.waits:
            pod["initContainers"] = [self._container("wait-for-airflow-migrations", wait, mounts, env)]
        metadata = {"name": component.name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}

    def _mounts(self, component: Component) -> list[dict[str, Any]]:
        config = {"name": "config", "readOnly": True}
        mounts = [config | {"mountPath": f"{HOME}/airflow.cfg", "subPath": "airflow.cfg"}]
        if component is SCHEDULER:
            template = "pod_template_file.yaml"
            mounts.append(config | {"mountPath": f"{HOME}/pod_templates/{template}", "subPath": template})
        if component.logs:
            mounts.append({"name": "logs", "mountPath": f"{HOME}/logs"})
        return mounts + list(self.values["volumeMounts"])

    def _container(
        self, name: str, args: list[str], mounts: list[dict[str, Any]], env: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Without a command: the image's entry point runs in front of the arguments."""
        return {
            "name": name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "env": env,
            "envFrom": yaml.safe_load(self.values["extraEnvFrom"]),
            "securityContext": self.values["securityContexts"]["containers"],
            "resources": self._resources(name),
            "volumeMounts": mounts,
        }

    def _groomer(self, component: Component, overrides: dict[str, str]) -> dict[str, Any]:
        mounts = [{"name": "logs", "mountPath": f"{HOME}/logs"}]
        variables = {"AIRFLOW__LOG_RETENTION_DAYS": "15", "AIRFLOW__LOG_CLEANUP_FREQUENCY_MINUTES": "15"}
        env = [{"name": key, "value": value} for key, value in (variables | overrides).items()]
        name, args = f"{component.name}-log-groomer", ["bash", "/clean-logs"]
        return self._container(name, args, mounts, [{"name": "AIRFLOW_HOME", "value": HOME}, *env])

    def _environment(self, component: Component) -> list[dict[str, Any]]:
        values = self.values
        builtin = {
            "AIRFLOW__CORE__FERNET_KEY": (values["fernetKeySecretName"], "fernet-key"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (values["data"]["metadataSecretName"], "connection"),
            "AIRFLOW_CONN_AIRFLOW_DB": (values["data"]["metadataSecretName"], "connection"),
            "AIRFLOW__API__SECRET_KEY": (values["apiSecretKeySecretName"], "api-secret-key"),
        }
        if component in (API_SERVER, SCHEDULER):
            builtin["AIRFLOW__API_AUTH__JWT_SECRET"] = (values["jwtSecretName"], "jwt-secret")
        own = {entry["envName"]: (entry["secretName"], entry["secretKey"]) for entry in values["secret"]}
        api_server = {}
        if self.api_server is not None:
            api_server = {
                "KUBERNETES_SERVICE_HOST": "kubernetes.default",
                "KUBERNETES_SERVICE_PORT": str(self.api_server[1]),
            }
        return [
            *values["env"],
            *self.component_env(component),
            *({"name": name, "value": value} for name, value in api_server.items()),
            {"name": "AIRFLOW_HOME", "value": HOME},
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
                for name, (secret, key) in (builtin | own).items()
            ),
        ]

    def component_env(self, component: Component) -> list[dict[str, Any]]:
        """The variables that the values give to this component alone."""
        variables: list[dict[str, Any]] = self._own(component).get("env", [])
        return variables

    def _probes(self, component: Component) -> dict[str, Any]:
        own = self._own(component)
        return {name: probe | own.get(name, {}) for name, probe in component.probes.items()}

    def _own(self, component: Component) -> dict[str, Any]:
        """The values of this component alone."""
        values: dict[str, Any] = (
            self.values["workers"]["celery"]
            if component is WORKER
            else self.values.get(_key(component.name), {})
        )
        return values

    def _resources(self, name: str) -> dict[str, Any]:
        """The limits of the values; the requests of a test's small node."""
        given = self.values.get(_key(name), {}).get("resources", {})
        return {"requests": {"cpu": "50m", "memory": "64Mi"}} | {
            k: v for k, v in given.items() if k == "limits"
        }


def _key(name: str) -> str:
    """Of a component's values."""
    return {"api-server": "apiServer", "dag-processor": "dagProcessor", "worker": "workers"}.get(name, name)
