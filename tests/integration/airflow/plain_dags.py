"""DAGs without workflow files, for the tests of the local Airflow itself."""

from __future__ import annotations

import os

from airflow.sdk import dag, task


@dag(dag_id="plain-success", schedule=None)
def plain_success():
    @task
    def ask(params=None, ti=None):
        usage = {"provider": "openai", "model": "gpt-4o-mini", "total_tokens": 42, "cost_usd": 0.00012, "attempts": 1}
        ti.xcom_push("llm_usage", usage)
        return {"base_url": os.environ["OPENAI_BASE_URL"], "said": ti.get_template_context()["dag_run"].conf.get("say")}

    @task
    def workflow_outputs(asked):
        return {"said": asked["said"], "base_url": asked["base_url"]}

    workflow_outputs(ask())


@dag(dag_id="plain-failure", schedule=None)
def plain_failure():
    @task
    def breaks():
        raise ValueError("the reason of the failure")

    breaks()


@dag(dag_id="plain-wide", schedule=None)
def plain_wide():
    @task
    def one(number):
        return number

    for number in range(40):
        one.override(task_id=f"one_{number}")(number)


plain_success()
plain_failure()
plain_wide()
