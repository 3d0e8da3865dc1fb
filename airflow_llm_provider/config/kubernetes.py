"""What ``orchestrator.yaml`` says of a cluster: the section ``kubernetes``.

The components do not read it; values for the official Apache Airflow chart and the manifests beside it are rendered from it
(``llm-orchestrator config render helm``).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from airflow_llm_provider.config.section import OptionalText, Port, Section

__all__ = ["GitSync", "Ingress", "Kubernetes", "PodResources", "Replicas"]


class PodResources(Section):
    """What pods of one kind ask for, and get at most.

    Attributes:
        cpu_request: Processors that a pod is promised.
        cpu_limit: Processors that it gets at most.
        memory_request: Memory that it is promised.
        memory_limit: Memory that it gets at most.
    """

    cpu_request: str = "500m"
    cpu_limit: str = "2000m"
    memory_request: str = "1Gi"
    memory_limit: str = "2Gi"


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


class GitSync(Section):
    """Where workflow files come from: section ``kubernetes.git``.

    Attributes:
        repository: The repository's URL, ``https://…`` or ``git@…``. Without it they are in the image.
        branch: The branch.
        folder: Their folder in it.
        secret: The Secret with the name and password of who reads it, or with the ssh key; what everybody may read needs none.
        known_hosts: The host's keys, as lines of ssh's ``known_hosts``; without them an ssh host is believed.
    """

    repository: OptionalText = None
    branch: str = "main"
    folder: str = "dags"
    secret: OptionalText = None
    known_hosts: OptionalText = None

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
    """

    host: OptionalText = None
    class_name: str = "nginx"
    namespace: str = "ingress-nginx"
    cluster_issuer: str = "letsencrypt-prod"


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
        ingress: How people come in.
        git: Where workflow files come from.
        egress_ports: Ports that pods may reach besides those of the addresses in the file, such as that of a database which only
            a variable names.
        prometheus_namespace: Where the Prometheus is that may read the numbers.
    """

    namespace: str = "llm-orchestrator"
    image: str = "llm-orchestrator"
    tag: str = "0.1.0"
    pull_secret: OptionalText = None
    secret: str = "orchestrator-secrets"
    secret_store: OptionalText = None
    autoscaler: Literal["hpa", "keda", "none"] = "hpa"
    api: Replicas = Replicas(least=3, most=10, cpu=70, memory=80)
    workers: Replicas = Replicas(
        least=5,
        most=20,
        resources=PodResources(cpu_request="1000m", cpu_limit="4000m", memory_request="2Gi", memory_limit="8Gi"),
    )
    schedulers: int = Field(default=2, ge=1)
    triggerers: int = Field(default=1, ge=1)
    ingress: Ingress = Ingress()
    git: GitSync = GitSync()
    egress_ports: tuple[Port, ...] = ()
    prometheus_namespace: str = "monitoring"
