"""The types that public signatures mention."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_args, get_type_hints

import attrs

__all__ = ["exported", "mentioned", "unexported"]


def exported(modules: list[ModuleType]) -> dict[str, Any]:
    """Return what *modules* export, by its full name."""
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in modules
        for name in module.__all__
    }


def parts(hint: Any) -> Iterator[type]:
    """Yield the classes that an annotation consists of."""
    if isinstance(hint, (list, tuple)):  # the parameters of a Callable
        for each in hint:
            yield from parts(each)
    arguments = get_args(hint)
    for each in arguments:
        yield from parts(each)
    if isinstance(hint, type) and not arguments:
        yield hint


def functions(owner: type) -> Iterator[Callable[..., Any]]:
    """Yield the public methods, properties and the constructor of a class."""
    for name, member in inspect.getmembers(owner):
        if name != "__init__" and name.startswith("_"):
            continue
        if isinstance(member, property):
            member = member.fget
        if inspect.isfunction(member) and member.__module__.startswith("centrifugo_tx"):
            yield member


def fields(owner: type) -> Iterator[Any]:
    """Yield the annotations of a class's public attributes."""
    hidden = set()
    if attrs.has(owner):
        hidden = {each.name for each in attrs.fields(owner) if not each.init}
    for name, hint in get_type_hints(owner).items():
        if not name.startswith("_") and name not in hidden:
            yield hint


def mentioned(public: Any) -> set[type]:
    """Return the classes of this package that a public object's signature mentions."""
    hints: list[Any] = []
    if inspect.isclass(public):
        hints += fields(public)
        for function in functions(public):
            hints += get_type_hints(function).values()
    elif inspect.isfunction(public):
        hints += get_type_hints(public).values()
    else:  # a type alias, or a constant
        hints.append(public)
    return {
        each
        for hint in hints
        for each in parts(hint)
        if each.__module__.startswith("centrifugo_tx")
    }


def unexported(public: dict[str, Any]) -> dict[str, set[str]]:
    """Return what the objects *public* mention and none of them is, by their names."""
    known = {id(each) for each in public.values()}
    found = {
        name: {each.__qualname__ for each in mentioned(value) if id(each) not in known}
        for name, value in public.items()
    }
    return {name: missing for name, missing in found.items() if missing}
