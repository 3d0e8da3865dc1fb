"""Waiting until a model answers again, and until there is money again; by default without holding a worker in between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.sensor import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_llm_provider.clients.base import ChatClient, ChatRequest, ChatResponse, Message
from airflow_llm_provider.config.money import find_budget
from airflow_llm_provider.engine.retry import HOPELESS
from airflow_llm_provider.engine.spending import Account, Payer
from airflow_llm_provider.errors import InvalidRequest, StepError, TimeoutError
from airflow_llm_provider.hooks.runtime import task_runtime
from airflow_llm_provider.triggers.batch import LLMBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["BudgetSensor", "LLMBatchSensor", "ModelHealthSensor"]


ENOUGH = 16
"""Tokens of an answer that shows that a model is there; some APIs take no fewer."""

PATIENCE = 30.0
"""Seconds that a model has for it."""


class LLMBatchSensor(BaseSensorOperator):
    """Waits in the triggerer until a provider's batch has ended.

    The XCom tells how: ``{id, state, total, succeeded, failed, error}``.

    Args:
        batch_id: The provider's id of the batch.
        provider: ``openai`` and whatever speaks its batch API, or ``anthropic``.
        connection: Airflow connection with the credentials; ``<provider>_default`` when None.
        base_url: Root of the API, over what the credentials say.
        poll_interval: Seconds between two looks.
        kwargs: What all sensors take: ``timeout``, ``soft_fail`` …
    """

    template_fields: Sequence[str] = ("batch_id", "provider", "connection", "base_url")
    ui_color = "#e3f0e4"

    def __init__(
        self,
        *,
        batch_id: str,
        provider: str,
        connection: str | None = None,
        base_url: str | None = None,
        poll_interval: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poll_interval, **kwargs)
        self.batch_id = batch_id
        self.provider = provider
        self.connection = connection
        self.base_url = base_url
        self.poll_interval = poll_interval

    def execute(self, context: Context) -> Any:
        """Wait; :meth:`execute_complete` goes on."""
        self.defer(
            trigger=LLMBatchTrigger(self.batch_id, self.provider, self.connection, self.base_url, self.poll_interval),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give how the batch has ended.

        Raises:
            AirflowFailException: It cannot be looked up, or has failed as a whole.
        """
        if event.get("state") in (None, "failed"):
            raise AirflowFailException(
                f"batch {self.batch_id!r}: {event.get('error') or 'it failed, for no reason given'}"
            )
        return dict(event)


class ModelHealthSensor(BaseSensorOperator):
    """Waits until a model answers: asks it for one token, unless its circuit is open.

    What it finds out counts for the circuit breaker, as every call does. A wrong credential or an unknown model fails the task.

    Args:
        provider: Which API, by the names that workflow files use.
        model: The provider's model name.
        connection: Airflow connection with the credentials; ``<provider>_default`` when None.
        base_url: Root of the API, for whatever speaks the provider's dialect.
        mode: ``reschedule``, or ``poke``, which holds a worker all the time.
        kwargs: What all sensors take: ``poke_interval``, ``timeout``, ``soft_fail`` …
    """

    template_fields: Sequence[str] = ("provider", "model", "connection", "base_url")
    ui_color = "#e3f0e4"

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        connection: str | None = None,
        base_url: str | None = None,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.provider = provider
        self.model = model
        self.connection = connection
        self.base_url = base_url

    def poke(self, context: Context) -> bool:
        """Ask; the answer's text does not matter.

        Raises:
            AirflowFailException: It can never answer this way.
        """
        try:
            asyncio.run(self._ask(Payer(context["ti"].dag_id, context["ti"].run_id)))
        except HOPELESS as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        except StepError as error:
            self.log.info("%s/%s does not answer: %s: %s", self.provider, self.model, type(error).__name__, error)
            return False
        return True

    async def _ask(self, payer: Payer) -> None:
        request = ChatRequest(model=self.model, messages=(Message("user", "ping"),), max_tokens=ENOUGH)
        async with task_runtime(self.log) as runtime:
            client = runtime.chat(self.provider, connection=self.connection, base_url=self.base_url)
            async with runtime.turn(self.provider, self.model, self.connection or self.base_url, 1) as call:
                answer = await _answer(client, request)
                if answer is None:
                    return
                call.tokens = answer.usage.total_tokens
            cost = runtime.price(self.provider, self.model, answer.usage)
            runtime.spent(payer, self.provider, answer.usage, cost)


async def _answer(client: ChatClient, request: ChatRequest) -> ChatResponse | None:
    """Ask; None when the model has thought for so long that nothing is left for an answer, for then it is there."""
    try:
        return await asyncio.wait_for(client.chat(request), PATIENCE)
    except asyncio.TimeoutError:
        raise TimeoutError(f"the model does not answer within {PATIENCE:g} s") from None
    except InvalidRequest as error:
        if "output limit" in str(error):
            return None
        raise


class BudgetSensor(BaseSensorOperator):
    """Waits until a budget has enough left; it takes nothing.

    Args:
        budget: The budget's name in ``orchestrator.yaml``.
        needed_usd: USD that must be left; anything above 0 when 0.
        workflow: Of which workflow, where each has the budget to itself; the DAG's own id when None.
        team: Of which team, where each has it to itself.
        mode: ``reschedule``, or ``poke``, which holds a worker all the time.
        kwargs: What all sensors take: ``poke_interval``, ``timeout``, ``soft_fail`` …
    """

    template_fields: Sequence[str] = ("budget", "needed_usd", "workflow", "team")
    ui_color = "#fff4dd"

    def __init__(
        self,
        *,
        budget: str,
        needed_usd: float = 0.0,
        workflow: str | None = None,
        team: str = "",
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.budget = budget
        self.needed_usd = needed_usd
        self.workflow = workflow
        self.team = team

    def poke(self, context: Context) -> bool:
        """Look at the budget.

        Raises:
            AirflowFailException: There is no such budget.
        """
        account = asyncio.run(self._account(context))
        self.log.info("budget %r: %.4f of %g USD are left", self.budget, account.left, account.budget.limit_usd)
        return account.left > 0 and account.left >= float(self.needed_usd)

    async def _account(self, context: Mapping[str, Any] | Context) -> Account:
        ti = context["ti"]
        async with task_runtime(self.log) as runtime:
            try:
                budget = find_budget(runtime.settings.budgets, self.budget)
            except ValueError as error:
                raise AirflowFailException(f"{error}, in the key 'budgets' of orchestrator.yaml") from None
            ledger = runtime.ledger()
            assert ledger is not None
            return await ledger.account(budget, Payer(self.workflow or ti.dag_id, ti.run_id, self.team))
