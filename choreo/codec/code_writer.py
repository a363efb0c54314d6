"""Python source, written by programs.

The small writer that the generators of encoders and decoders share lives here; what they write does not. What is
generated depends on schemas only, and every name from a schema goes in as a constant, never as code.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Python nests loops 20 deep at most; what would go deeper becomes a function of its own.
INLINE_DEPTH_MAX = 6


class CodeWriter:
    """Lines of a module that is being written, and the constants it refers to."""

    def __init__(self, **constants: object) -> None:
        self.constants: dict[str, object] = dict(constants)
        self.depth = 0
        self._lines: list[str] = []
        self._indent = 0
        self._numbers = itertools.count()

    def line(self, text: str) -> None:
        """Write one line."""
        self._lines.append("    " * self._indent + text)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Write a line and indent what is written inside."""
        self.line(opening)
        self._indent += 1
        yield
        self._indent -= 1

    @contextmanager
    def function(self, opening: str) -> Iterator[None]:
        """Write a function of its own, whatever is being written now."""
        lines, indent, depth = self._lines, self._indent, self.depth
        self._lines, self._indent, self.depth = [], 0, 0
        with self.block(opening):
            yield
        self._lines, self._indent, self.depth, written = lines, indent, depth, self._lines
        self._lines[:0] = written

    def name(self, prefix: str) -> str:
        """Return a name that nothing else has."""
        return f"{prefix}{next(self._numbers)}"

    def constant(self, value: object, prefix: str = "K") -> str:
        """Return the name of a constant with this value."""
        name = self.name(prefix)
        self.constants[name] = value
        return name

    def compiled(self, name: str, title: str) -> Callable[..., Any]:
        """Return the function `name` of what was written.

        Args:
            name: Of the function.
            title: What a traceback calls the source.
        """
        code = compile("\n".join(self._lines), f"<choreo {title}>", "exec")
        namespace = dict(self.constants)
        exec(code, namespace)  # noqa: S102  # Written here, from a checked schema, with every name in it a constant.
        found = namespace[name]
        assert callable(found)
        return found
