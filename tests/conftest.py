"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from dag_factory.read import find_files

REPOSITORY = Path(__file__).parent.parent
WORKFLOWS = REPOSITORY / "dags" / "workflows"
EXAMPLES = [*find_files(WORKFLOWS)]
CORPUS = REPOSITORY.parent / "shared" / "corpus"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test writes, and what it finds in the environment, away from the user's own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ORCHESTRATOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def corpus() -> Path:
    """The published workflow files, where they lie beside the project."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus of published workflow files is not beside this checkout")
    return CORPUS
