"""What HAProxy reads; that it does what it should is shown by the deployments."""

from __future__ import annotations

from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.render import Source, render
from tests.conftest import REPOSITORY


def test_the_compose_file_has_what_is_rendered() -> None:
    folder = REPOSITORY / "docker" / "distributed"
    variables = {
        "DATABASE_URL": "postgresql://user@db/x", "REDIS_URL": "redis://redis/0", "JWT_SECRET": "s" * 64,
        "ORCHESTRATOR_MODE": "api",
    }  # fmt: skip
    configuration = read_configuration(folder / "orchestrator.yaml", variables).configuration
    assert configuration is not None
    assert (folder / "haproxy.cfg").read_text() == render("haproxy", Source(configuration))["haproxy.cfg"]
