"""Random calls of everything that handlers can reach, in a real httpd: nothing that Python does may kill or hang a child.

    python tests/apifuzz.py [--seconds 60] [--mpm event] [--h2] [--interpreters main|sub|own|pool] [--module path] [--seed N]

The handlers are tests/apps/apifuzzing, the clients apifuzz_clients.py. A run is a row of rounds, each with an httpd of its own and
settings that the seed chooses: how soon children are recycled, how much memory their pools keep, which sessions there are, whether
httpd restarts meanwhile. A crash, a hang, a panic, a report of AddressSanitizer, or native code that breaks CPython's rules
is a finding; the run prints what the children did last, keeps the server's directory, and ends with status 1.

--seed N repeats a run as far as threads let it; --only-seed S repeats the conversation of one request again and again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from apifuzz_clients import Conversation, Hang, conversation, hold
from apifuzz_site import CONFIG, FILES, HANDLERS, INTERPRETERS, LOADED, MODULES, SLOW
from client import ask
from conftest import Server

from httpd import RELEASE, free_port, system_httpd

ROUND = 45.0
"""Seconds after which another httpd is started with other settings."""
ALARM = re.compile(
    r"exit signal|panic at|panicked at|Fatal Python error|AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|"
    r"free\(\): |malloc\(\): |malloc_consolidate|realloc\(\): |double free|corrupted (size|double|unsorted)|stack smashing|"
    r"Assertion [`'\"].* failed|overflowed its stack|exited with fatal|sending a SIGKILL|apr_thread_create: unable|a deadlock$"
)
HARMLESS = "exit signal Terminated (15)"
"""httpd's own, when it stops."""
NOISE = re.compile(
    r"closure|call_once|catch_unwind|do_call|__rust_try|guard::guard|_PyEval|Vectorcall|vectorcall|trampolines::(run|on)<"
)
"""Frames that only lead from one to the next."""
ASAN = "abort_on_error=1:allocator_may_return_null=1"
"""More memory than there is: a MemoryError."""
LOG_LIMIT = 48 << 20
HEAD, SLOT = 16384, 192
"""As in tests/apps/apifuzzing/journal.py."""


@dataclass
class Options:
    """A run."""

    seconds: float = 60
    mpm: str = "event"
    http2: bool = False
    interpreters: str = "main"
    module: Path = RELEASE
    seed: int = 1
    clients: int = 10
    keep_going: bool = False
    restarts: bool = True
    only: Optional[int] = None


@dataclass
class Result:
    """What a run has shown."""

    conversations: int = 0
    rounds: int = 0
    restarts: int = 0
    seconds: float = 0
    statuses: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    children: int = 0
    unfinished: int = 0
    """Interpreters that did not come to their end: of children that were lost, or cut short when httpd stopped."""
    lost: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(number for name, number in self.counts.items() if name.startswith("call "))

    def __str__(self) -> str:
        def listed(start: str) -> str:
            found = Counter(
                {name[len(start) :]: count for name, count in self.counts.items() if name.startswith(start)}
            )
            return ", ".join(f"{name} {count}" for name, count in found.most_common(60))

        return "\n".join(
            [
                f"conversations {self.conversations} in {self.seconds:.0f} s, {self.rounds} rounds, {self.restarts} graceful restarts",
                f"answers       {', '.join(f'{name} {count}' for name, count in self.statuses.most_common(40))}",
                f"calls         {self.calls} ({self.calls / max(self.seconds, 1):.0f} a second): {listed('call ')}",
                f"exceptions    {listed('error ')}",
                f"interpreters  {self.children} (of all children; {self.unfinished} had no end), children lost {self.lost}",
                f"findings      {len(self.findings)}",
            ]
        )


class Round:
    """One httpd under random requests."""

    def __init__(self, options: Options, number: int, result: Result, conversations: Conversations) -> None:
        self.options, self.result, self._conversations = options, result, conversations
        lots = random.Random(f"{options.seed} {number}")
        self.bare = free_port()
        own = [f"MaxMemFree {lots.choice((1, 1, 0, 64))}", f"MaxConnectionsPerChild {lots.choice((0, 30, 200))}"]
        general, elsewhere = INTERPRETERS[options.interpreters]
        config = CONFIG.format(
            session=lots.choice(("MemorySession", "FileSession", "DbmSession", "SqliteSession")),
            all="\n    ".join(f"Python{name}Handler apifuzzing" for name in HANDLERS),
            elsewhere=elsewhere,
        )
        self.restarts = options.restarts and lots.random() < 0.75
        self.slow = 0 if self.restarts or lots.random() < 0.3 else free_port()
        config += SLOW.format(python=sys.executable) if self.slow else ""
        slow = ["an error log that is slow"] if self.slow else []
        self.settings = ", ".join([*own, *slow, *re.findall(r"session_type (\w+)", config)])
        config = "\n".join([*own, general, "Protocols h2c http/1.1" if options.http2 else "", config])
        self.server = Server(
            config.replace("@BARE@", str(self.bare)).replace("@SLOW@", str(self.slow)),
            mpm=options.mpm,
            module=options.module,
            threads=8,
            children=2,
            level="notice",
            root=Path(tempfile.mkdtemp(prefix="apifuzz-")),
            modules=(*MODULES, *(("http2",) if options.http2 else ())),
        )
        for name, text in FILES.items():
            self.server.write(name, text)
        for name in ("journal", "sessions"):
            (self.server.root / name).mkdir()
            (self.server.root / name).chmod(0o777)
        self.journal = self.server.root / "journal"
        self._stopping, self._looking = threading.Event(), threading.Lock()
        self._stacks_in, self._stacks_at = self.journal, -60.0
        self._killed: set[str] = set()
        self._told: set[str] = set()
        self._log_at = 0
        self._recent: deque[str] = deque(maxlen=60)
        self._running: dict[str, Conversation] = {}
        self._lots = lots
        self.found = self._keep = False

    def run(self, seconds: float) -> None:
        """Start, ask for so long, stop."""
        os.environ["APIFUZZ_JOURNAL"] = str(self.journal)
        asan = os.environ.get("ASAN_OPTIONS", "")
        os.environ["ASAN_OPTIONS"] = ":".join([*filter(None, [asan]), f"{ASAN}:log_path={self.journal}/asan"])
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        try:
            self.server.start()
        finally:
            os.environ["ASAN_OPTIONS"] = asan
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        names = [f"client {number}" for number in range(self.options.clients)]
        threads = [threading.Thread(target=self._ask, name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        limit, next_restart = time.monotonic() + seconds, time.monotonic() + self._lots.uniform(4, 12)
        while time.monotonic() < limit and not self._stopping.wait(0.2):
            self._look()
            # A module that has changed is loaded again, by whoever comes first.
            with contextlib.suppress(OSError):
                os.utime(self.server.root / "apps" / self._lots.choice(LOADED))
            if self.restarts and time.monotonic() > next_restart and limit - time.monotonic() > 4:
                next_restart = time.monotonic() + self._lots.uniform(6, 20)
                self.server.signal(signal.SIGUSR1)
                self.result.restarts += 1
        self._stopping.set()
        for thread in threads:
            thread.join(3 if self.found else None)
        self._end()

    def _end(self) -> None:
        if not self.found:
            self._probe("after the round")
        with contextlib.suppress(OSError):
            self._journals(final=False)
        stuck = threading.Timer(6, self._stuck)
        stuck.start()
        try:
            self.server.stop()
        except subprocess.TimeoutExpired:
            self._finding("httpd does not stop")
        stuck.cancel()
        stuck.join()
        self._look()
        self._journals(final=True)
        for report in self.journal.glob("asan*"):
            self._finding(f"AddressSanitizer: {report}\n{report.read_text(errors='replace')[:6000]}")
        if not self.found and not self._keep:
            self.remove()

    def _ask(self) -> None:
        name = threading.current_thread().name
        while not self._stopping.is_set():
            found = next(self._conversations)
            self._running[name] = found
            try:
                hold(found, self.server.port, self.bare, self.slow or self.server.port, self.result.statuses)
            except Hang as error:
                self._hangs(found, str(error))
            except OSError as error:
                # The parent may be about to end: it has no children left, or the machine no ports.
                self.result.statuses[type(error).__name__] += 1
                self._stopping.wait(0.05)
            self.result.conversations += 1
            self._running.pop(name, None)

    def _hangs(self, found: Conversation, why: str) -> None:
        if self._stopping.is_set() and self.found:
            return
        stacks = self._stacks()
        seeds = ", ".join(f"{request.seed} ({request.method} {request.path[:60]})" for request in found.requests)
        self._finding(f"hang: {why}: {found.kind} seeds {seeds}; stacks in {stacks}")

    def _probe(self, when: str) -> None:
        for _ in range(3):
            try:
                if ask(self.server.port, "/probe", timeout=15).text == "alive":
                    return
            except (OSError, ValueError):
                # Two or three times: a child that has just ended is being replaced.
                time.sleep(0.2)
            except Exception as error:  # http.client's: a child that was just told to go
                print(f"probe: {error!r}", file=sys.stderr)
        self._finding(f"hang: {when} no probe is answered; stacks in {self._stacks()}")

    def _stuck(self) -> None:
        print(f"httpd is slow to stop; stacks in {self._stacks()}", flush=True)
        self._keep = True

    def _stacks(self) -> Path:
        """Where every thread of every child is, if gdb is there; looked at once for all that hangs at a time."""
        with self._looking:
            if time.monotonic() - self._stacks_at < 20:
                return self._stacks_in
            self._stacks_in = self.journal / f"stacks-{time.monotonic_ns()}"
            with self._stacks_in.open("wb") as file:
                for pid in self._children():
                    for task in Path(f"/proc/{pid}/task").glob("*/wchan"):
                        with contextlib.suppress(OSError):
                            file.write(f"{task} {task.read_text()}\n".encode())
                    file.flush()
                    if shutil.which("gdb"):
                        more = ("-ex", "thread apply all bt 60", "-ex", "thread apply all py-bt")
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            subprocess.run(
                                ["gdb", "-p", str(pid), "-batch", *more],
                                stdin=subprocess.DEVNULL,
                                stdout=file,
                                stderr=file,
                                timeout=60,
                                check=False,
                            )
            if self.options.keep_going:
                # What hangs is known now; the others are to go on.
                for pid in self._children():
                    with contextlib.suppress(ProcessLookupError):
                        self._killed.add(str(pid))
                        os.kill(pid, signal.SIGKILL)
            self._stacks_at = time.monotonic()
            return self._stacks_in

    def _children(self) -> list[int]:
        """The children that live; also the parent's, of a restart before, and while it stops."""
        pids = {int(file.name.split("-")[0]) for file in self._files()}
        with contextlib.suppress(OSError, RuntimeError):
            pids.update(self.server.child_pids())
        return sorted(pid for pid in pids if Path(f"/proc/{pid}").exists())

    def remove(self) -> None:
        """Remove the server's directory."""
        shutil.rmtree(self.server.root, ignore_errors=True)

    def _files(self) -> list[Path]:
        """The journals."""
        return [file for file in self.journal.glob("*-*-*") if file.name[0].isdigit()]

    def _look(self) -> None:
        """What the log and the journals tell."""
        for path in (self.server.log, self.server.root / "output"):
            self._read(path)
        for file in self._files():
            self._take(file, gone=not Path(f"/proc/{file.name.split('-')[0]}").exists())

    def _read(self, path: Path) -> None:
        if path == self.server.log:
            with contextlib.suppress(FileNotFoundError), path.open(errors="surrogateescape", newline="\n") as file:
                file.seek(self._log_at)
                text = file.read()
                whole = text.rfind("\n") + 1
                lines = text[:whole].splitlines()
                self._log_at += len(text[:whole].encode(errors="surrogateescape"))
        else:
            lines = path.read_text(errors="replace").splitlines() if path.exists() and path.stat().st_size else []
            lines = [line for line in lines if ALARM.search(line)][:1] if not self.found else []
        for line in lines:
            killed = re.search(r"child process (\d+) still did not exit, sending a SIGKILL", line)
            if killed:
                self._killed.add(killed[1])
            signalled = re.search(r"child pid (\d+) exit signal Killed", line)
            if ALARM.search(line) and HARMLESS not in line and not (signalled and signalled[1] in self._killed):
                self._alarm(line.rstrip())
            self._recent.append(line.rstrip()[:300])
        if self._log_at > LOG_LIMIT:
            os.truncate(self.server.log, 0)
            self._log_at = 0

    def _alarm(self, line: str) -> None:
        lost = re.search(r"child pid (\d+) exit signal", line)
        text = line[:600]
        if lost:
            self.result.lost += 1
            text += self._core()
            for file in self.journal.glob(f"{lost[1]}-*"):
                text += f"\n  last of {file.name}:\n{self._tail(file)}"
        running = [request.seed for found in list(self._running.values()) for request in found.requests]
        recent = "\n".join(f"    {old}" for old in list(self._recent)[-12:])
        self._finding(f"{text}\n  seeds in flight: {running}\n  log before:\n{recent}")

    def _core(self) -> str:
        """Where it crashed, of the core that is there: the frames that say something, and Python's."""
        text = ""
        for core in self.journal.glob("core*"):
            if shutil.which("gdb"):
                shown = ["-ex", "thread apply all bt 120", "-ex", "py-bt"]
                command = ["gdb", "-batch", *shown, system_httpd().program, str(core)]
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
                # httpd passes a signal on to its process: the thread that had it is not always the first one.
                threads = done.stdout.split("\nThread ")[1:]
                threads = [thread for thread in threads if "<signal handler called>" in thread][:2]
                for thread in threads:
                    frames = [line for line in thread.splitlines() if line.startswith("#") and not NOISE.search(line)]
                    text += "".join(f"\n    {frame[:160]}" for frame in frames[:45])
                python = [line for line in done.stdout.splitlines() if line.startswith('  File "')]
                text += "".join(f"\n    {line}" for line in python[:25])
            core.unlink()
        return text

    def _finding(self, text: str) -> None:
        self.found = True
        self.result.findings.append(f"{text}\n  settings: {self.settings}; root: {self.server.root}")
        print(f"FINDING {self.result.findings[-1]}", flush=True)
        if not self.options.keep_going:
            self._stopping.set()

    def _tail(self, file: Path, count: int = 40) -> str:
        """The last entries of a journal."""
        slots = file.read_bytes()[HEAD:]
        entries = [slots[place : place + SLOT].decode(errors="replace").strip() for place in range(0, len(slots), SLOT)]
        entries = sorted((entry for entry in entries if entry[:1].isdigit()), key=lambda entry: int(entry.split()[0]))
        return "\n".join(f"    {entry}" for entry in entries[-count:])

    def _take(self, file: Path, gone: bool) -> None:
        """Add up what an interpreter has counted; its file goes with its child, if nothing has happened."""
        with contextlib.suppress(OSError, ValueError):
            with file.open("rb") as opened:
                head = opened.read(HEAD)
            counts = json.loads(head[1:].rstrip(b" \0") or b"{}")
            for name in counts:
                if name.startswith("finding ") and f"{file.name} {name}" not in self._told:
                    self._told.add(f"{file.name} {name}")
                    self._finding(f"{name}\n{self._tail(file)}")
            if gone:
                self.result.counts.update(counts)
                self.result.children += 1
                if head[:1] != b"E" and file.name.split("-")[0] not in self._killed:
                    self.result.unfinished += 1
                if self.found:
                    file.rename(file.with_name(f"old.{file.name}".replace("-", "_")))
                else:
                    file.unlink()

    def _journals(self, final: bool) -> None:
        for file in self._files():
            self._take(file, gone=final)


class Conversations:
    """The conversations of a run, one after the other, for all clients."""

    def __init__(self, options: Options) -> None:
        self._options, self._lock, self._number = options, threading.Lock(), options.seed * 1_000_000

    def __next__(self) -> Conversation:
        if self._options.only is not None:
            return conversation(self._options.only // 10, self._options.http2)
        with self._lock:
            self._number += 1
            return conversation(self._number, self._options.http2)


def fuzz(options: Options) -> Result:
    """A run."""
    result, begun, conversations = Result(), time.monotonic(), Conversations(options)
    while (left := options.seconds - (time.monotonic() - begun)) > 0:
        if result.rounds and left < 3:
            break
        Round(options, result.rounds, result, conversations).run(min(ROUND, left))
        result.rounds += 1
        if result.findings and not options.keep_going:
            break
    result.seconds = time.monotonic() - begun
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Random calls of everything that handlers can reach.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--mpm", default="event", help="one, or several with commas: the seconds are for each")
    parser.add_argument("--h2", action="store_true", help="half of the requests over HTTP/2 (event and worker)")
    parser.add_argument("--interpreters", choices=INTERPRETERS, default="main")
    parser.add_argument("--module", type=Path, default=RELEASE)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--only-seed", type=int, dest="only")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--no-restarts", action="store_false", dest="restarts")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--avoid", default="", help="a regular expression: operations that find what is known")
    given = vars(parser.parse_args())
    os.environ["APIFUZZ_AVOID"] = given.pop("avoid")
    mpms, given["http2"], bad = given.pop("mpm").split(","), given.pop("h2"), False
    for mpm in mpms:
        options = Options(mpm=mpm, **{**given, "http2": given["http2"] and mpm != "prefork"})
        print(
            f"{mpm}, interpreters {options.interpreters}{', h2' if options.http2 else ''}, --seed {options.seed}",
            flush=True,
        )
        result = fuzz(options)
        print(result, flush=True)
        bad = bad or bool(result.findings)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
