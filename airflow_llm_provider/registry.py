"""Finds what packages register under an entry point group, by name: executors, clients, vector stores.

Adding one to this package is a file and a line in ``pyproject.toml``; any other installed package may add its own the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, distribution, entry_points
from typing import Any

from airflow_llm_provider.errors import ConfigurationError
from airflow_llm_provider.spelling import nothing_called

__all__ = ["Registry"]


class Registry:
    """The entry points of one group; each is loaded when it is first asked for.

    Args:
        group: The entry point group.
        noun: What its members are, for messages.
    """

    def __init__(self, group: str, noun: str) -> None:
        self._group = group
        self._noun = noun
        self._loaded: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """Give the member of that name.

        Args:
            name: The entry point's name.

        Raises:
            ConfigurationError: No installed package registers it; the message has the closest name.
        """
        if name not in self._loaded:
            if name not in self:
                raise ConfigurationError(nothing_called(self._noun, name, self.names()))
            self._loaded[name] = (self._own.get(name) or self._all[name]).load()
        return self._loaded[name]

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._all

    def names(self) -> list[str]:
        """Give the names of all members, sorted."""
        return sorted(self._all)

    def own_names(self) -> list[str]:
        """Give the names of the members that this package itself registers, sorted."""
        return sorted(self._own)

    @cached_property
    def _own(self) -> Mapping[str, EntryPoint]:
        # Reading the metadata of every installed distribution takes tens of milliseconds; most names are in our own.
        points = distribution("airflow-llm-provider").entry_points
        return {point.name: point for point in points if point.group == self._group}

    @cached_property
    def _all(self) -> Mapping[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self._group)}
