"""How ``validate`` writes what is wrong for programs: JSON, GitHub annotations, and SARIF 2.1.0 for code scanners."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_llm_provider import __version__
from airflow_llm_provider.files.diagnostics import Diagnostic

__all__ = ["FORMATS"]


def _json(diagnostics: Sequence[Diagnostic]) -> str:
    return json.dumps(
        [
            {
                "path": item.path,
                "line": item.line or None,
                "column": item.column or None,
                "severity": item.severity,
                "message": item.message,
                "suggestion": item.suggestion or None,
            }
            for item in diagnostics
        ],
        indent=2,
        ensure_ascii=False,
    )


def _github(diagnostics: Sequence[Diagnostic]) -> str:
    return "\n".join(f"::{item.severity}{_github_place(item)}::{_escaped(_message(item))}" for item in diagnostics)


def _github_place(item: Diagnostic) -> str:
    return f" file={_property(item.path)},line={item.line},col={item.column}" if item.line else ""


def _escaped(text: str) -> str:
    # GitHub reads a command to the end of its line.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _sarif(diagnostics: Sequence[Diagnostic]) -> str:
    driver = {"name": "llm-orchestrator", "version": __version__, "rules": [{"id": "workflow"}]}
    return json.dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": [_result(item) for item in diagnostics]}],
        },
        indent=2,
        ensure_ascii=False,
    )


def _result(item: Diagnostic) -> dict[str, Any]:
    region = {"startLine": item.line, "startColumn": item.column}
    place = {"physicalLocation": {"artifactLocation": {"uri": item.path}, "region": region}}
    return {
        "ruleId": "workflow",
        "level": item.severity,
        "message": {"text": _message(item)},
        "locations": [place] if item.line else [],
    }


def _message(item: Diagnostic) -> str:
    told = f"{item.message}; {item.suggestion}" if item.suggestion else item.message
    return told if item.line else f"{item.path}: {told}"


FORMATS: Mapping[str, Callable[[Sequence[Diagnostic]], str]] = {
    "json": _json,
    "github": _github,
    "sarif": _sarif,
}
"""Name of a format to what writes it; an empty text means that there is nothing to write."""
