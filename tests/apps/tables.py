from checks import raises
from mod_python import apache


def passed(req):
    req.content_type = "text/plain"
    req.write("ok")
    return apache.OK


def mapping(req):
    t = apache.table({"A": "1", "b": 2, "c": None})
    assert t["a"] == "1" and t["B"] == "2" and t["C"] == "None"
    assert raises(KeyError, lambda: t["nothing"]) == "'nothing'"
    assert "A" in t and "a" in t and b"a" in t and "z" not in t
    assert len(t) == 3 and bool(t) and not apache.table()
    assert list(t) == ["A", "b", "c"] == t.keys() == list(t.iterkeys())
    assert t.values() == ["1", "2", "None"] == list(t.itervalues())
    assert t.items() == [("A", "1"), ("b", "2"), ("c", "None")] == list(t.iteritems())
    assert dict(t) == {"A": "1", "b": "2", "c": "None"} == t
    assert t == apache.table(dict(t)) and t != {"a": "1"}
    assert not (t != dict(t))  # noqa: SIM202
    assert t != 1 and t.__eq__(1) is NotImplemented
    assert repr(t) == "{'A': '1', 'b': '2', 'c': 'None'}" and repr(apache.table()) == "{}"
    t["a"] = "changed"
    assert t.items()[0] == ("A", "changed")
    del t["a"]
    del t["never there"]
    assert "a" not in t and len(t) == 2
    t.clear()
    assert len(t) == 0
    return passed(req)


def several_values(req):
    t = apache.table()
    t.add("Set-Cookie", "a=1")
    t.add("x", "y")
    t.add("set-cookie", "b=2")
    assert t["SET-COOKIE"] == ["a=1", "b=2"] and t.get("set-cookie") == "a=1" and len(t) == 3
    assert list(t) == ["Set-Cookie", "x", "set-cookie"]
    copy = t.copy()
    t["set-cookie"] = "c"
    assert t["set-cookie"] == "c" and len(t) == 2
    assert copy["set-cookie"] == ["a=1", "b=2"], "a copy is independent"
    return passed(req)


def methods(req):
    t = apache.table([("a", "1")])
    assert t.get("z") is None and t.get("z", 5) == 5 and t.get("A") == "1"
    assert t.has_key("a") == 1 and t.has_key("z") == 0
    assert t.setdefault("a", "2") == "1"
    assert t.setdefault("new", "3") == "3" and t["new"] == "3"
    assert t.setdefault("blank") == "" and t["blank"] == ""
    t.update({"a": "9"})
    t.update([("b", 1), ["c", 2]])
    assert (t["a"], t["b"], t["c"]) == ("9", "1", "2")
    raises(AttributeError, t.update, None)
    message = raises(TypeError, t.update, [1])
    assert message == "cannot convert table update sequence element #0 to a sequence", message
    message = raises(ValueError, apache.table, [("a", "b"), ("x",)])
    assert message == "table update sequence element #1 has length 1; 2 is required", message
    taken = []
    while t:
        taken.append(t.popitem())
    assert taken[0] == ("a", "9") and len(taken) == 5
    assert "popitem(): table is empty" in raises(KeyError, t.popitem)
    raises(TypeError, hash, t)
    assert apache.make_table is apache.table and apache.table(items={"k": "v"})["k"] == "v"
    raises(TypeError, apache.table, 1, 2)
    return passed(req)


def bad_values(req):
    t = apache.table()
    assert raises(TypeError, t.__setitem__, "a", 1) == "not an ISO-8859-1 string"
    raises(TypeError, t.__setitem__, 1, "a")
    raises(ValueError, t.__setitem__, "a", "\N{SNOWMAN}")
    raises(ValueError, t.__setitem__, "a", "x\0y")
    raises(TypeError, t.add, "a")
    t["a"] = "\xe9"
    t["b"] = b"\xe9"
    assert t["a"] == t["b"] == "\xe9"
    return passed(req)


def changing_while_iterating(req):
    t = apache.table({"a": "1", "b": "2"})
    iterator = iter(t)
    next(iterator)
    t["c"] = "3"
    assert raises(RuntimeError, next, iterator) == "table changed size during iteration"
    return passed(req)


def subclass(req):
    class Table(apache.table):
        def shout(self):
            return self["a"].upper()

    assert Table({"a": "x"}).shout() == "X"
    assert str(apache.table) == "<class 'mp_table'>"
    return passed(req)


def views(req):
    assert req.headers_out is req.headers_out and req.notes is req.notes
    req.headers_out["X-One"] = "1"
    req.headers_out.add("X-Two", "a")
    req.headers_out.add("X-Two", "b")
    req.err_headers_out["X-Err"] = "e"
    req.notes["n"] = "v"
    req.subprocess_env["E"] = "w"
    assert req.notes["N"] == "v" and req.subprocess_env["e"] == "w"
    assert req.headers_in["X-Sent"] == "1, 2" and "x-sent" in req.headers_in
    return passed(req)


def bytes_of_a_client(req):
    """Bytes of a header that are no UTF-8 (docs/differences.md#bytes-that-are-no-text)."""
    assert req.headers_in["X-Raw"] == "\xe9\xff", repr(req.headers_in["X-Raw"])
    assert "\xe9\xff" in req.headers_in.values()
    return passed(req)


def checked_headers(req):
    for table in (req.headers_out, req.err_headers_out):
        for name, value in (
            ("X", "a\r\nSet-Cookie: stolen=1"),
            ("X", "a\nb"),
            ("X", "a\x00b"),
            ("X", "\x1b"),
            ("X\r\nY", "a"),
            ("", "a"),
            ("a b", "c"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "upgrade"),
            ("Content-Length", "12x"),
        ):
            raises(ValueError, table.__setitem__, name, value)
            raises(ValueError, table.add, name, value)
        raises(ValueError, table.update, {"X": "a\nb"})
        raises(ValueError, table.setdefault, "X", "a\nb")
    for attribute in ("content_type", "status_line"):
        raises(ValueError, setattr, req, attribute, "text/plain\r\nX: y")
    req.headers_out["Content-Length"] = "2"
    return passed(req)


def unchecked_crlf(req):
    req.headers_out["X"] = "a\r\nSet-Cookie: stolen=1"
    return passed(req)
