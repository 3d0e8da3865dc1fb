"""What the wheel tells Airflow."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import distribution
from pathlib import Path

import jsonschema
import pytest

import airflow_llm_provider
from airflow_llm_provider.get_provider_info import get_provider_info


def test_provider_info_meets_airflows_schema() -> None:
    import airflow

    schema = json.loads(Path(airflow.__file__).with_name("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_everything_named_can_be_imported() -> None:
    info = get_provider_info()
    for group in ("operators", "hooks"):
        for entry in info[group]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    for entry in info["connection-types"]:
        module, _, name = entry["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (entry["connection-type"], entry["hook-name"])


def test_every_entry_point_loads() -> None:
    points = list(distribution("airflow-llm-provider").entry_points)
    assert {point.group for point in points} >= {
        "apache_airflow_provider",
        "airflow.plugins",
        "airflow.policy",
        "console_scripts",
        "airflow_llm_provider.executors",
        "airflow_llm_provider.chat_clients",
    }
    for point in points:
        assert point.load() is not None


def test_the_package_is_typed_and_versioned() -> None:
    assert airflow_llm_provider.__version__ == distribution("airflow-llm-provider").version
    for package in ("airflow_llm_provider", "dag_factory"):
        assert Path(str(importlib.import_module(package).__file__)).with_name("py.typed").exists()


MODULES = sorted(
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
    for folder in (
        Path(airflow_llm_provider.__file__).parent,
        Path(airflow_llm_provider.__file__).parents[1] / "dag_factory",
    )
    for path in folder.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_exists(name: str) -> None:
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert getattr(module, exported) is not None
