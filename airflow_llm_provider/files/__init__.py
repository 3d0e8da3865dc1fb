"""Files that people write, workflows and configuration alike: read with places, and what is wrong with them told all at once."""

from __future__ import annotations
