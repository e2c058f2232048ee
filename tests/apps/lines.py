"""A line protocol: connection handlers."""

from mod_python import apache


def connectionhandler(conn):
    assert str(type(conn)) == "<class 'mp_conn'>" and conn.client_ip == "127.0.0.1"
    conn.write("hello\n")
    while True:
        line = conn.readline()
        if line is None:
            conn.log_error("the client has left", apache.APLOG_NOTICE)
            return apache.OK
        word = line.decode().strip()
        if word == "quit":
            conn.write(b"bye\n")
            return apache.OK
        if word.startswith("read "):
            conn.write(b"<" + conn.read(int(word[5:])) + b">\n")
        elif word == "rest":
            conn.write(f"{len(conn.read(-1))}\n")
            return apache.OK
        elif word == "hlist":
            hlist = conn.hlist
            conn.write(f"{hlist.handler} {hlist.directory} {hlist.silent} {hlist!r}\n")
            hlist.next()
            conn.write(f"{hlist.handler} {hlist!r} {type(conn._conn_rec).__name__}\n")
        elif word == "raise":
            raise LookupError("in a connection handler")
        elif word == "keep":
            kept.append(conn)
            return apache.OK
        elif word == "expired":
            try:
                conn.write(kept[0].client_ip)
            except RuntimeError as error:
                conn.write(f"{error}\n")
        else:
            conn.write(word.upper() + "\n")


kept = []


def declines(conn):
    conn.notes["seen"] = "yes"
    return apache.DECLINED


def rubbish(conn):
    return "rubbish"


def closed(conn):
    """Writes to a client that has gone until that is noticed."""
    while conn.read() is not None:
        pass
    for _ in range(1000):
        conn.write("x" * 65536)
    return apache.OK
