"""Pydantic models, read field by field into forms.

Annotations are read strictly here, and refused with a reason; `forms` has what the result looks like in Avro. Event
classes are read when they are made, and the codec gets them from the cache here.
"""

import datetime as dt
import enum
import re
import types
import typing
from collections.abc import Hashable
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, Union
from uuid import UUID

import typing_extensions
from pydantic import AliasChoices, AwareDatetime, BaseModel, EncodedBytes, EncodedStr, RootModel, Strict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from choreo.errors import SchemaError
from choreo.schema.avro import DIGITS_MAX
from choreo.schema.forms import NO_DEFAULT, FieldForm, Form, Schema, branch_of, default_json, json_schema
from choreo.schema.sensitive import is_sensitive

_SCALARS: dict[Any, str] = {
    None: "null",
    types.NoneType: "null",
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
    UUID: "uuid",
    dt.date: "date",
    dt.time: "time",
    dt.datetime: "timestamp",
    AwareDatetime: "timestamp",
}
_PYTHON: dict[str, type] = {kind: python for python, kind in _SCALARS.items() if python not in {None, AwareDatetime}}
_LITERALS: dict[type, str] = {str: "string", int: "long", bool: "boolean", bytes: "bytes", types.NoneType: "null"}
_ALIAS_TYPES = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))
_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_INSTEAD: dict[Any, str] = {
    tuple: "use list[...]",
    set: "use list[...]",
    frozenset: "use list[...]",
    list: "say what it holds: list[...]",
    dict: "say what it holds: dict[str, ...]",
    dt.timedelta: "use an int of some unit, and name the unit",
    complex: "use two floats",
    Any: "name its type",
    object: "name its type",
}
# An attribute, so that it goes with its class.
_CACHE = "__choreo_form__"


class _Refused(Exception):
    """One annotation has no exact Avro form."""


def avro_schema(model: type[BaseModel], full_name: str) -> Schema:
    """Return a complete model's Avro schema, by the full name of its record; nested models share the namespace.

    Raises:
        SchemaError: If a field has no exact Avro form; the message has a line `Model.field: reason` for each.
    """
    schema = json_schema(form_of(model, full_name), "", set())
    assert isinstance(schema, dict)
    return schema


def form_of(model: type[BaseModel], full_name: str) -> Form:
    """Return a model's form, which is read once; raises as `avro_schema`."""
    cached: Form | None = model.__dict__.get(_CACHE)
    if cached is not None and cached.name == full_name:
        return cached
    walk = _Walk(full_name.rpartition(".")[0])
    form = walk.record(model, full_name)
    walk.check_room()
    if walk.problems:
        raise SchemaError("\n".join(walk.problems))
    setattr(model, _CACHE, form)
    return form


class _Walk:
    """One walk over a model and all that it nests."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.problems: list[str] = []
        self._named: dict[str, Form] = {}
        self._read: set[str] = set()
        self._arrays: list[tuple[str, Form]] = []
        self._place = ""

    def record(self, model: type[BaseModel], full_name: str) -> Form:
        """Read one model, or find it among those read before: models may nest themselves."""
        form = self._name(full_name, model, "record")
        if full_name in self._read:
            return form
        self._read.add(full_name)
        self._model_config(model)
        form.strict = bool(model.model_config.get("strict"))
        for name, info in model.model_fields.items():
            place = f"{model.__name__}.{name}"
            try:
                self._place = place
                form.fields.append(self._field(name, info, model, strict=form.strict))
            except _Refused as refused:
                self.problems.append(f"{place}: {refused}")
        return form

    def check_room(self) -> None:
        """Refuse lists of nothing, once all is read: a record could claim a billion such items in a few bytes."""
        for place, items in self._arrays:
            if not _takes_room(items):
                self.problems.append(f"{place}: items of {_path(items.python)} have no bytes to count")

    def _model_config(self, model: type[BaseModel]) -> None:
        if model.model_config.get("extra") == "allow":
            self.problems.append(f"{model.__name__}: extra='allow' lets in fields that no schema names")
        if model.model_config.get("use_enum_values"):
            self.problems.append(f"{model.__name__}: use_enum_values=True hides which member a value was")

    def _name(self, full_name: str, python: type, kind: str) -> Form:
        known = self._named.get(full_name)
        if known is None:
            known = self._named[full_name] = Form(kind, python, full_name)
        elif known.python is not python:
            raise _Refused(
                f"two types are called {full_name}: {_path(known.python)} and {_path(python)}; rename one of them"
            )
        return known

    def _field(self, name: str, info: FieldInfo, model: type[BaseModel], *, strict: bool) -> FieldForm:
        if not _AVRO_NAME.fullmatch(name):
            raise _Refused("Avro names have letters a-z, digits and underscores only")
        if info.exclude:
            raise _Refused("exclude=True would lose it; make it a private attribute")
        form = self._form(info.annotation, list(info.metadata), strict=strict)
        if form.kind == "union" and info.default is not PydanticUndefined:
            # Avro takes a union's default from its first branch, so that branch comes first.
            first = branch_of(form, info.default)
            if first is not None:
                rest = tuple(branch for branch in form.branches if branch is not first)
                form = Form("union", branches=(first, *rest), strict=form.strict)
        return FieldForm(name, _key(name, info, model), form, _default(form, info), is_sensitive(info))

    def _form(self, annotation: Any, metadata: list[Any], *, strict: bool) -> Form:
        annotation, more = _unwrapped(annotation)
        metadata = [*metadata, *more]
        if any(isinstance(each, EncodedBytes | EncodedStr) for each in metadata):
            raise _Refused("an encoded text changes each time it is validated; use bytes or str")
        strict = strict or any(isinstance(each, Strict) and each.strict for each in metadata)
        if annotation is Decimal:
            return _decimal(metadata, strict=strict)
        if isinstance(annotation, Hashable) and annotation in _SCALARS:
            kind = _SCALARS[annotation]
            return Form(kind, _PYTHON[kind], strict=strict)
        origin = typing.get_origin(annotation)
        arguments = typing.get_args(annotation)
        if origin is Literal:
            return self._literal(arguments)
        if origin in {Union, types.UnionType}:
            return self._union(arguments, metadata, strict=strict)
        if origin is list:
            items = self._form(arguments[0], [], strict=strict)
            self._arrays.append((self._place, items))
            return Form("array", list, items=items)
        if origin is dict:
            key, _ = _unwrapped(arguments[0])
            if key is not str:
                raise _Refused("the keys of an Avro map are str")
            return Form("map", dict, items=self._form(arguments[1], [], strict=strict))
        return self._class(annotation)

    def _class(self, annotation: Any) -> Form:
        if isinstance(annotation, type) and not typing.get_args(annotation):
            if issubclass(annotation, enum.Enum):
                return self._enum(annotation)
            if issubclass(annotation, BaseModel) and not issubclass(annotation, RootModel):
                return self.record(annotation, self._full_name(annotation))
        bare = typing.get_origin(annotation) or annotation
        instead = _INSTEAD.get(bare) if not isinstance(bare, TypeVar) else "give it a type"
        raise _Refused(f"{_path(annotation)} has no exact Avro form" + (f"; {instead}" if instead else ""))

    def _full_name(self, python: type) -> str:
        # Page[int], as Pydantic calls a generic model that was given its types, becomes Page_int.
        short = re.sub(r"[\[\], ]+", "_", python.__name__).strip("_") if "[" in python.__name__ else python.__name__
        if not _AVRO_NAME.fullmatch(short):
            raise _Refused(f"{short!r} is not an Avro name")
        return f"{self.namespace}.{short}" if self.namespace else short

    def _enum(self, python: type[enum.Enum]) -> Form:
        if issubclass(python, enum.Flag):
            raise _Refused("members of a Flag combine, and Avro's do not; use a list of an Enum")
        wrong = [member.name for member in python if not _AVRO_NAME.fullmatch(member.name)]
        if wrong or not len(python):
            raise _Refused(f"{python.__name__} has members that are no Avro names: {', '.join(wrong) or 'none at all'}")
        return self._name(self._full_name(python), python, "enum")

    def _literal(self, values: tuple[Any, ...]) -> Form:
        forms: dict[Any, Form] = {}
        for value in values:
            if isinstance(value, enum.Enum):
                forms.setdefault(type(value), self._enum(type(value)))
            elif type(value) in _LITERALS:
                forms.setdefault(type(value), Form(_LITERALS[type(value)], type(value), strict=True))
            else:
                raise _Refused(f"{value!r} has no exact Avro form")
        return _united(list(forms.values()))

    def _union(self, arguments: tuple[Any, ...], metadata: list[Any], *, strict: bool) -> Form:
        some = [argument for argument in arguments if argument is not types.NoneType]
        # Pydantic applies what is said about Optional[X] to X.
        handed_down = metadata if len(some) == 1 else []
        flat: list[Form] = []
        for argument in arguments:
            form = self._form(argument, handed_down if argument in some else [], strict=strict or len(some) > 1)
            flat.extend(form.branches or (form,))
        return _united(flat)


def _united(forms: list[Form]) -> Form:
    """Return one form for several, refusing those that Avro could not tell apart."""
    by_type: dict[str, Form] = {}
    for form in forms:
        other = by_type.setdefault(form.avro_type, form)
        # A Literal["a"] beside a str is a str, and the same enum twice is that enum.
        if other is not form and not (other.kind == form.kind and form.kind in _LITERALS.values()):
            raise _Refused(
                f"{_path(other.python)} and {_path(form.python)} are both Avro's {form.avro_type},"
                " and a union tells its types apart by that"
            )
    branches = tuple(by_type.values())
    return branches[0] if len(branches) == 1 else Form("union", branches=branches)


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Return what an annotation comes to, without its aliases, and what was said about it on the way."""
    metadata: list[Any] = []
    while True:
        if typing.get_origin(annotation) is Annotated:
            for each in annotation.__metadata__:
                metadata.extend(each.metadata if isinstance(each, FieldInfo) else [each])
            annotation = annotation.__origin__
        elif isinstance(annotation, _ALIAS_TYPES):
            annotation = annotation.__value__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def _decimal(metadata: list[Any], *, strict: bool) -> Form:
    precision = scale = None
    for each in metadata:
        precision = precision or getattr(each, "max_digits", None)
        scale = getattr(each, "decimal_places", None) if scale is None else scale
    if precision is None or scale is None or not 0 <= scale <= precision <= DIGITS_MAX or not precision:
        raise _Refused("say how long it may get: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]")
    return Form("decimal", Decimal, precision=precision, scale=scale, strict=strict)


def _default(form: Form, info: FieldInfo) -> Any:
    if info.default_factory is not None:
        # Only these make the same thing each time, for certain.
        return [] if info.default_factory is list else {} if info.default_factory is dict else NO_DEFAULT
    if info.default is PydanticUndefined:
        return NO_DEFAULT
    try:
        return default_json(form, info.default)
    except TypeError as error:
        raise _Refused(str(error)) from None
    except ValueError:
        return NO_DEFAULT


def _key(name: str, info: FieldInfo, model: type[BaseModel]) -> str:
    config = model.model_config
    if info.validation_alias is None or config.get("validate_by_alias") is False:
        return name
    alias = info.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, str):
            return choice
    if config.get("validate_by_name") or config.get("populate_by_name"):
        return name
    raise _Refused("an alias that is a path cannot be filled by name; set validate_by_name=True")


def _takes_room(form: Form) -> bool:
    """Tell whether every value takes at least one byte, so that a short record cannot claim a billion of them."""
    if form.kind == "null":
        return False
    return form.kind != "record" or any(_takes_room(each.form) for each in form.fields)


def _path(python: Any) -> str:
    if not isinstance(python, type) or typing.get_args(python):
        return str(python).replace("typing.", "")
    return python.__qualname__ if python.__module__ == "builtins" else f"{python.__module__}.{python.__qualname__}"
