"""The notations a workflow can be written in, each one module that reads it into the canonical workflow.

To add a notation: write a module with a :class:`Notation` of its own and list it in :data:`NOTATIONS`. Its ``reads`` looks at the
document's top level only; its ``read`` gives a workflow, or None after adding at least one error. The first that reads a document
is used, so the steps notation, which takes every mapping, stands last.
"""

from __future__ import annotations

from collections.abc import Sequence

from dag_factory.notations.base import Notation
from dag_factory.notations.steps import STEPS
from dag_factory.notations.v1 import V1

__all__ = ["NOTATIONS", "Notation"]

NOTATIONS: Sequence[Notation] = (V1, STEPS)
