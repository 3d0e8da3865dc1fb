"""``python -m airflow_llm_provider.cli``."""

from __future__ import annotations

import sys

from airflow_llm_provider.cli import main

sys.exit(main())
