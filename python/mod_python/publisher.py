"""The publisher: URLs name functions and objects of modules beside them.

``/dir/module/function?x=1`` calls ``function(x="1")`` of ``dir/module.py``; ``/dir/`` is ``index()`` of ``dir/index.py``.

Nothing whose name begins with an underscore can be reached, no module, no class, no builtin function, and nothing that
comes from Python's standard library or from mod_python, whatever a page imports or wraps it in. ``PythonOption
mod_python.publisher.imported off`` refuses functions of all other modules, too.

``async def`` functions run in an event loop of the request's own.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import types
from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import _apache

from mod_python import _calls, _reachable, _tracebacks, apache, util
from mod_python._later import later
from mod_python.cache import ModuleCache

if TYPE_CHECKING:
    import ast
    import hmac
    import inspect

    from _apache import mp_request
else:
    ast = later("ast")
    hmac = later("hmac")
    inspect = later("inspect")


class PageCache(ModuleCache):
    """The modules of pages, by file name."""

    def load(self, file: str, auto_reload: bool) -> ModuleType:
        """A page's module; without ``auto_reload`` the one that is there, whatever has become of its file."""
        entry = None if auto_reload else self._entries.get(file)
        module: ModuleType = entry.value if entry is not None and entry.is_built else self[file]
        return module


page_cache = PageCache()

tp_rules: dict[type, tuple[bool, bool]] = {
    kind: (False, True) for kind in vars(types).values() if isinstance(kind, type)
}
"""For the exact type of an object: may names be looked up in it, and may it be published? Change it at will: what differs
from the beginning overrules everything else. Types that are not here are decided by their kind (`_reachable`)."""
tp_rules.update(
    dict.fromkeys((str, bytes, bytearray, int, float, complex, bool, list, tuple, dict, set, frozenset), (False, True))
)
tp_rules.update(dict.fromkeys(_reachable.HIDDEN, (False, False)))
_standard_rules = dict(tp_rules)

_MARKERS = ("__auth__", "__access__", "__auth_realm__")
_UNSET = object()
_HTML_END = re.compile(r"</html\s*>\s*$", re.I)


_METHODS = ["GET", "POST", "HEAD"]


def handler(req: mp_request) -> int:
    """Publish what the URL names. Raises SERVER_RETURN: 405, 404, 403, 401, 400."""
    is_known, debugs, reloads, key = _apache._page(req) or _asked(req)
    if not is_known:
        raise apache.SERVER_RETURN(apache.HTTP_METHOD_NOT_ALLOWED)
    plain = None if key is None else _plain_functions.get(key)
    function = None if plain is None else plain.function(reloads)
    if plain is not None and function is not None:
        file = req.filename = plain.file
    else:
        file, path, missing = _locate(req)
        req.filename = file
    try:
        if plain is not None and function is not None:
            req.form = form = util.FieldStorage(req, keep_blank_values=1)
            result = _calls.call(function, plain.parameters, form, {"req": req})
            published = _write(req, result) if type(result) in _TEXTS else publish_object(req, result)
        else:
            module = page_cache.load(file, reloads)
            found = resolve_object(req, module, path)
            if key is not None:
                _remember(key, _PlainFunction(file, missing, path), module, found)
            published = publish_object(req, found)
    except Exception as error:
        _tracebacks.place(error, file)
        raise
    if not published and debugs and not req._bytes_queued and req.next is None:
        req.log_error(f"mod_python.publisher: there is nothing to publish for {req.unparsed_uri}", apache.APLOG_NOTICE)
    return apache.OK


def _asked(req: mp_request) -> tuple[bool, bool, bool, Optional[bytes]]:
    """What `_apache._page` says, piece by piece."""
    req.allow_methods(_METHODS)
    return (req.method in _METHODS, *_apache._switches(req), _apache._place(req))


class _PlainFunction:
    """Where the URL and the configuration have led to: a function of the page's own, without markers anywhere, as most are.

    What has been found out about it lies in its code, and holds while the page has that; what is different goes the whole
    way.
    """

    code: CodeType
    parameters: Any
    _seen: tuple[Any, Optional[ModuleType]] = (None, None)
    """The time of the page's file, and the module that was made of it."""

    def __init__(self, file: str, missing: Optional[str], name: str) -> None:
        self.file, self._missing, self._name = file, missing, name

    def function(self, reloads: bool) -> Optional[FunctionType]:
        """The function, if all is as it was."""
        if self._missing is not None and _apache._signature(self._missing) is not None:
            return None
        entry = page_cache._entries.get(self.file)
        now = None if entry is None else _apache._signature(self.file)
        if entry is None or now is None:
            return None
        made_at, module = self._seen
        # A new time comes before a new module: with the same one before and behind it, the module is this time's.
        if entry.timestamp is not made_at or entry._value is not module or entry.timestamp is not made_at:
            with entry.lock:
                made_at, module = self._seen = entry.timestamp, entry.value if entry.is_built else None
        return None if module is None or (reloads and made_at != now) else self.find(module)

    def find(self, module: ModuleType) -> Optional[FunctionType]:
        """The function in a page's module, if nothing there asks for anything, or makes up names."""
        names = vars(module)
        found = names.get(self._name)
        if type(found) is not FunctionType or type(module) is not ModuleType or found.__code__ is not self.code:
            return None
        if vars(found) or "__auth__" in names or "__access__" in names or "__getattr__" in names:
            return None
        return found if tp_rules.get(FunctionType) == _standard_rules[FunctionType] else None


_MOST = 10_000
_plain_functions: dict[bytes, _PlainFunction] = {}


def _remember(key: bytes, plain: _PlainFunction, module: ModuleType, found: Any) -> None:
    """Keep what is plain for the next request."""
    if type(found) is FunctionType and found.__code__.co_filename == module.__file__ and not _marked(found):
        plain.code = found.__code__
        if plain.find(module) is found:
            plain.parameters = _calls.parameters_of(found)
            if len(_plain_functions) >= _MOST:
                _plain_functions.clear()
            _plain_functions[key] = plain


def _locate(req: mp_request) -> tuple[str, str, Optional[str]]:
    """The page's file, the dotted path in it, and the file that would come before it if it were there."""
    directory, _, name = (req.filename or "").rpartition("/")
    name = name or "index"
    suffixes = ["py", *req.get_addhandler_exts().split(), *([req.extension[1:]] if req.extension else [])]
    name = re.sub(r"\.(?:" + "|".join(map(re.escape, suffixes)) + r")$", "", name)
    for part in (*_below(req, directory), name):
        if part[:1] == "_":
            _refuse(req, f"{part!r} begins with an underscore")
    path = (req.path_info or "")[1:]
    path = path[:-1] if path.endswith("/") else path
    file, missing = f"{directory}/{name}.py", None
    if "\0" in file or not os.path.isfile(file):
        missing = None if "\0" in file else file
        path = f"{name}/{path}" if path else name
        file = f"{directory}/index.py"
        if not os.path.isfile(file):
            raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)
    return os.path.normpath(file), path.replace("/", ".") or "index", missing


def _below(req: mp_request, directory: str) -> list[str]:
    """The parts of a page's directory that stand below the one that the handler is for, or below the document root."""
    section = req.hlist.directory if req.hlist is not None else None
    for root in (section, req.document_root()):
        root = (root or "").rstrip("/")
        if root and f"{directory}/".startswith(f"{root}/"):
            return directory[len(root) :].split("/")
    return []


def resolve_object(req: mp_request, module: ModuleType, path: str) -> Any:
    """What a dotted path names in a page's module, with the rules and the authentication on the way.

    Raises SERVER_RETURN.
    """
    gate = _Gate(req)
    gate.pass_through(module)
    found: Any = module
    for place, name in enumerate(path.split(".")):
        if not name:
            raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)
        if name[0] == "_":
            _refuse(req, f"{name!r} begins with an underscore")
        if place and not _rule(found)[0]:
            _refuse(req, f"names cannot be looked up in a {type(found).__name__}")
        try:
            found = getattr(found, name)
        except AttributeError:
            raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND) from None
        if _is_foreign(req, found, module, inside=place > 0):
            _refuse(req, f"{name!r} comes from somewhere else than the page")
        gate.pass_through(found)
    if not _rule(found)[1]:
        _refuse(req, f"a {type(found).__name__} cannot be published")
    return found


def _refuse(req: mp_request, reason: str) -> NoReturn:
    req.log_error(f"mod_python.publisher: cannot access {req.unparsed_uri}: {reason}", apache.APLOG_WARNING)
    raise apache.SERVER_RETURN(apache.HTTP_FORBIDDEN)


def _rule(found: Any) -> tuple[bool, bool]:
    """May names be looked up in an object, and may it be published?"""
    rule = tp_rules.get(type(found))
    if rule is not None and rule != _standard_rules.get(type(found)):
        return rule
    return _reachable.is_searchable(found), _reachable.is_publishable(found)


def _is_foreign(req: mp_request, found: Any, module: ModuleType, *, inside: bool) -> bool:
    """Is this surely not there to be called: of Python's library, or of mod_python?

    The option says what holds for functions that a page imports from elsewhere, not for those inside its objects.
    """
    if isinstance(found, _reachable.HIDDEN) or not callable(found):
        # The rules say what happens to these.
        return False
    called = _reachable.origin(found)
    if isinstance(called, FunctionType) and (
        called.__code__.co_filename == module.__file__ or called.__module__ == module.__name__
    ):
        return False
    if _reachable.is_foreign(called):
        return True
    option = str(req.get_options().get("mod_python.publisher.imported", "on")).lower()
    is_function = isinstance(found, (FunctionType, MethodType, partial)) or hasattr(found, "__wrapped__")
    return is_function and not inside and option in ("off", "no", "false", "0")


class _Gate:
    """Authentication on the way to an object: user and realm once found stay."""

    def __init__(self, req: mp_request) -> None:
        self.req, self.realm = req, "unknown"
        self.user: Optional[str] = None
        self.password: Optional[str] = None

    def pass_through(self, object: Any) -> None:
        """Check what an object asks for. Raises SERVER_RETURN: 400, 401, 403."""
        auth, access, realm = _demands(object)
        if realm is not _UNSET:
            self.realm = str(realm)
        if auth is _UNSET and access is _UNSET:
            return
        if not self.user and "Authorization" in self.req.headers_in:
            self._read_credentials()
        if auth is not _UNSET:
            if not self.user:
                self._challenge()
            if callable(auth):
                allowed = _settled(auth(self.req, self.user, self.password))
            elif isinstance(auth, dict):
                allowed = self.user in auth and _same(auth[self.user], self.password)
            else:
                allowed = auth
            if not allowed:
                self._challenge()
        if access is not _UNSET:
            if callable(access):
                allowed = _settled(access(self.req, self.user))
            elif isinstance(access, (list, tuple, set, frozenset)):
                allowed = self.user in access
            else:
                allowed = access
            if not allowed:
                raise apache.SERVER_RETURN(apache.HTTP_FORBIDDEN)

    def _read_credentials(self) -> None:
        header = self.req.headers_in["Authorization"]
        scheme, _, encoded = (header if isinstance(header, str) else "").strip().partition(" ")
        try:
            if scheme.lower() != "basic":
                raise ValueError("not Basic")
            text = _decoded(base64.b64decode(encoded.strip(), validate=True))
            self.user, colon, self.password = text.partition(":")
            if not colon:
                raise ValueError("no colon")
        except (binascii.Error, ValueError):
            self.user = self.password = None
            raise apache.SERVER_RETURN(apache.HTTP_BAD_REQUEST) from None

    def _challenge(self) -> NoReturn:
        realm = self.realm.replace("\\", "\\\\").replace('"', '\\"')
        self.req.err_headers_out["WWW-Authenticate"] = f'Basic realm="{realm}"'
        raise apache.SERVER_RETURN(apache.HTTP_UNAUTHORIZED)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _same(expected: Any, given: Optional[str]) -> bool:
    """Compares in constant time."""
    if not isinstance(expected, (str, bytes)) or given is None:
        return False
    expected = expected.encode("utf-8", "surrogatepass") if isinstance(expected, str) else expected
    return hmac.compare_digest(expected, given.encode("utf-8", "surrogatepass"))


def _demands(object: Any) -> tuple[Any, Any, Any]:
    """``__auth__``, ``__access__`` and ``__auth_realm__`` of an object; of what is called in the end, those in its body."""
    # What the page's author wrote and marked may stand in a functools.wraps, a partial, a cache: it does not get lost there.
    plain = _reachable.origin(object) if callable(object) else None
    found = dict(_marked(plain)) if isinstance(plain, FunctionType) else {}
    function = object.__func__ if isinstance(object, MethodType) else object
    if isinstance(function, FunctionType):
        found.setdefault("__auth_realm__", getattr(function, "__auth_realm__", _UNSET))
    else:
        found.update((name, getattr(object, name)) for name in _MARKERS if hasattr(object, name))
    return tuple(found.get(name, _UNSET) for name in _MARKERS)


def _marked(function: FunctionType) -> dict[str, Any]:
    """The markers in a function's body, found without running it.

    The statements at the top of the body that define them are run by themselves, with the function's globals. A marker
    that cannot be found in this way refuses the request: a restriction must not get lost.
    """
    code = function.__code__
    names = {*code.co_varnames, *code.co_cellvars, *code.co_names} & set(_MARKERS)
    if not names:
        return {}
    known: Optional[dict[str, Any]] = function.__dict__.get("_mod_python_markers")
    if known is not None:
        return known
    found: dict[str, Any] = {}
    statements = [statement for statement in _body(function) if _defines(statement) & names]
    tree = ast.Module(body=statements, type_ignores=[])
    exec(compile(tree, code.co_filename, "exec", dont_inherit=True), function.__globals__, found)
    missing = {name for name in names if name not in found and name not in code.co_names}
    if missing:
        raise RuntimeError(
            f"{function.__qualname__}: cannot tell what {', '.join(sorted(missing))} is without running the function; "
            "define it at the beginning of the function's body"
        )
    found = {name: found[name] for name in _MARKERS if name in found}
    function.__dict__["_mod_python_markers"] = found
    return found


def _body(function: FunctionType) -> Iterator[ast.stmt]:
    code = function.__code__
    try:
        with open(code.co_filename, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= code.co_firstlineno <= node.lineno:
                yield from node.body
                return


def _defines(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return {statement.name}
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


_TEXTS = frozenset((str, bytes, type(None)))
"""What is written as it is, for sure."""


def publish_object(req: mp_request, object: Any) -> bool:
    """Write an object to the answer; call it first, with the fields of the form, if it can be called.

    True when something has been written.
    """
    if type(object) in _TEXTS:
        return _write(req, object)
    if callable(object):
        req.form = util.FieldStorage(req, keep_blank_values=1)
        return publish_object(req, util.apply_fs_data(object, req.form, req=req))
    if inspect.isawaitable(object) or isinstance(object, AsyncIterator):
        return bool(_in_a_loop(_publish_later(req, object), object))
    if isinstance(object, Iterator):
        # Each one, whatever the others have been.
        return sum(publish_object(req, item) for item in object) > 0
    return _write(req, object)


async def _publish_later(req: mp_request, object: Any) -> bool:
    """The same inside an event loop."""
    if callable(object):
        req.form = util.FieldStorage(req, keep_blank_values=1)
        return await _publish_later(req, util.apply_fs_data(object, req.form, req=req))
    if inspect.isawaitable(object):
        return await _publish_later(req, await object)
    written = 0
    if isinstance(object, AsyncIterator):
        async for item in object:
            written += await _publish_later(req, item)
        return written > 0
    if isinstance(object, Iterator):
        for item in object:
            written += await _publish_later(req, item)
        return written > 0
    return _write(req, object)


def _settled(result: Any) -> Any:
    """What a function of the page's has to say in the end, if it is one to wait for."""

    async def wait() -> Any:
        return await result

    return _in_a_loop(wait(), result) if inspect.isawaitable(result) else result


def _in_a_loop(coroutine: Any, waits_for: Any) -> Any:
    """Run a coroutine in an event loop that ends with it. Raises what it raises; RuntimeError inside another loop."""
    import asyncio

    try:
        return asyncio.run(coroutine)
    finally:
        # Where it could not even begin.
        coroutine.close()
        if inspect.iscoroutine(waits_for):
            waits_for.close()


def _write(req: mp_request, object: Any) -> bool:
    if object is None:
        return False
    is_binary = isinstance(object, (bytes, bytearray))
    data: Any = object if type(object) is str else bytes(object) if is_binary else str(object)
    if not req._content_type_set:
        tail = (data[-100:].decode("latin-1") if is_binary else data[-100:]).rstrip()
        is_html = tail.endswith(">") and _HTML_END.search(tail)
        req.content_type = (_HTML if is_html else _PLAIN)[is_binary]
    if not data:
        return False
    req.write(data, 0)
    return True


_HTML = ("text/html; charset=utf-8", "text/html")
_PLAIN = ("text/plain; charset=utf-8", "text/plain")
