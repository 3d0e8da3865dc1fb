"""What ``airflow: {pod: …}`` says of the pod that a task runs in, where Airflow's Kubernetes executor starts one for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from airflow_llm_provider.errors import ConfigurationError
from dag_factory.models import Model, Text, json_type

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

__all__ = ["Pod", "pod_override"]

CONTAINER = "base"
"""The container that runs the task; Airflow's name for it."""

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[kMGT]|[KMGT]i)?", re.ASCII)
_UNITS: dict[str | None, float] = {None: 1.0, "m": 1e-3, **{unit: 1000.0**n for n, unit in enumerate("kMGT", 1)}}
_UNITS |= {f"{unit}i": 1024.0**n for n, unit in enumerate("KMGT", 1)}


def _between(least: str, most: str, example: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        amount = _amount(value)
        if amount is None:
            raise ValueError(f"{value!r} is no amount; write {example}")
        if not (_amount(least) or 0) <= amount <= (_amount(most) or 0):
            raise ValueError(f"{value!r} is not between {least} and {most}")
        return value

    return check


def _amount(value: str) -> float | None:
    found = _QUANTITY.fullmatch(value.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None


_AMOUNT = json_type({"type": ["string", "number"], "pattern": f"^{_QUANTITY.pattern}$"})

Cpu = Annotated[str, AfterValidator(_between("0.1", "64", "a number of cores such as 0.5, or 500m")), _AMOUNT]
"""Cores (workflow-language section 9: 0.1 to 64)."""

Memory = Annotated[str, AfterValidator(_between("128Mi", "256Gi", "a number with a unit, such as 512Mi")), _AMOUNT]
"""Memory in bytes or with a unit (workflow-language section 9: 128Mi to 256Gi)."""


class Toleration(Model):
    """A taint of nodes that the pod tolerates; names and meanings are those of Kubernetes."""

    key: Text | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, alias="tolerationSeconds")


class Pod(Model):
    """The pod of a task; what is not said is as the executor's pod template has it.

    Attributes:
        cpu: Cores that are reserved.
        memory: Memory that is reserved.
        cpu_limit: Most cores.
        memory_limit: Most memory.
        image: Container image.
        service_account: Service account that the pod runs as.
        labels: Labels of the pod.
        annotations: Annotations of the pod.
        node_selector: Labels that the node must have.
        tolerations: Taints of nodes that the pod tolerates.
    """

    cpu: Cpu | None = None
    memory: Memory | None = None
    cpu_limit: Cpu | None = None
    memory_limit: Memory | None = None
    image: Text | None = None
    service_account: Text | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)


def pod_override(settings: Mapping[str, Any]) -> V1Pod:
    """Give the pod as the Kubernetes executor takes it, in ``executor_config``.

    Args:
        settings: What is said of the pod, by the names of :class:`Pod`'s attributes.

    Raises:
        ConfigurationError: The Kubernetes client is not installed.
    """
    try:
        from kubernetes import client
    except ImportError:
        raise ConfigurationError(
            "settings of a pod need the Kubernetes client; install airflow-llm-provider[kubernetes]"
        ) from None
    pod = Pod.model_validate(settings)
    requests = {"cpu": pod.cpu, "memory": pod.memory}
    limits = {"cpu": pod.cpu_limit, "memory": pod.memory_limit}
    resources = {
        name: {what: amount for what, amount in amounts.items() if amount is not None} or None
        for name, amounts in (("requests", requests), ("limits", limits))
    }
    container = client.V1Container(
        name=CONTAINER, image=pod.image, resources=client.V1ResourceRequirements(**resources)
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(labels=pod.labels or None, annotations=pod.annotations or None),
        spec=client.V1PodSpec(
            containers=[container],
            service_account_name=pod.service_account,
            node_selector=pod.node_selector or None,
            tolerations=[client.V1Toleration(**item.model_dump()) for item in pod.tolerations] or None,
        ),
    )
