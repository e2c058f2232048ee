"""Python's ``logging`` in httpd's error log. Imported when somebody asks for ``mod_python.apache.LogHandler``."""

from __future__ import annotations

import copy
import logging
import sys
from typing import TYPE_CHECKING, Any, Optional

import _apache

from mod_python import _log_objects, _tracebacks

if TYPE_CHECKING:
    from _apache import mp_server

_LEVELS = ((50, 2), (40, 3), (30, 4), (20, 6), (10, 7))
"""From which of logging's levels on a record has which of httpd's: crit, error, warn, info, debug. Below, it is trace1."""

_STANDARD = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
"""What every record has; what else there is comes from ``extra=``."""

_DEFAULT = logging.Formatter("%(name)s: %(message)s")


class LogHandler(logging.Handler):
    """Writes records to the error log, with the level that they have: LogLevel says which are kept.

    They go to the log of the request that the thread serves, with its client; in other threads to that of ``server``, or of the
    main server. A message is one entry, in which httpd escapes line ends, so that nothing that a client has sent looks like an
    entry of its own; of a traceback, each line is one. ``extra=`` is shown where entries are JSON (``mod_python.log.json``).

    It takes no lock, and raises nothing: what goes wrong is in the log (``logging.raiseExceptions``).
    """

    def __init__(self, level: int = logging.NOTSET, server: Optional[mp_server] = None) -> None:
        super().__init__(level)
        self._server = server

    def handle(self, record: logging.LogRecord) -> Any:
        """Emit the record where no filter refuses it, without the handler's lock: writing an entry is one operation."""
        accepted: Any = self.filter(record)
        if isinstance(accepted, logging.LogRecord):
            record = accepted
        if accepted:
            self.emit(record)
        return accepted

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            self._write(record)
        except BaseException as error:
            # What ends a request that takes too long is not for its log.
            timeout = getattr(sys.modules.get("mod_python.apache"), "RequestTimeout", None)
            if timeout is not None and isinstance(error, timeout):
                raise
            try:
                self.handleError(record)
            except Exception:
                return

    def handleError(self, record: logging.LogRecord) -> None:
        """Say in the log that a record could not be formatted, and where it was made."""
        if logging.raiseExceptions:
            error = sys.exc_info()[1]
            kind = type(error).__name__ if error is not None else "an error"
            place = f"{record.pathname}, line {record.lineno}"
            _tracebacks.log(f"logging: a record of {record.name!r} cannot be shown ({kind}): {place}")

    def _write(self, record: logging.LogRecord) -> None:
        level = next((level for least, level in _LEVELS if record.levelno >= least), 8)
        # The exception is not the formatter's, which would put it into the message.
        bare = copy.copy(record)
        bare.exc_info = bare.exc_text = bare.stack_info = None
        error = record.exc_info[1] if record.exc_info else None
        has_objects = _apache._logs_objects()
        formatter = self.formatter or (None if has_objects else _DEFAULT)
        message = _log_objects.clean(formatter.format(bare) if formatter is not None else bare.getMessage())
        exception: Optional[str] = None
        fields: Optional[str] = None
        lines = [_tracebacks.in_line(message)]
        if record.stack_info:
            lines.append(str(record.stack_info).replace("\r", ""))
        if error is not None:
            lines.append(_tracebacks.describe(error))
        elif record.exc_text:
            # A record that has come from elsewhere: what an exception has said of itself cannot be told from its traceback.
            lines.append(_tracebacks.in_line(str(record.exc_text)))
        if has_objects:
            extra = {str(name): value for name, value in vars(record).items() if name not in _STANDARD}
            fields = _log_objects.fields(extra) if extra else None
            exception = _log_objects.exception(error)[1] if error is not None else None
        text, name = "\n".join(lines), _log_objects.clean(str(record.name))
        _apache._log(level, text, name, message, exception, fields, _traceparent(), self._server)


def _traceparent() -> Optional[str]:
    """That of the request which an ASGI application's task answers."""
    serving = sys.modules.get("mod_python._asgi")
    return serving.traceparent() if serving is not None else None
