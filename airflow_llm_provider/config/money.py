"""What ``orchestrator.yaml`` says of money: prices of models, and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator
from typing_extensions import Self

from airflow_llm_provider.config.section import Section
from airflow_llm_provider.spelling import nothing_called

__all__ = ["Budget", "ModelPlace", "Period", "Price", "find_budget"]

Period = Literal["run", "day", "month", "total"]

USD = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""An amount in USD."""


class Price(Section):
    """What a model costs: one entry of ``prices``, which wins over the price list.

    Attributes:
        provider: The provider; ``*`` and ``?`` stand for anything, here and below.
        model: The model, by its name at the provider.
        input: USD for a million tokens of the prompt.
        cached: USD for a million of those that the provider read from its cache; those of ``input`` when absent.
        output: USD for a million tokens of the answer.
    """

    provider: str = "*"
    model: str = "*"
    input: USD
    cached: USD | None = None
    output: USD = 0.0

    def fits(self, provider: str | None, model: str) -> bool:
        """Tell whether it is the price of a model.

        Args:
            provider: The provider's name; None when it is not known.
            model: The model.
        """
        return fnmatchcase(provider or "", self.provider) and fnmatchcase(model, self.model)


class ModelPlace(Section):
    """A model, and where it is asked.

    Attributes:
        provider: The provider whose API is asked.
        model: The model, by its name at the provider.
        connection: Airflow connection with the credentials; the provider's default connection when absent.
        base_url: Root of the API, for whatever speaks the provider's dialect.
    """

    provider: str
    model: str
    connection: str | None = None
    base_url: str | None = None

    @property
    def name(self) -> str:
        """Provider and model."""
        return f"{self.provider}/{self.model}"


Each = Literal["workflow", "team"]


class Budget(Section):
    """How much may be spent: one entry of ``budgets``. All calls that it fits share it.

    Attributes:
        name: What people call it; made of the rest when absent.
        limit_usd: USD that may be spent in a period.
        period: When the budget begins anew: with each run, each day or month (in UTC), or never.
        workflow: The workflow whose calls are paid from it; ``*`` and ``?`` stand for anything, here and below.
        team: The workflow's team: the workflow's label ``team``, else the owner in its key ``airflow``.
        labels: Labels that a workflow has whose calls are paid from it.
        each: Whether every such workflow, or team, has a budget of that size to itself.
        on_exceeded: What becomes of a call that there is no money for: it is made and told of (``warn``), it fails (``fail``), a
            person decides for the run (``approve``), or a cheaper model is asked (``downgrade``).
        approvers: Names of the users who may decide; everybody when empty.
        downgrade_to: The cheaper model that is asked instead.
    """

    name: str = ""
    limit_usd: Annotated[USD, Field(gt=0)]
    period: Period = "day"
    workflow: str = "*"
    team: str = "*"
    labels: Mapping[str, str] = Field(default_factory=dict)
    each: Annotated[
        tuple[Each, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        AfterValidator(lambda value: tuple(sorted(set(value)))),
        WithJsonSchema(
            {"anyOf": [{"type": "array", "items": {"enum": [*get_args(Each)]}}, {"enum": [*get_args(Each)]}]}
        ),
    ] = ()
    on_exceeded: Literal["warn", "fail", "approve", "downgrade"] = "fail"
    approvers: tuple[str, ...] = ()
    downgrade_to: ModelPlace | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _as_texts(cls, value: object) -> object:
        return {key: str(label) for key, label in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.on_exceeded == "downgrade") != (self.downgrade_to is not None):
            raise ValueError("'on_exceeded: downgrade' and 'downgrade_to' belong together; give both or neither")
        if self.approvers and self.on_exceeded != "approve":
            raise ValueError("'approvers' belong to 'on_exceeded: approve'")
        return self

    @property
    def title(self) -> str:
        """The name, or what tells it from others."""
        labels = "".join(f" {key}={value}" for key, value in sorted(self.labels.items()))
        return self.name or f"{self.period} of {self.workflow}/{self.team}{labels}"

    def fits(self, workflow: str, team: str, labels: Mapping[str, str]) -> bool:
        """Tell whether a workflow's calls are paid from it.

        Args:
            workflow: The workflow.
            team: Its team; empty when it has none.
            labels: Its labels.
        """
        asked = (
            (self.workflow, workflow),
            (self.team, team),
            *((v, labels.get(k, "")) for k, v in self.labels.items()),
        )
        return all(fnmatchcase(value, pattern) for pattern, value in asked)


def find_budget(budgets: tuple[Budget, ...], name: str) -> Budget:
    """Give the budget of that name.

    Args:
        budgets: Those of the settings.
        name: Its title.

    Raises:
        ValueError: There is none; the message has the closest name.
    """
    for budget in budgets:
        if name == budget.title:
            return budget
    raise ValueError(nothing_called("budget", name, [budget.title for budget in budgets]))
