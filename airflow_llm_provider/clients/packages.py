"""Packages that only some installations have."""

from __future__ import annotations

from airflow_llm_provider.errors import ConfigurationError

__all__ = ["missing_package"]


def missing_package(extra: str, package: str) -> ConfigurationError:
    """Make the error for a package that is not installed.

    Args:
        extra: This package's extra that brings it; empty when none does.
        package: Its name.
    """
    command = f"pip install 'airflow-llm-provider[{extra}]'" if extra else f"pip install {package}"
    return ConfigurationError(f"the package {package!r} is not installed; install it with {command}")
