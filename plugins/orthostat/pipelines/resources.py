"""What the pods of a pipeline ask of the cluster."""

import re
import string
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_UNITS: dict[str, Decimal] = {"": Decimal(1), "m": Decimal("0.001")} | {
    f"{prefix}{binary}": Decimal(1024 if binary else 1000) ** power
    for power, prefix in enumerate("KMGTPE", start=1)
    for binary in ("", "i")
}
_UNITS["k"] = _UNITS.pop("K")
_LEAST_BYTES = 1e6
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|k|Ki|[MGTPE]i?)?$")]
"""Of Kubernetes: `500m`, `4`, `16Gi`."""


def amount(quantity: str) -> float:
    """A quantity as a number: cores, or bytes. Raises ValueError for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", quantity)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"'{quantity}' is no quantity; write e.g. 500m, 4 or 16Gi")
    return float(Decimal(match[1]) * _UNITS[match[2]])


class Toleration(BaseModel):
    """A taint of nodes on which pods may run all the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


def _in_bytes(quantity: str) -> str:
    """A forgotten unit is a pod of a few bytes. Raises ValueError."""
    if amount(quantity) < _LEAST_BYTES:
        raise ValueError(
            f"is {amount(quantity):g} bytes; write the unit, e.g. {quantity.rstrip(string.ascii_letters)}Gi"
        )
    return quantity


Bytes = Annotated[Quantity, AfterValidator(_in_bytes)]
"""A quantity of memory or disk: `16Gi`."""
Image = Annotated[str, Field(pattern=r"^[^\s]+$")]


class PodSize(BaseModel):
    """What a pod without a GPU asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: Quantity = "2"
    memory: Bytes = "8Gi"
    scratch: Bytes = "20Gi"
    """Size of the pod's only writable folder."""


class Resources(BaseModel):
    """What one predict pod asks of the cluster, and in `stats` one that composes or tabulates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Image = "orthostat-predict:latest"
    stats_image: Image = "orthostat-stats:latest"
    namespace: str = "orthostat"
    gpu: Annotated[int, Field(ge=0)] = 1
    cpu: Quantity = "4"
    memory: Bytes = "16Gi"
    scratch: Bytes = "20Gi"
    """Size of the pod's only writable folder."""
    stats: PodSize = PodSize()
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    """Of predict pods, besides that of `nvidia.com/gpu`."""
    spot: bool = False
    """Whether predict pods may run on spot nodes."""
    priority_class: str | None = None
    """Of nightly and manual runs, such as `orthostat-nightly`."""
    backfill_priority_class: str | None = None
    """Of backfills, such as `orthostat-backfill`; `priority_class` when left out."""
    service_account: str | None = None
    """Of the pods; the namespace's `default` when left out."""
    environment_secret: str | None = "orthostat-s3"
    """Secret whose keys become the pods' environment (S3 credentials); null for none."""
    image_pull_secret: str | None = None
    pool: str = "gpu"
    """Airflow pool that bounds predict pods, whichever pipeline's; made when it is not there."""
    stats_pool: str = "stats"
    """Airflow pool that bounds the other pods."""
