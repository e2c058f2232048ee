"""Forms, redirects, and calling functions with a form's fields.

Names and simple values of a form are ``str``, uploaded content is ``bytes``. Text is decoded by the charset that a part of
a multipart form names, else by the one that the field ``_charset_`` names, as browsers fill it, else by the one in the
body's Content-Type, else by ``PythonOption mod_python.form.charset``, else as UTF-8. A name that stands for no charset is
passed over. What cannot be decoded becomes U+FFFD; a field's ``file`` has the bytes themselves.

A part of a multipart form that has no Content-Disposition, or one that names no field, is a field whose name is None. It
counts as others do, and is never an argument of a function that is called with the form.

What a client may send is limited, each limit by a PythonOption (0: none):

- ``mod_python.form.max_fields`` (1000): fields of the query and the body, else 413
- ``mod_python.form.max_header_bytes`` (16384): headers of one part, else 400; they have 32 lines at most
- ``mod_python.form.max_memory_bytes`` (10485760): everything but the content of uploaded files, as it is sent, else 413
- ``mod_python.form.max_total_bytes`` (0; httpd's LimitRequestBody counts): the whole body, else 413

A refusal is a line of level info in the log, and ends the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Optional

from _apache import parse_qs as parse_qs
from _apache import parse_qsl as parse_qsl

from mod_python import apache
from mod_python._calls import apply_fs_data as apply_fs_data
from mod_python._fields import Field as Field
from mod_python._fields import FieldList as FieldList
from mod_python._fields import StringField as StringField
from mod_python._forms import FieldStorage as FieldStorage
from mod_python._forms import readBlockSize as readBlockSize
from mod_python._later import later
from mod_python._mime import base_name as base_name
from mod_python._mime import parse_header as parse_header

if TYPE_CHECKING:
    import html

    from _apache import mp_request
else:
    html = later("html")


def redirect(req: mp_request, location: str, permanent: int = 0, text: Optional[str] = None) -> NoReturn:
    """Answer with a redirect (302, or 301 if ``permanent``), and end the handler with SERVER_RETURN.

    Raises TypeError for a location that is no str, ValueError for one with a control character, OSError when a part of
    the answer has been sent.
    """
    if not isinstance(location, str):
        raise TypeError("the location of a redirect must be a str")
    if any(ord(character) < 32 or ord(character) == 127 for character in location):
        raise ValueError("the location of a redirect holds a control character")
    if req.sent_bodyct:
        raise OSError("cannot redirect: a part of the answer has been sent")
    req.err_headers_out["Location"] = location
    req.status = apache.HTTP_MOVED_PERMANENTLY if permanent else apache.HTTP_MOVED_TEMPORARILY
    if not req._content_type_set:
        req.content_type = "text/html; charset=utf-8"
    if text is None:
        shown = html.escape(location)
        text = f'<p>The document has moved <a href="{shown}">here</a>.</p>\n'
    req.write(text)
    raise apache.SERVER_RETURN(apache.DONE)
