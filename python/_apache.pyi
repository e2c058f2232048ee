"""The native module of mod_python. Present only inside httpd; a test compares this file with it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, Optional, TypeVar, Union

_Text = Union[str, bytes]
_T = TypeVar("_T")

AP_CONN_CLOSE: int
AP_CONN_KEEPALIVE: int
AP_CONN_UNKNOWN: int
APR_BLK: int
APR_CHR: int
APR_DIR: int
APR_LNK: int
APR_NOFILE: int
APR_PIPE: int
APR_REG: int
APR_SOCK: int
APR_UNKFILE: int
MODULE_MAGIC_NUMBER_MAJOR: int
MODULE_MAGIC_NUMBER_MINOR: int

class SERVER_RETURN(Exception): ...

def exists_config_define(name: str, /) -> bool: ...
def log_error(message: Optional[_Text], level: int = 3, server: Optional[mp_server] = None, /) -> None: ...
def main_server() -> mp_server: ...
def mpm_query(code: int, /) -> int: ...
def server_root() -> Optional[str]: ...
def _directives() -> list[tuple[str, str, str, str, str]]: ...

class table:
    def __init__(self, items: Union[Mapping[Any, Any], Iterable[tuple[Any, Any]]] = ...) -> None: ...
    def __contains__(self, name: object) -> bool: ...
    def __delitem__(self, name: _Text) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __getitem__(self, name: _Text) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __setitem__(self, name: _Text, value: _Text) -> None: ...
    def add(self, name: _Text, value: _Text, /) -> None: ...
    def clear(self) -> None: ...
    def copy(self) -> table: ...
    def get(self, name: _Text, default: Any = None, /) -> Any: ...
    def has_key(self, name: _Text, /) -> int: ...
    def items(self) -> list[tuple[str, Optional[str]]]: ...
    def iteritems(self) -> Iterator[tuple[str, Optional[str]]]: ...
    def iterkeys(self) -> Iterator[str]: ...
    def itervalues(self) -> Iterator[Optional[str]]: ...
    def keys(self) -> list[str]: ...
    def popitem(self) -> tuple[str, Optional[str]]: ...
    def setdefault(self, name: _Text, value: _Text = "", /) -> Any: ...
    def update(self, items: Union[Mapping[Any, Any], Iterable[tuple[Any, Any]]], /) -> None: ...
    def values(self) -> list[Optional[str]]: ...

class mp_server:
    defn_line_number: int
    defn_name: Optional[str]
    error_fname: Optional[str]
    is_virtual: int
    keep_alive: int
    keep_alive_max: int
    keep_alive_timeout: float
    limit_req_fields: int
    limit_req_fieldsize: int
    limit_req_line: int
    loglevel: int
    next: Optional[mp_server]
    path: Optional[str]
    port: int
    server_admin: Optional[str]
    server_hostname: Optional[str]
    timeout: float
    def get_config(self) -> table: ...
    def get_options(self) -> table: ...
    def log_error(self, message: Optional[_Text], level: int = 0, /) -> None: ...

class mp_conn:
    aborted: int
    base_server: Optional[mp_server]
    client_addr: tuple[str, int]
    client_ip: str
    double_reverse: int
    hlist: None
    id: int
    keepalive: int
    keepalives: int
    local_addr: tuple[str, int]
    local_host: Optional[str]
    local_ip: str
    notes: table
    remote_addr: tuple[str, int]
    remote_host: Optional[str]
    remote_ip: str
    remote_logname: Optional[str]
    def log_error(self, message: Optional[_Text], level: int = 0, /) -> None: ...

class mp_request:
    allowed: int
    ap_auth_type: Optional[str]
    args: Optional[str]
    assbackwards: int
    bytes_sent: int
    canonical_filename: Optional[str]
    chunked: int
    clength: int
    connection: mp_conn
    content_encoding: Optional[str]
    content_type: Optional[str]
    eos_sent: int
    err_headers_out: table
    expecting_100: int
    extension: Optional[str]
    filename: Optional[str]
    handler: Optional[str]
    header_only: int
    headers_in: table
    headers_out: table
    hostname: Optional[str]
    interpreter: str
    main: Optional[mp_request]
    method: str
    method_number: int
    mtime: float
    next: Optional[mp_request]
    no_cache: int
    no_local_copy: int
    notes: table
    parsed_uri: tuple[Any, ...]
    path_info: Optional[str]
    phase: Optional[str]
    prev: Optional[mp_request]
    proto_num: int
    protocol: str
    proxyreq: int
    range: Optional[str]
    read_body: int
    read_chunked: int
    read_length: int
    remaining: int
    request_time: float
    sent_bodyct: int
    server: mp_server
    status: int
    status_line: Optional[str]
    subprocess_env: table
    the_request: str
    unparsed_uri: str
    uri: str
    used_path_info: int
    user: Optional[str]
    useragent_addr: tuple[str, int]
    useragent_ip: str
    vlist_validator: Optional[str]
    _bytes_queued: int
    _content_type_set: int
    def add_common_vars(self) -> None: ...
    def auth_name(self) -> Optional[str]: ...
    def auth_type(self) -> Optional[str]: ...
    def construct_url(self, uri: _Text, /) -> str: ...
    def document_root(self) -> str: ...
    def flush(self) -> None: ...
    def get_basic_auth_pw(self) -> Optional[str]: ...
    def get_config(self) -> table: ...
    def get_options(self) -> table: ...
    def log_error(self, message: Optional[_Text], level: int = 0, /) -> None: ...
    def read(self, size: Optional[int] = -1, /) -> bytes: ...
    def readline(self, size: Optional[int] = -1, /) -> bytes: ...
    def readlines(self, sizehint: Optional[int] = -1, /) -> list[bytes]: ...
    def register_cleanup(self, callable: Callable[[_T], object], data: _T = ..., /) -> None: ...
    def send_http_header(self) -> None: ...
    def set_content_length(self, length: int, /) -> None: ...
    def write(self, data: Union[str, bytes, bytearray, memoryview], flush: object = 1, /) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...
