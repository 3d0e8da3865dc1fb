"""Workflow files with one fault each, made of files without any: what was changed, and where that has to be told.

A fault is put into the text itself, so that the file stays as its author wrote it: comments, block scalars, flow style.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import yaml

__all__ = ["KINDS", "Fault", "File", "faults"]

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """A file with one fault.

    Attributes:
        name: Kind, file and place.
        file: The file that it was put into.
        text: The file.
        lines: Lines on which the fault may be told, counted from 1.
        warns: Whether a warning is enough: the name may be meant as an input that nobody gives.
    """

    name: str
    file: str
    text: str = field(repr=False)
    lines: range
    warns: bool = False


@dataclass(frozen=True)
class File:
    """A file without faults."""

    name: str
    text: str

    def nodes(self) -> Iterator[tuple[Path, yaml.Node | None, yaml.Node, yaml.Node]]:
        """Give every node with the way to it, its key and what it is in."""
        for root in yaml.compose_all(self.text, Loader=yaml.SafeLoader):
            waiting: list[tuple[Path, yaml.Node]] = [((), root)]
            while waiting:
                path, node = waiting.pop()
                if isinstance(node, yaml.MappingNode):
                    for key, value in node.value:
                        yield (*path, key.value), key, value, node
                        waiting.append(((*path, key.value), value))
                elif isinstance(node, yaml.SequenceNode):
                    for index, value in enumerate(node.value):
                        yield (*path, index), None, value, node
                        waiting.append(((*path, index), value))

    def replaced(self, start: int, end: int, new: str) -> str:
        """Give the text with a part of it replaced."""
        return self.text[:start] + new + self.text[end:]

    def fault(
        self, kind: str, path: Path, start: int, end: int, new: str, *, last: int = 0, warns: bool = False
    ) -> Fault:
        """Make a fault that replaces a part of the text; it is told where that part stands, or on ``last`` more lines."""
        line = self.text.count("\n", 0, start) + 1
        where = ".".join(map(str, path))
        return Fault(
            f"{kind} {self.name} {where}",
            self.name,
            self.replaced(start, end, new),
            range(line, line + last + 1),
            warns,
        )


FREE = {
    "metadata", "labels", "annotations", "body", "data", "schema", "output_schema", "properties", "settings", "mapping",
    "extra_body", "parameters", "params", "headers", "default", "context", "events", "filter", "responses",
}  # fmt: skip
"""Keys below which a file may write what it likes, or nearly."""

NAMED = {"output", "outputs", "branches", "providers", "weights"}
"""Keys below which the file makes up the names."""

Change = Callable[[File], Iterator[Fault]]


def _is_made_up(path: Path) -> bool:
    """Tell whether the file's author chose the key."""
    above = path[:-1]
    return (
        path[-1] == "responses"
        or any(part in FREE or str(part).startswith("x-") for part in above)
        or above[-1:] in [(name,) for name in NAMED]
        or (above[-1:] == ("inputs",) and "tasks" not in above and "else" not in above)
    )


def _takes_all(file: File, path: Path) -> bool:
    """Tell whether the key belongs to a step that takes any key, which an action does."""
    return any(path[: len(action)] == action for action in _actions(file))


@cache
def _actions(file: File) -> tuple[Path, ...]:
    # A template's inputs are checked where it is used; what a sub-workflow gives is an object.
    return tuple(
        path[:-1]
        for path, _, value, _ in file.nodes()
        if path[-1] in ("type", "executor") and value.value in ("action", "llm-forge:tool")
    )


def _keys(file: File) -> Iterator[tuple[Path, yaml.Node, yaml.Node, yaml.Node]]:
    for path, key, value, parent in file.nodes():
        if key is not None and not _is_made_up(path) and not _takes_all(file, path):
            yield path, key, value, parent


def _scalars(file: File) -> Iterator[tuple[Path, yaml.ScalarNode]]:
    for path, _, value, _ in file.nodes():
        if isinstance(value, yaml.ScalarNode):
            yield path, value


def _values(file: File, *names: str) -> Iterator[tuple[Path, yaml.ScalarNode]]:
    """Give the scalars under keys of these names, where a step's type does not make them free."""
    for path, _, value, _ in _keys(file):
        if path[-1] in names and isinstance(value, yaml.ScalarNode) and value.style not in ("|", ">"):
            yield path, value


def misspelt_keys(file: File) -> Iterator[Fault]:
    """Misspell each key in turn."""
    for path, key, _, _ in _keys(file):
        if not str(path[-1]).startswith("x-"):
            new = f"{key.value[:-1]}q{key.value[-1:]}"
            yield file.fault("misspelt key", path, key.start_mark.index, key.end_mark.index, new)


TYPED = ("id", "model", "provider", "max_tokens", "temperature", "timeout_seconds", "timeout", "name", "version", "executor",
         "type", "max_concurrency", "required", "catchup", "kind", "apiVersion", "stream", "top_k")  # fmt: skip


def wrong_types(file: File) -> Iterator[Fault]:
    """Write a mapping where a text, a number or a switch belongs."""
    for path, value in _values(file, *TYPED):
        yield file.fault("wrong type", path, value.start_mark.index, value.end_mark.index, "{wrong: type}")


def missing_keys(file: File) -> Iterator[Fault]:
    """Take a required key away, by making it one that is free."""
    for path, key, _, parent in _keys(file):
        if path[-1] in ("id", "executor", "name", "steps", "metadata", "spec", "kind", "schedule", "task_template"):
            if (path[-1] == "schedule" and "airflow" in path) or "task_template" in path[-2:-1]:
                continue
            # It is told of the whole, which starts elsewhere.
            line = parent.start_mark.line + 1
            where = ".".join(map(str, path))
            text = file.replaced(key.start_mark.index, key.end_mark.index, f"x-{key.value}")
            yield Fault(f"missing key {file.name} {where}", file.name, text, range(line, line + 1))


def _in_tags(file: File, pattern: str) -> Iterator[tuple[Path, re.Match[str]]]:
    """Find a pattern in every tag of every text."""
    for path, value in _scalars(file):
        end = value.end_mark.index
        for tag in re.compile(r"\{\{(?:(?!\}\}).)*\}\}", re.DOTALL).finditer(file.text, value.start_mark.index, end):
            for match in re.compile(pattern).finditer(file.text, tag.start(), tag.end()):
                yield path, match


def _ids(file: File) -> set[str]:
    return {value.value for path, _, value, _ in file.nodes() if path[-1] == "id"}


def unknown_steps(file: File) -> Iterator[Fault]:
    """Name a step that does not exist, in a reference or as what to wait for."""
    ids = _ids(file)
    for path, match in _in_tags(file, r"(?<![\w.])(?:steps|tasks)\.([\w-]+)"):
        if match[1] in ids:
            yield file.fault("unknown step", path, match.end(1), match.end(1), "zz")
    for path, value in _scalars(file):
        if "depends_on" in path[-2:] or "dependsOn" in path[-2:]:
            yield file.fault("unknown step", path, value.start_mark.index, value.end_mark.index, "nobody")


def misspelt_inputs(file: File) -> Iterator[Fault]:
    """Refer to an input that is not declared, in a file that declares some."""
    if "---" not in file.text and any(
        path[-1] == "inputs" and path[:-1] in ((), ("spec",)) for path, *_ in file.nodes()
    ):
        for path, match in _in_tags(file, r"(?<![\w.])(?:workflow\.)?inputs\.(\w+)"):
            yield file.fault("misspelt input", path, match.end(1), match.end(1), "zz", warns=True)


def misspelt_outputs(file: File) -> Iterator[Fault]:
    """Refer to an output that a model's step does not have."""
    asks = {
        value.value
        for path, _, value, parent in file.nodes()
        if path[-1] == "id"
        and not any(
            key.value in ("output_schema", "type", "executor") and value.value not in ("llm", "llm-forge:claude-api")
            for key, value in parent.value
        )
    }
    for path, match in _in_tags(file, r"(?<![\w.])(?:steps\.|tasks\.)([\w-]+)\.(?:outputs\.)?(\w+)"):
        if match[1] in asks and not any(part == "output_schema" for part in path):
            yield file.fault("misspelt output", path, match.end(2), match.end(2), "zz")


def _tags(file: File) -> Iterator[tuple[Path, re.Match[str]]]:
    for path, value in _scalars(file):
        for match in re.compile(r"\$?\{\{(?![#/~!>]|else)\s*([\w.\[\]-]+)\s*\}\}").finditer(
            file.text, value.start_mark.index, value.end_mark.index
        ):
            yield path, match


def broken_expressions(file: File) -> Iterator[Fault]:
    """Leave an operator without what it works on."""
    for path, match in _tags(file):
        yield file.fault("broken expression", path, match.start(), match.end(), f"${{{{ {match[1]} + }}}}")


def unknown_functions(file: File) -> Iterator[Fault]:
    """Call a function that does not exist."""
    for path, match in _tags(file):
        yield file.fault("unknown function", path, match.start(), match.end(), f"${{{{ uper({match[1]}) }}}}")


def unclosed_tags(file: File) -> Iterator[Fault]:
    """Leave the end of a tag away, or that of a block."""
    for path, match in _tags(file):
        yield file.fault("unclosed tag", path, match.end() - 2, match.end(), "")
    for path, match in _tags(file):
        # A plain text may not begin with a brace.
        if file.text[match.start() - 1] in "\"'\n ":
            yield file.fault("unclosed block", path, match.end(), match.end(), "{{#if a}}", last=2)


def duplicate_ids(file: File) -> Iterator[Fault]:
    """Give a step that nothing refers to the id of another one."""
    ids = [(path, value) for path, value in _values(file, "id") if "task_template" not in path]
    for path, value in ids:
        others = [other.value for _, other in ids if other.start_mark.index < value.start_mark.index]
        if others and len(re.findall(rf"\b{re.escape(value.value)}\b", file.text)) == 1:
            yield file.fault("duplicate id", path, value.start_mark.index, value.end_mark.index, others[0])


def cycles(file: File) -> Iterator[Fault]:
    """Let a step wait for itself."""
    waits = "dependsOn" if "apiVersion" in file.text else "depends_on"
    for path, key, value, parent in _keys(file):
        if path[-1] != "id" or "task_template" in path or any(k.value == waits for k, _ in parent.value):
            continue
        new = (
            f", {waits}: [{value.value}]"
            if parent.flow_style
            else f"\n{' ' * key.start_mark.column}{waits}: [{value.value}]"
        )
        end = value.end_mark.index
        # What waits for a group waits for its steps, and a circle may be told at any of them.
        grouped = re.search('type: "?(parallel|branch)', file.text) is not None
        fault = file.fault("cycle", path, end, end, new, last=1)
        yield replace(fault, lines=range(1, fault.text.count("\n") + 2)) if grouped else fault


def _replaced(kind: str, new: str, *names: str) -> Change:
    def change(file: File) -> Iterator[Fault]:
        for path, value in _values(file, *names):
            yield file.fault(kind, path, value.start_mark.index, value.end_mark.index, new)

    return change


def unknown_names(file: File) -> Iterator[Fault]:
    """Name an executor, a provider or a function of a transform that nobody installed."""
    for path, value in _values(file, "type", "executor", "provider", "function"):
        if "inputs" in path[:2] or ("outputs" in path) or not value.value:
            continue
        yield file.fault("unknown name", path, value.start_mark.index, value.end_mark.index, f'"{value.value}zz"')


def bad_schedules(file: File) -> Iterator[Fault]:
    """Write a schedule that is none."""
    yield from _replaced("bad cron", "every day", "schedule")(file)
    if "apiVersion" not in file.text and "\nairflow:" not in file.text and "---" not in file.text:
        end = len(file.text)
        new = f"{'' if file.text.endswith(chr(10)) else chr(10)}airflow: {{schedule: 61 * * * *}}\n"
        line = file.text.count("\n", 0, end) + 1 + (not file.text.endswith("\n"))
        yield Fault(f"bad cron {file.name}", file.name, file.text + new, range(line, line + 1))


def broken_yaml(file: File) -> Iterator[Fault]:
    """Take a colon away, indent with a tab, indent too far: what YAML says of it may stand up to two lines later."""
    before: dict[int, yaml.Node] = {}
    for _, key, _, parent in file.nodes():
        if key is not None:
            siblings = [k.start_mark.index for k, _ in parent.value]
            position = siblings.index(key.start_mark.index)
            if position:
                before[key.start_mark.index] = parent.value[position - 1][1]
    for path, key, value, parent in file.nodes():
        if key is None or parent.flow_style or key.start_mark.line == parent.start_mark.line:
            continue
        start, end = key.start_mark.index, key.end_mark.index
        if isinstance(value, yaml.CollectionNode) and not value.flow_style and file.text[end : end + 2] == ":\n":
            yield file.fault("no colon", path, end, end + 1, "", last=4)
        previous = before.get(start)
        if isinstance(previous, yaml.ScalarNode) and previous.style not in ("|", ">") and key.start_mark.column:
            yield file.fault("indented too far", path, start, start, " ", last=1)
            yield file.fault("tab", path, start - key.start_mark.column, start, "\t", last=1)


KINDS: dict[str, Change] = {
    "misspelt key": misspelt_keys,
    "wrong type": wrong_types,
    "missing key": missing_keys,
    "unknown step": unknown_steps,
    "misspelt input": misspelt_inputs,
    "misspelt output": misspelt_outputs,
    "broken expression": broken_expressions,
    "unknown function": unknown_functions,
    "unclosed tag": unclosed_tags,
    "duplicate id": duplicate_ids,
    "cycle": cycles,
    "bad duration": _replaced("bad duration", "soon", "timeout", "timeout_seconds", "initial_delay", "max_delay"),
    "out of range": _replaced("out of range", "-7", "temperature", "max_tokens", "top_k", "max_attempts", "maxAttempts",
                              "timeout_seconds", "timeout", "max_parallel", "maxParallel", "max_concurrency"),
    "unknown name": unknown_names,
    "bad cron": bad_schedules,
    "broken YAML": broken_yaml,
}  # fmt: skip
"""Name of a kind of fault to what puts each such fault into a file."""

PER_FILE = 6
"""Faults of one kind that one file has, besides misspelt keys: those are all put in."""


def faults(files: Iterable[File]) -> Iterator[Fault]:
    """Give faults of every kind in every file.

    Args:
        files: Files without any.
    """
    for file in files:
        for kind, change in KINDS.items():
            found = [*change(file)]
            if kind not in ("misspelt key",) and len(found) > PER_FILE:
                found = random.Random(file.name + kind).sample(found, PER_FILE)
            yield from found
