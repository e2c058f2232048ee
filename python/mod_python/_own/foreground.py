"""Starting a server and watching it: in the foreground until Ctrl-C, or until it serves in the background."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from types import FrameType
from typing import Callable, Optional

from mod_python._own import probe, process, root
from mod_python._own.problems import PortTaken, Problem
from mod_python._own.reloading import Watch
from mod_python._own.serving import Prepared

_TICK = 0.1
"""Seconds between two looks at the log, the files and httpd itself: a signal ends one at once, and httpd's end is noticed by the next."""
_LOOK = 0.05
"""Seconds between two looks at what there is before it serves."""
_PATIENCE_AT_THE_END = 40.0
"""Seconds for requests to end: more than GracefulShutdownTimeout."""
_IMPATIENCE = 15.0
"""Seconds for httpd to end without that: it kills children after ten."""


class Foreground:
    """A server whose httpd is this process's child."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared, self.state = prepared, prepared.state
        self._log = process.Log(self.state.log) if self.state.log else None
        self._said: list[str] = []
        """What httpd has written to its standard streams, and nobody has been shown yet: before it has a log, or with --log-to-terminal."""
        self._history: list[str] = []
        self._reads = threading.Lock()
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._reads_output: Optional[threading.Thread] = None
        self._reload = False
        self._serves = False
        # Before anything is imported: what changes meanwhile is a change, too.
        self._files = Watch(prepared) if prepared.state.options.reload else None
        self._ending: Optional[signal.Signals] = None
        """What httpd is to be told, once somebody wants all of it to end."""

    def run(self) -> int:
        """Serve until a signal says otherwise; the exit status. Raises Problem where it does not start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._ask_for_reload)
        try:
            self._start()
            if self._wait():
                self.prepared.lock.release()
                self._serves = True
                self._greet()
                return self._watch()
            return 0
        finally:
            self._stop()

    def _end(self, number: int, frame: Optional[FrameType]) -> None:
        # Noted, and seen to by who waits: an exception could come while a process is being started.
        if self._ending is None:
            self._ending = signal.SIGWINCH if number == signal.SIGTERM else signal.SIGTERM
        else:
            self._ending = signal.SIGTERM if self._ending == signal.SIGWINCH else signal.SIGKILL

    def _ask_for_reload(self, number: int, frame: Optional[FrameType]) -> None:
        self._reload = True

    def _start(self) -> None:
        state = self.state
        forget_pid(state)
        # A session of its own: the terminal's Ctrl-C is this process's alone.
        self._child = subprocess.Popen(
            [state.program, "-d", state.root, "-f", state.config, "-DFOREGROUND"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.prepared.environment,
            cwd=state.options.working,
            start_new_session=True,
        )
        self._reads_output = threading.Thread(target=self._read, args=(self._child,), daemon=True)
        self._reads_output.start()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                with self._reads:
                    self._said.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _new_lines(self) -> list[str]:
        with self._reads:
            lines, self._said = self._said, []
        lines += self._log.new_lines() if self._log else []
        self._history = [*self._history, *lines][-200:]
        return lines

    def _wait(self) -> bool:
        """Until it serves; False if it is not to, any more. Raises Problem where it does not, with the reason."""
        assert self._child is not None and self._reads_output is not None
        patience = _Patience(self.prepared, lambda: [*self._history, *self._new_lines()])
        question = process.Question(self.state.options)
        while self._ending is None and self._child.poll() is None and not patience.is_over(self._child.pid):
            # Not longer at once: a signal does not interrupt it, and a child that fails may not live longer.
            if question.is_answered(_LOOK):
                question.close()
                self._new_lines()
                problem = failure(self.prepared, self._history)
                if problem:
                    raise problem
                return True
            # A refused connection is told at once, and nothing tells when a port begins to be listened to.
            time.sleep(0.005)
        if self._ending is not None:
            return False
        if self._child.poll() is not None:
            self._reads_output.join(1)
        self._new_lines()
        raise never_served(self.state, self._history)

    def _greet(self) -> None:
        _print(self._history)
        process.say("\n".join([*describe(self.prepared), "Ctrl-C stops it."]))

    def _watch(self) -> int:
        assert self._child is not None
        watch = self._files
        with watch or contextlib.nullcontext():
            while self._child.poll() is None and self._ending is None:
                self._show()
                if watch and watch.changed():
                    watch.report(self._child.pid)
                elif self._reload:
                    self._reload = False
                    self._child.send_signal(signal.SIGUSR1)
                time.sleep(_TICK)
        self._show()
        if self._ending is not None or self._child.returncode == 0:
            # The latter: `mod_python stop`, from elsewhere.
            return 0
        raise Problem(f"httpd has ended (status {self._child.returncode})", _place_of(self.state))

    def _show(self) -> None:
        _print(self._new_lines())

    def _stop(self) -> None:
        """Have httpd end: at once, or, after SIGTERM, when its requests are done. Each further signal is less patient."""
        child = self._child
        if child is None:
            return
        told, telling = None, process.Telling(self.state.root)
        limit = time.monotonic() + _PATIENCE_AT_THE_END
        while child.poll() is None and time.monotonic() < limit:
            number = self._ending or signal.SIGTERM
            if number == signal.SIGKILL:
                break
            if number != told:
                told = number
                limit = time.monotonic() + (_PATIENCE_AT_THE_END if number == signal.SIGWINCH else _IMPATIENCE)
                telling.told()
                child.send_signal(number)
            elif telling.is_forgotten():
                telling.told()
                process.tell(self.state, number, child.pid)
            # A further signal is to be passed on: waiting for the child alone would not see it.
            time.sleep(0.01)
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._child = None
        # Of one that has not come to serve, all is said.
        if self._serves:
            self._show()


class _Patience:
    """Of who waits for a server to serve. Says once that it takes long."""

    def __init__(self, prepared: Prepared, said: Callable[[], list[str]]) -> None:
        """``said`` gives the last lines that httpd has said."""
        self._prepared = prepared
        self._said = said
        self._begun = self._seen = time.monotonic()
        self._is_told = False
        self._children: set[int] = set()
        self._ended: set[int] = set()

    def is_over(self, pid: Optional[int]) -> bool:
        """Whether nobody need wait any longer for this httpd. Raises Problem where its children end before they serve."""
        state = self._prepared.state
        now = time.monotonic()
        passed = now - self._begun
        if passed > probe.IMPATIENT and not self._is_told:
            self._is_told = True
            told = state.options.target or state.options.handler or state.options.directory
            process.say(f"{told}: the import goes on, after {probe.IMPATIENT:.0f} seconds", True)
        if pid is not None:
            self._seen = now
        # Before it has written that file, httpd's children are none that serve: this module looks by them what a user can reach.
        if pid is not None and process.running(state) == pid:
            before, self._children = self._children, process.children(pid, state.config)
            self._ended |= before - self._children
        # httpd starts another one each time.
        if len(self._ended) > 1:
            raise self._explained()
        return passed > process.PATIENCE or now - self._seen > process.PATIENCE_WITHOUT

    def _explained(self) -> Problem:
        prepared = self._prepared
        try:
            probe.probed(prepared.site.targets, prepared.state.options, prepared.environment, prepared.identity)
        except Problem as problem:
            return problem
        lines = [line for line in self._said() if line.strip()][-10:]
        return Problem("httpd's children end before they serve:", "\n".join([*lines, _place_of(prepared.state)]))


def _print(lines: list[str]) -> None:
    """Show the access log's lines on standard output, and of the error log's what is more than a remark on standard error."""
    for line in lines:
        is_error = process.ERROR_LOG.match(line) is not None
        if process.is_worth_showing(line) or not is_error:
            process.say(line, is_error)


def background(prepared: Prepared) -> None:
    """Start a server, and wait until it serves. Raises Problem."""
    state = prepared.state
    log = process.Log(state.log)
    forget_pid(state)
    command = [state.program, "-d", state.root, "-f", state.config, "-k", "start"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        env=prepared.environment, cwd=state.options.working, errors="replace",
    )  # fmt: skip
    history = done.stderr.splitlines()
    patience = _Patience(prepared, lambda: [*history, *log.new_lines()])
    question = process.Question(state.options)
    try:
        while done.returncode == 0 and not patience.is_over(process.running(state)):
            if process.running(state) and question.is_answered(_LOOK):
                problem = failure(prepared, [*history, *log.new_lines()])
                if problem is None:
                    return
                raise problem
            history += log.new_lines()
            if not process.running(state) and any("AH0001" in line or "exiting" in line for line in history):
                break
            # As in the foreground; httpd is no child of this process any more.
            time.sleep(0.01)
        raise never_served(state, [*history, *log.new_lines()])
    except BaseException:
        process.stop(state, signal.SIGTERM)
        raise
    finally:
        question.close()


def forget_pid(state: root.State) -> None:
    """Remove a pid file that an httpd has left behind: httpd itself would signal whoever has that number now."""
    if process.running(state) is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(state.root, root.PID_FILE))


def failure(prepared: Prepared, lines: list[str]) -> Optional[Problem]:
    """What keeps a server, whose httpd answers, from serving: Python, or an application that cannot be imported."""
    text = "\n".join(lines)
    crashed = process.PYTHON_FAILED.search(text)
    if crashed:
        return Problem("httpd runs, but not Python in it:", f"{crashed[0]}\n{_place_of(prepared.state)}")
    failed = process.IMPORT_FAILED.search(text)
    if failed is None:
        return _start_up_failure(lines)
    options = prepared.state.options
    try:
        # Once more, in a process of its own, which can say it better.
        probe.probed(prepared.site.targets, options, prepared.environment, prepared.identity)
    except Problem as problem:
        return problem
    begin = text.index(failed[0])
    return Problem("an application could not be imported inside httpd, but in a process of its own:", text[begin:])


def _start_up_failure(lines: list[str]) -> Optional[Problem]:
    """The start-up of an ASGI application that has failed: what the application says, or its traceback."""
    for place, line in enumerate(lines):
        found = process.START_UP_FAILED.match(line)
        if found:
            # The same thread's, without what httpd has put in front of each.
            thread = re.search(r"\[pid [^]]*\]", found[1])
            assert thread is not None
            rest = [one.partition(thread[0])[2][1:] for one in lines[place + 1 :] if thread[0] in one]
            text = [one for one in (found[3], *rest) if not one.startswith("Traceback (most")]
            return Problem(f"{found[2]} has failed:", "\n".join(text))
    return None


def never_served(state: root.State, lines: list[str]) -> Problem:
    """httpd has ended, or does not answer: its last lines."""
    shown = [line for line in lines if line.strip()][-10:]
    if not shutil.disk_usage(state.root).free:
        shown.append(f"There is no space left where {state.root} is.")
    kind = PortTaken if any("could not bind to address" in line for line in shown) else Problem
    return kind("httpd did not start:", "\n".join([*shown, _place_of(state)]))


def _place_of(state: root.State) -> str:
    return f"Its configuration is {state.config}" + (f", its error log {state.log}." if state.log else ".")


def describe(prepared: Prepared) -> list[str]:
    """What is served, and where, in lines."""
    state, site = prepared.state, prepared.site
    whom = f", as {site.children[0]}" if site.children else ""
    lines = [f"Serving at {state.url} (process {process.running(state) or 'starting'}{whom})"]
    if site.pages:
        lines.append(f"  /  pages of {site.pages.directory} ({site.pages.handler})")
    lines += [f"  {target.prefix or '/'}  {target.spoken()}" for target in site.targets]
    lines += [f"  {prefix or '/'}  files of {directory}" for prefix, directory in state.options.static]
    lines += _left_out(prepared)
    if state.log:
        lines.append(f"Error log: {state.log}")
    return lines


def _left_out(prepared: Prepared) -> list[str]:
    """Pages that lie beside handlers, which may be their templates."""
    options = prepared.state.options
    folder = os.path.abspath(os.path.join(options.directory, options.target))
    if prepared.site.pages or not options.target or not os.path.isdir(folder):
        return []
    if not any(name.endswith(".psp") for name in os.listdir(folder)):
        return []
    command = f"mod_python start --handler mod_python.publisher {shlex.quote(options.target)}"
    return [f"  The pages beside them (*.psp) are theirs alone; `{command}` serves pages."]
