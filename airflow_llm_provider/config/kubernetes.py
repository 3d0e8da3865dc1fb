"""What ``orchestrator.yaml`` says of a cluster: the section ``kubernetes``.

The components do not read it; values for the official Apache Airflow chart and the manifests beside it are rendered from it
(``llm-orchestrator config render helm``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from airflow_llm_provider import __version__
from airflow_llm_provider.config.section import Cpus, Port, Section, Size

__all__ = ["GitSync", "Ingress", "Kubernetes", "PodResources", "Replicas"]

_GIB = 1024**3

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A name as Kubernetes has it: a label of DNS."""


class PodResources(Section):
    """What pods of one kind ask for, and get at most.

    Attributes:
        cpu_request: Processors that a pod is promised.
        cpu_limit: Processors that it gets at most.
        memory_request: Memory that it is promised.
        memory_limit: Memory that it gets at most.
    """

    cpu_request: Cpus = 0.5
    cpu_limit: Cpus = 2.0
    memory_request: Size = _GIB // 2
    memory_limit: Size = 2 * _GIB

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        # Kubernetes itself says so only when the pod is made.
        for what in ("cpu", "memory"):
            if getattr(self, f"{what}_request") > getattr(self, f"{what}_limit"):
                raise ValueError(f"'{what}_request' is more than '{what}_limit'; change one of them")
        return self


class Replicas(Section):
    """How many pods of one kind there are.

    Attributes:
        least: At least so many.
        most: At most so many.
        cpu: Percent of the promised processors from which on there are more.
        memory: Percent of the promised memory from which on there are more; by default memory does not count.
        resources: What each asks for.
    """

    least: int = Field(default=1, ge=0)
    most: int = Field(default=1, ge=1)
    cpu: int = Field(default=80, ge=1, le=100)
    memory: int | None = Field(default=None, ge=1, le=100)
    resources: PodResources = PodResources()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"'least' is {self.least}, more than 'most', {self.most}; change one of them")
        return self


class GitSync(Section):
    """Where workflow files come from: section ``kubernetes.git``.

    Attributes:
        repository: The repository's URL, ``https://…`` or ``git@…``. Without it they are in the image.
        branch: The branch.
        folder: Their folder in it.
        secret: The Secret with the name and password of who reads it, or with the ssh key; what everybody may read needs none.
        known_hosts: The host's keys, as lines of ssh's ``known_hosts``; without them an ssh host is believed.
    """

    repository: str | None = None
    branch: str = "main"
    folder: str = "dags"
    secret: str | None = None
    known_hosts: str | None = None

    @property
    def by_ssh(self) -> bool:
        """Whether the repository is read by ssh: ``ssh://host/path``, or ``user@host:path``."""
        return bool(self.repository) and re.match(r"ssh://|[\w.-]+@[^/]+:", self.repository or "") is not None


class Ingress(Section):
    """How people come in: section ``kubernetes.ingress``.

    Attributes:
        host: The name; without one there is no ingress.
        class_name: Which controller.
        namespace: Where the controller's pods are.
        cluster_issuer: Which issuer of cert-manager makes the certificate.
        annotations: What else the controller is told; by default nginx takes requests of up to 16 MB, where its own limit is 1 MB.
    """

    host: str | None = None
    class_name: str = "nginx"
    namespace: Name = "ingress-nginx"
    cluster_issuer: str = "letsencrypt-prod"
    annotations: Mapping[str, str] = Field(default={"nginx.ingress.kubernetes.io/proxy-body-size": "16m"})


class Kubernetes(Section):
    """Section ``kubernetes``.

    Attributes:
        namespace: Where everything is.
        image: The image, without its tag.
        tag: The image's tag.
        pull_secret: The Secret by which the image is fetched; a registry that everybody may read needs none.
        secret: The Secret with what the file's variables stand for, and what Airflow needs; its keys are in the docs.
        secret_store: The ClusterSecretStore of External Secrets that it is made from; by default you make it.
        autoscaler: What adds workers: load (``hpa``), the number of tasks that wait (``keda``), or nobody.
        api: API servers.
        workers: Celery's workers.
        schedulers: How many schedulers.
        triggerers: How many triggerers.
        components: What each scheduler, DAG processor and triggerer, and the migration, ask for.
        account_annotations: Annotations of the service accounts, such as the role of a cloud by which pods reach object storage.
        ingress: How people come in.
        git: Where workflow files come from.
        egress_ports: Ports that pods may reach besides those of the addresses in the file, such as that of a database which only
            a variable names.
        dns_namespace: Where the pods are that know names; empty where something on each node does, such as NodeLocal DNSCache.
        dns_ports: Their ports.
        api_ports: Ports of the Kubernetes API, besides 443.
        prometheus_namespace: Where the Prometheus is that may read the numbers.
        service_monitor: Labels by which the Prometheus Operator finds the ServiceMonitor that says where they are, such as
            ``{release: prometheus}``; without any there is none.
    """

    namespace: Name = "llm-orchestrator"
    image: str = "llm-orchestrator"
    tag: str = __version__
    pull_secret: str | None = None
    secret: Name = "orchestrator-secrets"
    secret_store: str | None = None
    autoscaler: Literal["hpa", "keda", "none"] = "hpa"
    api: Replicas = Replicas(least=3, most=10, cpu=70, memory=80)
    workers: Replicas = Replicas(
        least=5,
        most=20,
        resources=PodResources(cpu_request=1.0, cpu_limit=4.0, memory_request=2 * _GIB, memory_limit=8 * _GIB),
    )
    schedulers: int = Field(default=2, ge=1)
    triggerers: int = Field(default=1, ge=1)
    components: PodResources = PodResources(cpu_request=0.25)
    account_annotations: Mapping[str, str] = Field(default_factory=dict)
    ingress: Ingress = Ingress()
    git: GitSync = GitSync()
    egress_ports: tuple[Port, ...] = ()
    dns_namespace: Name | None = "kube-system"
    dns_ports: tuple[Port, ...] = (53,)
    api_ports: tuple[Port, ...] = (6443,)
    prometheus_namespace: Name = "monitoring"
    service_monitor: Mapping[str, str] = Field(default_factory=dict)
