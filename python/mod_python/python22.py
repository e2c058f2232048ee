"""Kept so that old modules can be imported: ``from mod_python.python22 import *`` gives nothing."""

__all__: list[str] = []
