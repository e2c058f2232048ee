"""Modules of Python's library that are imported when they are first used: what most sites never need costs no child memory."""

from __future__ import annotations

import importlib
from typing import Any


class later:
    """Stands for a module. ``if TYPE_CHECKING: import name``, ``else: name = later("name")``."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name), name)
