"""Bugs planted in the core, to see that they are found: a line of the real source replaced while a test runs."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def planted(module_name: str, old: str, new: str) -> Iterator[None]:
    """Replace one piece of a module's source, in all of choreo that uses it, until the block is left."""
    module = import_module(module_name)
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module_name} has {source.count(old)} times {old!r}"
    before = dict(vars(module))
    users = [each for name, each in list(sys.modules.items()) if name.startswith("choreo") and each is not None]
    names = {
        id(value): (name, value)
        for name, value in before.items()
        if inspect.isfunction(value) and value.__module__ == module_name
    }
    fresh: dict[str, object] = dict(before)
    exec(compile(source.replace(old, new), module.__file__ or module_name, "exec"), fresh)
    replaced: list[tuple[dict[str, object], str, object]] = []
    methods: list[tuple[type, str, object]] = []
    for kind in [each for each in before.values() if inspect.isclass(each) and each.__module__ == module_name]:
        for key, value in list(vars(kind).items()):
            if inspect.isfunction(value):
                methods.append((kind, key, value))
                setattr(kind, key, vars(fresh[kind.__name__])[key])
    for user in users:
        space = vars(user)
        for key, value in list(space.items()):
            if id(value) in names and names[id(value)][1] is value:
                replaced.append((space, key, value))
                space[key] = fresh[names[id(value)][0]]
    try:
        yield
    finally:
        for space, key, value in replaced:
            space[key] = value
        for kind, key, value in methods:
            setattr(kind, key, value)
