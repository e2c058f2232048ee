"""util.apply_fs_data: what is called with the fields of a form, and what no field may replace."""

from __future__ import annotations

import functools
import types
from collections import namedtuple
from dataclasses import dataclass
from typing import Any, Callable

import pytest
from mod_python import util
from mod_python.testing import FakeRequest


def form(query: str) -> util.FieldStorage:
    req: Any = FakeRequest("/?" + query)
    return util.FieldStorage(req, keep_blank_values=1)


def page(req: Any, name: Any, other: str = "default") -> Any:
    return (req, name, other)


def anything(req: Any = None, **given: Any) -> Any:
    return given


def only(name: Any, /, other: str = "default", *, key: str = "default") -> Any:
    return (name, other, key)


def only_and_anything(name: Any, /, **given: Any) -> Any:
    return (name, given)


class Shop:
    def __init__(self, name: str = "shop") -> None:
        self.name = name

    def page(self, req: Any, name: Any, other: str = "default") -> Any:
        return (req, name, other)

    def anything(self, **given: Any) -> Any:
        return given

    def none(*everything: Any, key: str = "default") -> Any:
        return (len(everything), key)

    preset = functools.partialmethod(page, other="preset")
    placed = functools.partialmethod(page, "placed")
    nested = functools.partialmethod(functools.partial(page, name="nested"), other="preset")
    open = functools.partialmethod(functools.partial(anything, admin="no"), user="none")
    cached = functools.lru_cache(page)

    @staticmethod
    def static(name: str) -> str:
        return name

    @classmethod
    def of_class(cls, name: str) -> str:
        return name


class Callable_:
    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, req: Any, name: Any, other: str = "default") -> Any:
        return self.function(req, name, other)


class Open:
    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *everything: Any, **given: Any) -> Any:
        return self.function(*everything, **given)


def opened(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*everything: Any, **given: Any) -> Any:
        return function(*everything, **given)

    return wrapper


class Inner:
    __call__ = Callable_(page)


class InnerPartial:
    __call__ = staticmethod(functools.partial(page, other="preset"))


@dataclass
class Data:
    name: str
    other: str = "default"


Pair = namedtuple("Pair", ["name", "other"], defaults=["default"])
shop = Shop()
partial = functools.partial
QUERY = "name=n&unknown=u"

CALLS = [
    (page, ("R", "n", "default")),
    (partial(page), ("R", "n", "default")),
    (partial(page, "mine"), ("mine", "n", "default")),
    (partial(page, other="preset"), ("R", "n", "preset")),
    (partial(partial(page, other="preset"), name="preset"), ("R", "preset", "preset")),
    (shop.page, ("R", "n", "default")),
    (partial(shop.page, other="preset"), ("R", "n", "preset")),
    (partial(Shop.page, shop), ("R", "n", "default")),
    (types.MethodType(partial(page), "self"), ("self", "n", "default")),
    (shop.preset, ("R", "n", "preset")),
    (shop.placed, ("placed", "n", "default")),
    (shop.nested, ("R", "nested", "preset")),
    (shop.cached, ("R", "n", "default")),
    (opened(lambda **given: given), {"req": "R", "name": "n", "unknown": "u"}),
    (shop.static, "n"),
    (Shop.of_class, "n"),
    (partial(Shop.of_class), "n"),
    (shop.none, (1, "default")),
    (functools.lru_cache(page), ("R", "n", "default")),
    (functools.lru_cache(partial(page, other="preset")), ("R", "n", "preset")),
    (partial(functools.lru_cache(page), other="preset"), ("R", "n", "preset")),
    (Callable_(page), ("R", "n", "default")),
    (partial(Callable_(page), other="preset"), ("R", "n", "preset")),
    (Inner(), ("R", "n", "default")),
    (InnerPartial(), ("R", "n", "preset")),
    (functools.wraps(page)(lambda req, name: ("wrapped", name)), ("wrapped", "n")),
    (functools.update_wrapper(partial(page, other="preset"), page), ("R", "n", "preset")),
    (Data, Data("n")),
    (partial(Data, other="preset"), Data("n", "preset")),
    (Pair, Pair("n", "default")),
    (partial(Pair, other="preset"), Pair("n", "preset")),
    (only, ("n", "default", "default")),
    (partial(only, "placed", key="preset"), ("placed", "default", "preset")),
    (only_and_anything, ("n", {"req": "R", "unknown": "u"})),
    (lambda *, name: name, "n"),
    (anything, {"name": "n", "unknown": "u"}),
    (int, 0),
    (partial(int), 0),
    (dict, {}),
    (partial(dict, a=1), {"a": 1}),
]


@pytest.mark.parametrize(("object", "result"), CALLS)
def test_calls(object: Any, result: Any) -> None:
    assert util.apply_fs_data(object, form(QUERY), req="R") == result


ATTACK = "req=x&self=x&cls=x&other=x&admin=x&user=x&key=x&func=x&args=x&keywords=x&name=n"
PROTECTED = [
    (partial(page, other="preset"), ("R", "n", "preset")),
    (partial(page, "mine", other="preset"), ("mine", "n", "preset")),
    (shop.preset, ("R", "n", "preset")),
    (shop.nested, ("R", "nested", "preset")),
    (functools.lru_cache(partial(page, other="preset")), ("R", "n", "preset")),
    (functools.update_wrapper(partial(page, other="preset"), page), ("R", "n", "preset")),
    (types.MethodType(partial(page, other="preset"), "self"), ("self", "n", "preset")),
    (InnerPartial(), ("R", "n", "preset")),
    (partial(only, key="preset"), ("n", "x", "preset")),
    (partial(Pair, other="preset"), Pair("n", "preset")),
]


@pytest.mark.parametrize(("object", "result"), PROTECTED)
def test_no_field_replaces_what_has_been_given(object: Any, result: Any) -> None:
    assert util.apply_fs_data(object, form(ATTACK), req="R") == result


@pytest.mark.parametrize(
    ("object", "given"),
    [
        (partial(anything, admin="no"), {"admin": "no"}),
        (partial(partial(anything, admin="no"), user="none"), {"admin": "no", "user": "none"}),
        (functools.lru_cache(partial(anything, admin="no")), {"admin": "no"}),
        (shop.open, {"admin": "no", "user": "none"}),
        (Open(partial(anything, admin="no")), {"admin": "no"}),
        (opened(partial(anything, admin="no")), {"admin": "no"}),
        (opened(Open(opened(partial(anything, admin="no")))), {"admin": "no"}),
        (partial(shop.anything, admin="no"), {"admin": "no"}),
        (partial(anything, "placed", admin="no"), {"admin": "no"}),
    ],
)
def test_nor_through_keywords_of_any_name(object: Any, given: dict[str, str]) -> None:
    found = util.apply_fs_data(object, form(ATTACK), req="R")
    assert {name: found[name] for name in given} == given and found["key"] == "x"
    assert found.get("req", "R") == "R"


def test_an_instance_is_not_a_field() -> None:
    """`self` of a method that takes any name was a TypeError, so that anybody could bring about an error 500."""
    assert "self" not in util.apply_fs_data(shop.anything, form(ATTACK))
    # Of the caller's own arguments, those win that a partial was made with by place.
    assert util.apply_fs_data(partial(anything, "placed"), form("a=b"), req="R") == {"a": "b"}
    # What the caller gives replaces what a partial was made with, as it does in any call.
    assert util.apply_fs_data(partial(page, req="preset", name="n"), form(""), req="R") == ("R", "n", "default")


def test_what_is_missing_is_an_error() -> None:
    for object in (page, partial(page, other="x"), shop.preset, only, Data):
        with pytest.raises(TypeError):
            util.apply_fs_data(object, form("unknown=x"), req="R")


def test_a_function_that_wraps_itself_ends() -> None:
    loop = functools.lru_cache(lambda: "called")
    loop.__wrapped__ = loop  # type: ignore[attr-defined]
    assert util.apply_fs_data(loop, form("a=b")) == "called"
