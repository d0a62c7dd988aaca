"""Files that people write: YAML (so JSON too), read as plain JSON values with the line of each.

Manifests come from anywhere. Nothing but JSON's own types is made, keys stand
once, and what aliases would unfold to is counted before it is unfolded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from joulegate.core.errors import InvalidInputError

LARGEST_FILE: Final = 2 * 2**20
DEEPEST: Final = 64
MOST_VALUES: Final = 100_000

_PREFIX: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; ``lines`` gives the line of each field by its path (``spec.limits.energyKwh``)."""

    file: str
    value: Any
    lines: Mapping[str, int] = field(repr=False)

    def place(self, path: str | None) -> str:
        """``file:line`` of a field, or of what of it is there."""
        steps = path or ""
        while steps and steps not in self.lines:
            steps = steps[: max(steps.rfind("."), steps.rfind("["), 0)]
        return f"{self.file}:{self.lines.get(steps, 1)}"

    def error(self, error: InvalidInputError) -> InvalidInputError:
        """The same fault with the line that it is on."""
        return InvalidInputError(str(error), self.place(error.field))


def read_text(file: str) -> str:
    """The text of a file; ``-`` is stdin. Raises :class:`InvalidInputError` that names it."""
    name = shown_name(file)
    try:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1) if file == "-" else _head_of(Path(file))
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidInputError("is not text in UTF-8", f"{name}:{line}") from None
    except OSError as error:
        raise InvalidInputError(f"cannot be read: {error.strerror}", name) from None
    if len(data) > LARGEST_FILE:
        raise InvalidInputError(f"is larger than {LARGEST_FILE >> 20} MiB", name)
    return text


def shown_name(file: str) -> str:
    """How a file is called in messages."""
    return "stdin" if file == "-" else file


def _head_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(LARGEST_FILE + 1)


def read_documents(file: str) -> tuple[Document, ...]:
    """Every document of a YAML file that is not empty; raises :class:`InvalidInputError` with file and line."""
    return tuple(parse_documents(read_text(file), shown_name(file)))


def parse_documents(text: str, name: str) -> Iterator[Document]:
    """Every document of YAML text that is not empty."""
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            if node.tag == _PREFIX + "null":
                continue
            lines: dict[str, int] = {}
            _Reader(name, lines).measure(node)
            yield Document(name, _Reader(name, lines).value(node, ""), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise InvalidInputError(f"is not YAML: {error.problem or error.context}", place) from None
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise InvalidInputError(f"is not YAML: {getattr(error, 'reason', error)}", f"{name}:{line}") from None
    except RecursionError:
        raise InvalidInputError(f"is nested deeper than {DEEPEST}", name) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML knows it, without its dates: a date in a manifest is text to Kubernetes too."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in rules if tag != _PREFIX + "timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(slots=True)
class _Reader:
    """Turns the nodes of one document into values, and notes on which line each field is."""

    name: str
    lines: dict[str, int]
    sizes: dict[int, int] = field(default_factory=dict)

    def measure(self, node: Node, depth: int = 0) -> int:
        """How many values a node unfolds to; a node that aliases share is counted each time, but walked once."""
        known = self.sizes.get(id(node))
        if known == 0:
            raise self.fault(node, "an alias holds itself")
        if known is None:
            if depth > DEEPEST:
                raise self.fault(node, f"is nested deeper than {DEEPEST}")
            self.sizes[id(node)] = 0
            known = 1 + sum(self.measure(child, depth + 1) for child in _children(node))
            self.sizes[id(node)] = known
        if known > MOST_VALUES:
            raise self.fault(node, f"unfolds to more than {MOST_VALUES:,} values")
        return known

    def value(self, node: Node, path: str, depth: int = 0) -> Any:  # noqa: ANN401 -- JSON
        """The JSON value of a node."""
        if depth > DEEPEST:  # a shared node may lie deeper here than where it was measured
            raise self.fault(node, f"is nested deeper than {DEEPEST}")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if not isinstance(node, ScalarNode) and node.tag not in (_PREFIX + "map", _PREFIX + "seq"):
            raise self.fault(node, f"the type {node.tag[:60]!r} is not allowed")
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.value(child, f"{path}[{index}]", depth + 1) for index, child in enumerate(node.value)]
        return self.scalar(node) if isinstance(node, ScalarNode) else None

    def mapping(self, node: MappingNode, path: str, depth: int) -> dict[str, Any]:
        """An object: keys are text and stand once; what is merged in (``<<``) never wins over what is written."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, child in node.value:
            if key.tag == _PREFIX + "merge":
                for source in child.value if isinstance(child, SequenceNode) else [child]:
                    if not isinstance(source, MappingNode):
                        raise self.fault(source, "only an object can be merged")
                    merged = {**self.mapping(source, path, depth + 1), **merged}
                continue
            if not isinstance(key, ScalarNode) or key.tag != _PREFIX + "str":
                raise self.fault(key, f"the key {str(key.value)[:60]!r} is not text; put it in quotes")
            if key.value in own:
                raise self.fault(key, f"the key {key.value[:60]!r} stands twice")
            inside = f"{path}.{key.value}" if path else key.value
            self.lines[inside] = key.start_mark.line + 1
            own[key.value] = self.value(child, inside, depth + 1)
        return {**merged, **own}

    def scalar(self, node: ScalarNode) -> str | int | float | bool | None:
        """Text, number, true, false or null."""
        kind = node.tag.removeprefix(_PREFIX)
        if kind == "str":
            return str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return node.value.lower() in ("yes", "true", "on")
        if kind in ("int", "float"):
            return self.number(node, kind)
        raise self.fault(node, f"the type {node.tag[:60]!r} is not allowed")

    def number(self, node: ScalarNode, kind: str) -> int | float:
        """A finite number; digits in sixties, as YAML 1.1 knows them, are not what anybody means."""
        text = node.value.replace("_", "")
        try:
            if kind == "int":
                old_octal = text.lstrip("+-").startswith("0") and text.lstrip("+-").isdigit()
                return int(text, 8 if old_octal else 0)
            number = float(text)
        except ValueError:
            raise self.fault(node, f"{node.value[:60]!r} can be read in more than one way; put it in quotes") from None
        if not isfinite(number):
            raise self.fault(node, f"{node.value[:60]!r} is not a finite number")
        return number

    def fault(self, node: Node, message: str) -> InvalidInputError:
        return InvalidInputError(message, f"{self.name}:{node.start_mark.line + 1}")


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []
