"""Frozen dataclasses as JSON, and back: every field is declared once, where its type stands.

A reader of another version gets on with it: unknown keys are skipped, missing ones have their
default. A value of another type is refused with its path in the document.

Knows types; never which dataclasses exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ippusbd.errors import IppUsbError

T = TypeVar("T")


class NotDecoded(IppUsbError):
    """A JSON document is not of the type that was asked for; the text says where."""


def encode(value: object) -> object:
    """`value` as `json.dumps` takes it."""
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    return value


def decode(cls: type[T], raw: object, where: str = "") -> T:
    """A `cls` from what `json.loads` returned. Raises NotDecoded."""
    found = _decoded(cls, raw, where or cls.__name__.lower())
    assert isinstance(found, cls)
    return found


@cache
def hints(cls: type) -> Mapping[str, Any]:
    """The types of a dataclass's fields, with what is annotated to them."""
    return get_type_hints(cls, include_extras=True)


def bare(hint: Any) -> Any:
    """A type without what is annotated to it."""
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _decoded(hint: Any, raw: object, where: str) -> object:
    hint = bare(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:  # X | None
        return None if raw is None else _decoded(arguments[0], raw, where)
    if origin is tuple and isinstance(raw, list):
        return tuple(_decoded(arguments[0], one, f"{where}[{n}]") for n, one in enumerate(raw))
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(raw, dict):
        given = {name: one for name, one in hints(hint).items() if name in raw}
        values = {n: _decoded(one, raw[n], f"{where}.{n}") for n, one in given.items()}
        if all(one.name in values for one in fields(hint) if _is_required(one)):
            return hint(**values)
    if isinstance(hint, type) and issubclass(hint, Enum):
        if raw in (each.value for each in hint):
            return hint(raw)
    elif hint is float and type(raw) in (int, float):
        return float(str(raw))
    elif type(raw) is (origin or hint):
        return raw
    raise NotDecoded(f"{where} is of another type, or not complete")
