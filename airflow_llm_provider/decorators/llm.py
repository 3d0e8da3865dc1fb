"""``@task.llm``: a function gives the prompt, and a model answers it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, determine_kwargs, task_decorator_factory
from airflow.sdk.definitions.context import context_merge

from airflow_llm_provider.operators.executors import LLMOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["llm_task"]


class LLMDecoratedOperator(DecoratedOperator, LLMOperator):
    """Calls the function, and asks a model with what it gives."""

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *LLMOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **LLMOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.llm"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def execute(self, context: Context) -> Any:
        """Call the function, and ask; what the function gives is no template."""
        context_merge(context, self.op_kwargs)
        given = self.python_callable(*self.op_args, **determine_kwargs(self.python_callable, self.op_args, context))
        name = "prompt" if isinstance(given, str) else "messages"
        self.inputs = {**self.inputs, name: given}
        return LLMOperator.execute(self, context)


def llm_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that gives the prompt, a text, or a list of messages.

    Args:
        python_callable: The function; it takes what other tasks give, and Airflow's context by name.
        kwargs: The arguments of :class:`~airflow_llm_provider.operators.executors.LLMOperator`, ``prompt`` and ``messages`` aside.
    """
    decorator: TaskDecorator = task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=LLMDecoratedOperator, **kwargs
    )
    return decorator
