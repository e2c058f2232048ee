"""Python Server Pages: templates with Python in them.

As a handler (``PythonHandler mod_python.psp``) it runs the page that the request names; ``PSP(req, "page.tmpl",
vars={…}).run()`` runs one from other code. A page has ``req``, ``form``, ``session`` and ``psp`` (see PSPInterface); a form
or a session is made only for a page that names it.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import traceback
from types import CodeType
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

import _apache

from mod_python import Session, _private, _psp, _tracebacks, apache, util
from mod_python._later import later
from mod_python.cache import Cache, Entry

if TYPE_CHECKING:
    import dbm
    import html

    from _apache import mp_request
else:
    dbm = later("dbm")
    html = later("html")

_HIDDEN = {"annotations", "TYPE_CHECKING", "later"}


def escape(text: object, quote: bool = True) -> str:
    """Text for HTML."""
    return html.escape(str(text), quote)


class _Compiled:
    """A page's code, and the files it was made from with their signatures."""

    def __init__(self, code: CodeType, files: dict[str, Any]) -> None:
        self.code, self.files = code, files

    def is_fresh(self) -> bool:
        return list(map(_signature, self.files)) == list(self.files.values()) and None not in self.files.values()


_signature = _apache._signature


class _PageCache(Cache):
    """Compiled pages; a page is made again when it, or a file that it includes, has changed."""

    def check(self, key: Any, name: Any, entry: Entry) -> Any:
        return None if entry.is_built and entry.value.is_fresh() else True

    def fresh(self, filename: str) -> Optional[CodeType]:
        """The code of a page that is there and still good; None where it must be looked at closer."""
        entry = self._entries.get(filename)
        if entry is None:
            return None
        entry.used = next(self._times)
        compiled = entry.value
        return compiled.code if isinstance(compiled, _Compiled) and compiled.is_fresh() else None

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        with open(key, "rb") as file:
            page = _psp.parse(file.read(), key, os.path.dirname(key))
        return _Compiled(page.compile(key), {file: _signature(file) for file in page.files})


class _SourceCache(Cache):
    """Compiled templates that are given as text."""

    def build(self, key: Any, name: Any, opened: Any, entry: Entry) -> Any:
        return _psp.parse(key, "__psp__").compile("__psp__")


_pages = _PageCache(512)
_sources = _SourceCache(512)


def load_page(req: mp_request, filename: str, dbmcache: Optional[str] = None) -> CodeType:
    """A page's code, from the cache if it is still good. Raises OSError, SyntaxError."""
    compiled: _Compiled
    if dbmcache and filename not in _pages:
        stored = _Stored(req, dbmcache)
        code = stored.load(filename)
        if code is None:
            compiled = _pages[filename]
            stored.save(filename, compiled)
            code = compiled.code
        return code
    compiled = _pages[filename]
    return compiled.code


class _Stored:
    """Code in a dbm file, for pages to be there at once after a restart. Only this user can have written it; where that
    cannot be had, the log says so, and pages are made anew."""

    def __init__(self, req: mp_request, file: str) -> None:
        self._req, self._file = req, file

    def load(self, filename: str) -> Optional[CodeType]:
        data = self._with(lambda database: database.get(filename.encode()))
        if data is None or not data.startswith(importlib.util.MAGIC_NUMBER):
            return None
        try:
            files, code = marshal.loads(data[len(importlib.util.MAGIC_NUMBER) :])
        except (EOFError, ValueError, TypeError):
            return None
        return code if _Compiled(code, files).is_fresh() else None

    def save(self, filename: str, compiled: _Compiled) -> None:
        data = importlib.util.MAGIC_NUMBER + marshal.dumps((compiled.files, compiled.code))
        self._with(lambda database: database.__setitem__(filename.encode(), data))

    def _with(self, action: Any) -> Any:
        def work() -> Any:
            with _private.database(self._file) as name:
                database = _private.open_dbm(name, "c")
                try:
                    return action(database)
                finally:
                    database.close()

        try:
            return _apache._global_held(self._req.server, None, 0, work)
        except (OSError, *dbm.error) as error:
            self._req.log_error(f"compiled pages are not kept in {self._file}: {error}", apache.APLOG_WARNING)
            return None


class PSP:
    """A template, of a file (the request's, if none is named) or of a string.

    Raises ValueError for both at once, SERVER_RETURN (404) for a file that is not there, SyntaxError with the template's
    line for one that cannot be understood.
    """

    def __init__(
        self,
        req: mp_request,
        filename: Optional[str] = None,
        string: Union[str, bytes, None] = None,
        vars: Optional[dict[str, Any]] = None,
    ) -> None:
        if filename and string is not None:
            raise ValueError("Must specify either filename or string")
        self.req, self.vars = req, dict(vars or {})
        self.string: Optional[str] = None
        self.filename: Optional[str] = None
        self.error_page: Optional[PSP] = None
        cache, before = _apache._options(req, ("mod_python.psp.cache_database_filename", "PSPDbmCache"))
        self.dbmcache = cache or before
        if string is not None:
            self.string = string.decode("utf-8") if isinstance(string, bytes) else string
            self.code: CodeType = _sources[self.string]
            return
        filename = filename or req.filename or ""
        if not os.path.isabs(filename):
            filename = os.path.join(os.path.dirname(req.filename or ""), filename)
        code = _pages.fresh(filename)
        if code is None:
            if "\0" in filename or _signature(filename) is None:
                raise apache.SERVER_RETURN(apache.HTTP_NOT_FOUND)
            code = load_page(req, filename, self.dbmcache)
        self.filename, self.code = filename, code

    def run(self, vars: Optional[dict[str, Any]] = None, flush: int = 0) -> None:
        """Run the page. ``vars`` covers what the constructor was given. Raises what the page raises."""
        req = self.req
        needs = self.code.co_names
        own_session = "session" in needs and not hasattr(req, "session")
        form: Optional[util.FieldStorage] = None
        if "form" in needs or (own_session and "apply_data" in _names(self.code)):
            # A client may take its time to send it: the session's other requests need not wait for that.
            form = _form(req)
        if own_session:
            req.session = Session.Session(req)
        interface = PSPInterface(req, self, form)
        names = globals().copy()
        for name in _HIDDEN:
            names.pop(name, None)
        # Every expression of a page is given to it: it is found at once.
        names["str"] = str
        names.update(req=req, form=form, psp=interface, session=getattr(req, "session", None))
        if self.vars or vars:
            names.update({**self.vars, **(vars or {})})
        names.update(__file__=req.filename, __mp_info__=None, __mp_path__=[])
        try:
            try:
                exec(self.code, names)
                if flush:
                    req.flush()
                session = getattr(req, "session", None)
                if session is not None:
                    session.save()
            except (apache.SERVER_RETURN, SystemExit):
                raise
            except Exception:
                if self.error_page is None:
                    raise
                self.error_page.run({"exception": sys.exc_info()}, flush)
        finally:
            if own_session:
                req.session.unlock()
                del req.session

    def __str__(self) -> str:
        """Run the page; for the publisher."""
        self.req.content_type = "text/html; charset=utf-8"
        self.run()
        return ""

    def display_code(self) -> None:
        """Write the page's Python beside its source, as HTML. Raises ValueError for a template that is a string."""
        if self.filename is None:
            raise ValueError("only a file can be displayed")
        with open(os.fspath(self.filename), "rb") as file:
            text = file.read()
        page = _psp.parse(text, self.filename, os.path.dirname(self.filename))
        sources = {self.filename: text.decode("utf-8", "replace").splitlines()}
        write = self.req.write
        write("<table>\n<tr><td>#</td><td>Python</td><td>PSP</td></tr>\n", 0)
        for number, line in enumerate(page.lines, 1):
            lines = sources.get(line.file, [])
            shown = lines[line.number - 1] if 0 < line.number <= len(lines) else ""
            write(
                f"<tr><td>{number}</td><td><code style='color:blue'>{_spaced(line.text)}</code></td>"
                f"<td><code style='color:green'>{_spaced(shown)}</code></td></tr>\n",
                0,
            )
        write("</table>\n", 0)


def _names(code: CodeType) -> set[str]:
    """The names that a page uses, in its functions, too."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _spaced(text: str) -> str:
    return escape(text).replace("\t", " " * 4).replace(" ", "&nbsp;")


def _form(req: mp_request) -> util.FieldStorage:
    if not hasattr(req, "form"):
        req.form = util.FieldStorage(req, keep_blank_values=1)
    form: util.FieldStorage = req.form
    return form


class PSPInterface:
    """What a page knows as ``psp``."""

    def __init__(self, req: mp_request, page: PSP, form: Optional[util.FieldStorage]) -> None:
        self.req, self.form, self._page = req, form, page

    def set_error_page(self, page: str) -> None:
        """Run another page when this one raises: with ``exception``, a tuple of type, value and traceback. A path that
        begins with / is one below the document root, others are beside this page. Raises SERVER_RETURN (404)."""
        if page.startswith("/"):
            page = self.req.document_root() + page
        elif self._page.filename is not None:
            page = os.path.join(os.path.dirname(self._page.filename), page)
        self._page.error_page = PSP(self.req, page)

    def apply_data(self, object: Any, **kw: Any) -> Any:
        """Call an object with the fields of the form (util.apply_fs_data)."""
        self.form = self.form or _form(self.req)
        return util.apply_fs_data(object, self.form, req=self.req, **kw)

    def redirect(self, location: str, permanent: int = 0) -> NoReturn:
        """Answer with a redirect (util.redirect)."""
        util.redirect(self.req, location, permanent)


def handler(req: mp_request) -> int:
    """Run the page that the request names. ``page.psp_`` shows its code where PythonDebug is on."""
    req.content_type = "text/html; charset=utf-8"
    debug, _ = _apache._switches(req)
    if debug and (req.filename or "").endswith("_"):
        PSP(req, (req.filename or "")[:-1]).display_code()
        return apache.OK
    try:
        PSP(req).run()
    except Exception as error:
        _tracebacks.place(error, req.filename)
        raise
    return apache.OK


def parse(filename: str, dir: Optional[str] = None) -> str:
    """The Python source of a template: ``dir`` and ``filename`` are put together as they are. Raises OSError."""
    return _psp.parsefile(filename, dir)


def parsestring(source: Union[str, bytes]) -> str:
    """The Python source of a template that is given as text."""
    return _psp.parsestring(source)


assert traceback  # pages use it
