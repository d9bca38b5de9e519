"""The environment of everything that runs on this machine's services."""

import json
import os
import sys
from pathlib import Path

from orthostat import settings
from orthostat.local import configuration, postgres
from orthostat.local.configuration import Configuration
from orthostat.statistics import AIRFLOW, WORKER

UNWANTED = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")
"""Variables that would lead boto3 past the local S3 server."""
_CORES = os.cpu_count() or 2


def environment(local_dir: Path) -> dict[str, str]:
    """The caller's environment with the services' variables: for child processes, the demo and tests."""
    return {**inherited(), **service_settings(local_dir)}


def inherited() -> dict[str, str]:
    """The caller's environment, with this Python's programs on PATH and no proxy before the loopback."""
    variables = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    variables.pop("KUBECONFIG", None)  # the cluster is the one that was given, or none
    here = str(Path(sys.executable).parent)
    folders = variables.get("PATH", os.defpath).split(os.pathsep)
    variables["PATH"] = os.pathsep.join([here, *(folder for folder in folders if folder != here)])
    direct = [*variables.get("NO_PROXY", "").split(","), "127.0.0.1", "localhost"]
    variables["NO_PROXY"] = variables["no_proxy"] = ",".join(dict.fromkeys(host for host in direct if host))
    return variables


def service_settings(local_dir: Path) -> dict[str, str]:
    """The variables that lead to the services of `local_dir`: S3, statistics database, Airflow."""
    local_dir = local_dir.resolve()
    chosen = configuration.read(local_dir)
    return {
        **_s3_variables(chosen),
        **_cluster_variables(chosen),
        "ORTHOSTAT_DATABASE_URL": postgres.url(local_dir, "orthostat", "psycopg", WORKER),
        "ORTHOSTAT_ENGINE": chosen.engine,
        "ORTHOSTAT_LOCAL_DIR": str(local_dir),
        "ORTHOSTAT_DAGS_DIR": str(settings.dags_dir().resolve()),
        "ORTHOSTAT_PIPELINES_DIR": str(settings.pipelines_dir().resolve()),
        "AIRFLOW_HOME": str(local_dir / "airflow"),
        **{f"AIRFLOW__{name}": value for name, value in _airflow_options(local_dir, chosen).items()},
    }


def _s3_variables(chosen: Configuration) -> dict[str, str]:
    if chosen.s3 is not None:
        return chosen.s3
    return {
        "AWS_ENDPOINT_URL_S3": chosen.s3_endpoint,
        "AWS_ACCESS_KEY_ID": chosen.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": chosen.s3_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _cluster_variables(chosen: Configuration) -> dict[str, str]:
    """Airflow's connection to the cluster: the path of the file, so that no secret is copied."""
    if chosen.kubeconfig is None:
        return {}
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": chosen.kubeconfig}}
    return {"AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection), "KUBECONFIG": chosen.kubeconfig}


def _airflow_options(local_dir: Path, chosen: Configuration) -> dict[str, str]:
    """Airflow's options as SECTION__OPTION, where its defaults do not suit one small machine."""
    return {
        "CORE__EXECUTOR": "LocalExecutor",
        # A task is a process of its own: more of them than cores, as tasks also wait for S3 and the database.
        "CORE__PARALLELISM": str(min(2 * _CORES, 8)),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(settings.dags_dir().resolve()),
        "CORE__PLUGINS_FOLDER": str(Path(settings.__file__).parents[1]),
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__FERNET_KEY": chosen.fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{configuration.USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_path(local_dir)),
        "CORE__EXECUTION_API_SERVER_URL": f"{chosen.address}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": postgres.url(local_dir, "airflow", "psycopg2", AIRFLOW),
        # `up` has migrated; each of four services would look again, for seconds.
        "DATABASE__CHECK_MIGRATIONS": "False",
        "API__HOST": "127.0.0.1",
        "API__PORT": str(chosen.api_port),
        "API__BASE_URL": chosen.address,
        "API__WORKERS": "1",
        "API__SECRET_KEY": chosen.session_secret,
        "API__INSTANCE_NAME": "Orthostat",
        "API_AUTH__JWT_SECRET": chosen.jwt_secret,
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
        # On a machine that is busy predicting, imports of a second may take a minute.
        "CORE__DAGBAG_IMPORT_TIMEOUT": "180",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": "600",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # Tasks that a `down` killed are retried after the next `up`, not five minutes later.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "WORKERS__EXECUTION_API_TIMEOUT": "30",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def password_path(local_dir: Path) -> Path:
    """The file in which Airflow's simple auth manager looks up passwords."""
    return local_dir / "airflow" / "passwords.json"
