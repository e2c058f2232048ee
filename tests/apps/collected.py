"""What a `__del__` may wait for while objects are made of what is httpd's, and what tables cost."""

import gc
import os
import threading
import time

from mod_python import apache


class Garbage:
    """Its end, in the collector, waits for another thread that uses what this one uses."""

    def __init__(self, other):
        self.me, self.other = self, other

    def __del__(self):
        self.other.ask()


class Other:
    """A thread that looks at something when it is asked to."""

    def __init__(self, look):
        self.look = look
        self.asked, self.answered = threading.Semaphore(0), threading.Semaphore(0)
        self.failures = []
        self.questions = 0
        self.ended = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            self.asked.acquire()
            if self.ended:
                return
            try:
                self.look()
            except Exception as error:
                self.failures.append(repr(error))
            self.answered.release()

    def ask(self):
        self.questions += 1
        self.asked.release()
        if not self.answered.acquire(timeout=5):
            self.failures.append("waits for the one that waits for it")

    def end(self):
        self.ended = True
        self.asked.release()
        self.thread.join()


def tried(look, actions):
    """Has the collector run at each of the first objects that an action makes; what went wrong."""
    other = Other(look)
    failures = []
    before = gc.get_threshold()
    gc.disable()
    # What is made must be new: the collector counts nothing that Python takes from its lists of spare objects.
    kept = [[(number, number), [number], {number: number}] for number in range(3000)]
    try:
        for name, action in actions.items():
            for place in range(1, 14):
                gc.collect(0)
                Garbage(other)
                gc.set_threshold(place)
                gc.enable()
                try:
                    kept.append(action())
                finally:
                    gc.disable()
                if other.failures:
                    failures.append(f"{name}: {other.failures.pop()}")
                    break
            if len(failures) > 20 or any("waits" in failure for failure in failures):
                break
    finally:
        gc.set_threshold(*before)
        gc.enable()
    gc.collect()
    assert other.questions
    other.end()
    return failures


def actions_of(table):
    def popped():
        name, value = table.popitem()
        table.add(name, value)

    def iterated():
        iterator = iter(table)
        return next(iterator), next(iterator), list(table.iteritems()), list(table.itervalues())

    return {
        "items": table.items,
        "keys": table.keys,
        "values": table.values,
        "iteration": iterated,
        "popitem": popped,
        "several": lambda: table["several"],
        "setdefault": lambda: table.setdefault("several"),
        "get": lambda: table.get("k1"),
        "copy": table.copy,
        "repr": lambda: repr(table),
        "equals": lambda: table == table,
        "update": lambda: table.update({"k1": "v", "k2": [1, 2]}),
        "missing": lambda: table.get("missing", ()),
    }


def of_table(req, table):
    for number in range(6):
        table[f"k{number}"] = "v"
    for value in "abc":
        table.add("several", value)
    failures = tried(lambda: table.get("k1"), actions_of(table))
    for number in range(6):
        del table[f"k{number}"]
    del table["several"]
    req.write("\n".join(failures) or "none waited")
    return apache.OK


def own(req):
    return of_table(req, apache.table())


def servers(req):
    return of_table(req, req.server.get_options())


def headers_in(req):
    return of_table(req, req.headers_in)


def notes(req):
    return of_table(req, req.notes)


def of_connection(req):
    return of_table(req, req.connection.notes)


def attributes(req):
    """Each attribute and plain method of the objects, which a thread looks at, too."""
    names = {
        req: "useragent_addr parsed_uri allowed_methods interpreter phase unparsed_uri method finfo hlist status "
        "prev main next extension _request_rec content_languages bytes_sent mtime the_request content_type user",
        req.connection: "client_addr local_addr client_ip id base_server keepalive _conn_rec notes",
        req.server: "names wild_names port server_hostname next timeout _server_rec path",
        req.hlist: "handler silent is_location directory",
    }
    actions = {
        f"{type(owner).__name__}.{name}": lambda owner=owner, name=name: getattr(owner, name)
        for owner, listed in names.items()
        for name in listed.split()
    }
    methods = "get_config get_options get_addhandler_exts is_https meets_conditions document_root"
    for name in methods.split():
        actions[name] = getattr(req, name)
    actions["get_remote_host"] = lambda: req.get_remote_host(apache.REMOTE_NOLOOKUP, 1)
    actions["construct_url"] = lambda: req.construct_url("/x")
    actions["repr"] = lambda: repr(req.hlist)
    failures = tried(lambda: (req.method, req.connection.client_ip, req.headers_in.get("Host")), actions)
    req.write("\n".join(failures) or "none waited")
    return apache.OK


_tables = []


def kept(req):
    """A table that is updated after its request's end, by what fails."""

    def pairs():
        yield "a", "1"
        raise LookupError("the first error")

    _tables.append(req.headers_in)
    if len(_tables) > 1:
        for items, kind in ((pairs(), LookupError), ([("a", "1"), ("b",)], ValueError), ({"a": "1"}, RuntimeError)):
            try:
                _tables[0].update(items)
            except kind as error:
                req.write(f"{error}; ")
    return apache.OK


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def replaced(req):
    """Writes the same names again and again."""
    options, own = req.server.get_options(), apache.table()
    growth = []
    for table in (options, own):
        table["kept"] = "still there"
        before = _resident()
        for number in range(6_000):
            table["last"] = f"{number}" + "x" * 10_000
            table.add("added", "y" * 1000)
            del table["added"]
        growth.append(_resident() - before)
        assert table["kept"] == "still there" and table["LAST"].startswith("5999x") and "added" not in table
        del table["last"]
    for _ in range(40):
        own.update({f"n{number}": "z" * 1000 for number in range(1000)})
        assert len(own) == 1001
        own.clear()
        own["kept"] = "1"
    growth.append(_resident() - before)
    req.write(" ".join(map(str, growth)))
    return apache.OK


def _seconds(act):
    best = 1e9
    for _ in range(3):
        begun = time.process_time()
        act()
        best = min(best, time.process_time() - begun)
    return best


def filled(req):
    """How long it takes to make tables of two sizes, and whether they are as they should be."""
    many = {f"X-{number}": str(number) for number in range(20)}
    req.headers_out.update({**many, "Content-Length": "5", "x-0": "zero"})
    assert req.headers_out["X-0"] == "zero" and len(req.headers_out) == 21
    del req.headers_out["Content-Length"]
    table = apache.table([("B", "0"), ("a", "1"), ("b", "2")])
    table.add("a", "again")
    table.add("c", "3")
    table.update([(f"n{number % 10}", number) for number in range(20)] + [("A", "new"), ("A", "newer")])
    assert table.items()[:3] == [("B", "2"), ("a", "newer"), ("c", "3")], table.items()
    assert table.items()[3:] == [(f"n{number}", str(number + 10)) for number in range(10)]
    for size in (20_000, 80_000):
        pairs = {f"a{number}": "v" for number in range(size)}
        req.write(f"{_seconds(lambda pairs=pairs: apache.table(pairs))} ")
    # What comes before a mistake is set.
    table = apache.table()
    try:
        table.update([("a", "1"), ("b", "2"), ("c",)])
    except ValueError:
        assert table.items() == [("a", "1"), ("b", "2")]
    return apache.OK


def methods(req):
    """httpd looks through its list for each method."""
    try:
        req.allow_methods([f"M{number}" for number in range(1001)])
    except ValueError as error:
        req.write(f"{error}; {len(req.allowed_methods)}; ")
    req.allow_methods([f"M{number}" for number in range(1000)])
    req.allow_methods(["GET", "OTHER"])
    req.write(str(len(req.allowed_methods)))
    return apache.OK
