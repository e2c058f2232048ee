"""`mod_python start --reload` with watchfiles: directories come and go while they are watched."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mod_python._own import configuration, options, reloading, root, serving
from started import until


class Watchfiles(types.ModuleType):
    """Does what watchfiles does, where a test can see it: refuses directories that are not there, and ends when it is told to."""

    def __init__(self) -> None:
        super().__init__("watchfiles")
        self.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        self.watched: list[set[str]] = []
        self.step = threading.Event()

    def watch(self, *directories: str, stop_event: Any, **settings: Any) -> Iterator[set[str]]:
        self.watched.append(set(directories))
        while not stop_event.is_set():
            for path in directories:
                if not Path(path).is_dir():
                    raise FileNotFoundError(path)
            yield set()
            self.step.wait(0.01)


def test_directories_that_vanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a `git checkout` has it: the thread goes on, without them, and with them once they are back."""
    fake, failed = Watchfiles(), []
    monkeypatch.setitem(sys.modules, "watchfiles", fake)
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(reloading, "_INTERVAL", 0.01)
    (tmp_path / "run/imported").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_text("")
    state = root.State(str(tmp_path), "", "", options.Options(include=str(tmp_path / "one/m.py")), "")
    site = configuration.Site(str(tmp_path), "", False, "", (), None, None, "")
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    with reloading.Watch(serving.Prepared(state, site, {}, None, None)) as watch:  # type: ignore[arg-type]

        def sees(*expected: str) -> None:
            until(lambda: fake.watched[-1:] == [set(expected)] or bool(failed), lambda: str(fake.watched))
            assert not failed, failed

        sees(one)
        watch._known[f"{two}/m.py"] = None
        sees(one, two)
        (tmp_path / "two").rename(tmp_path / "away")
        sees(one)
        watch._known[f"{three}/m.py"] = None
        (tmp_path / "away").rename(tmp_path / "two")
        sees(one, two)
        for name in ("one", "two"):
            (tmp_path / name).rename(tmp_path / f"{name}.away")
        (tmp_path / "three").mkdir()
        sees(three)
