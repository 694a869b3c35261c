"""Frozen dataclasses as configuration: conversion to and from plain values, overrides by name, differences."""

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from dnnlib.errors import UserError, unknown_name


class Dataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Config = TypeVar("Config", bound=Dataclass)


def require(condition: bool, name: str, value: Any, bound: str, cure: str = "") -> None:
    """Raise UserError unless `condition` holds; it states the value's name, the value, and what it must be."""
    if not condition:
        raise UserError(f"{name} is {value}, must be {bound}", cure)


def to_dict(config: Dataclass) -> dict[str, Any]:
    """Return a dataclass as nested dicts of JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls: type[Config], values: Any, where: str = "") -> Config:
    """Build dataclass `cls` from nested dicts; fields left out keep their defaults.

    Args:
        cls: dataclass to build.
        values: nested dicts of JSON values by field name.
        where: prefix of the field names in errors, such as `loss.`.

    Raises UserError for anything but a dict, for an unknown field (with the nearest known name), for a value of another
    type, for a number that is not finite, and for a missing field that has no default.
    """
    if not isinstance(values, Mapping):
        raise _not_a_group(where.rstrip(".") or cls.__name__, values)
    hints = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise unknown_name("field", where + name, [where + other for other in known])
        arguments[name] = _convert(hints[name], value, where + name)
    for field in dataclasses.fields(cls):
        if field.name not in arguments and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"field '{where}{field.name}' is missing", "add it")
    return cls(**arguments)


def with_overrides(config: Config, overrides: Mapping[str, str]) -> Config:
    """Return `config` with fields replaced: keys are dotted field names, values are JSON or plain words.

    `with_overrides(config, {"loss.r1_gamma": "0.5", "augment.mode": "none"})`; the word `null` means None.
    """
    values = to_dict(config)
    for path, text in overrides.items():
        *parents, name = path.split(".")
        node: Any = values
        cls: type = type(config)
        for depth, parent in enumerate(parents):
            cls = _nested_class(cls, parent, ".".join(parents[:depth]))
            node[parent] = {} if node.get(parent) is None else node[parent]
            node = node[parent]
            if not isinstance(node, dict):
                raise _not_a_group(".".join(parents[: depth + 1]), node)
        node[name] = _parse(text)
    return from_dict(type(config), values)


def differences(before: Dataclass, after: Dataclass) -> list[str]:
    """Return `name: old -> new` for each field in which two configurations differ."""
    old, new = _flatten(to_dict(before)), _flatten(to_dict(after))
    names = sorted(old.keys() | new.keys())
    return [f"{name}: {old.get(name)} -> {new.get(name)}" for name in names if old.get(name) != new.get(name)]


def _nested_class(cls: type, name: str, where: str) -> type:
    """Return the dataclass that is the type of field `name`; raise UserError where it is another type."""
    prefix = f"{where}." if where else ""
    hints = typing.get_type_hints(cls)
    if name not in hints:
        raise unknown_name("field", prefix + name, [prefix + other for other in hints])
    for candidate in (hints[name], *typing.get_args(hints[name])):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    raise UserError(f"field '{prefix}{name}' has no fields of its own", f"set it directly: --set {prefix}{name}=value")


def _not_a_group(where: str, value: Any) -> UserError:
    return UserError(f"{where} is {value!r}, must be a group of fields", f"set one of them: --set {where}.name=value")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Return `value` as the annotated type, or raise UserError."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _convert(next(choice for choice in choices if choice is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in choices:
            raise unknown_name(f"value of {where}", str(value), [str(choice) for choice in choices])
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _not_a_group(where, value)
        return from_dict(hint, value, f"{where}.")
    if origin in (tuple, list):
        if not isinstance(value, (tuple, list)):
            raise UserError(f"{where} is {value!r}, must be a list such as [1, 0.5]")
        return origin(_convert(choices[0], item, where) for item in value)
    if hint is float and type(value) in (int, float):
        require(abs(value) <= sys.float_info.max, where, value, "a finite number")
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise UserError(f"{where} is {value!r}, must be of type {hint.__name__}")
    return value


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one dict of dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
