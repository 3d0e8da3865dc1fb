"""What ``orchestrator.yaml`` says of the four services of LLM-Orchestrator: the section ``integrations``.

Without an endpoint, what a service would do is done here.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, SecretStr

from airflow_llm_provider.config.section import Duration, Section, WebAddress

__all__ = ["AutoOptimizer", "Governance", "Integrations", "LLMForge", "TestBench"]


class LLMForge(Section):
    """The model gateway: section ``integrations.llm_forge``.

    Attributes:
        endpoint: Address of the model gateway's API.
        token: The model gateway's key; a secret.
        api_keys: Provider to API key, for the providers that are called directly; secrets.
        timeout: Seconds that one call of the model gateway may take; by default the step's limit.
    """

    endpoint: WebAddress | None = None
    token: SecretStr | None = None
    api_keys: Mapping[str, SecretStr | None] = Field(default_factory=dict)
    timeout: Duration | None = None


class TestBench(Section):
    """The evaluation service: section ``integrations.llm_test_bench``.

    Attributes:
        endpoint: Address of the evaluation service's API.
        auto_evaluate: Whether every answer of a model is evaluated.
        timeout: Seconds that one call of the evaluation service may take.
    """

    endpoint: WebAddress | None = None
    auto_evaluate: bool = False
    timeout: Duration = 60.0


class AutoOptimizer(Section):
    """The service that gets metrics and recommends: section ``integrations.llm_auto_optimizer``.

    Attributes:
        endpoint: Address of the optimizer's API.
        batch_size: Metrics that are sent to the optimizer together.
        flush_interval: Seconds after which metrics are sent even if they are fewer.
        timeout: Seconds that one call of the optimizer may take.
    """

    endpoint: WebAddress | None = None
    batch_size: int = Field(default=100, ge=1)
    flush_interval: Duration = 30.0
    timeout: Duration = 60.0


class Governance(Section):
    """The policy service: section ``integrations.llm_governance``.

    Attributes:
        endpoint: Address of the policy service's API.
        enforce_policies: Whether what a policy forbids is not done, and not only told of.
        timeout: Seconds that one call of the policy service may take.
    """

    endpoint: WebAddress | None = None
    enforce_policies: bool = False
    timeout: Duration = 60.0


class Integrations(Section):
    """Section ``integrations``.

    Attributes:
        llm_forge: The model gateway, and the providers' keys.
        llm_test_bench: The evaluation service.
        llm_auto_optimizer: The optimizer.
        llm_governance: The policy service.
    """

    llm_forge: LLMForge = LLMForge()
    llm_test_bench: TestBench = TestBench()
    llm_auto_optimizer: AutoOptimizer = AutoOptimizer()
    llm_governance: Governance = Governance()
