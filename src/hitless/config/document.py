"""Reading YAML 1.2 into plain values, with the place of every key and value.

Rules: no tags, no merge keys, no second document, no duplicate key; anchors are allowed and bounded. Whatever is wrong
here is a finding, never an exception. Scalars follow YAML 1.2's core schema: only `true` and `false` are truth values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hitless.config.findings import Finding
from hitless.config.values import Loc, Problem, WrittenFloat, WrittenInt
from hitless.errors import Place

LARGEST_FILE = 256 * 1024  # characters; a thousand services fit
_DEEPEST = 30  # levels; the schema has seven
_MOST_NODES = 20_000  # anchors could multiply a few lines into billions of nodes
_TAG = "tag:yaml.org,2002:"
_OTHER_YAML = re.compile(r"^%YAML[ \t]+(?!1\.2[ \t]*$)", re.MULTILINE)
_SEPARATOR = re.compile("[\x85\u2028\u2029]")  # YAML 1.1 ended lines with them, and the library still folds them
_SYNTAX_HINTS = (  # signs in the library's message, or in the line that it names
    (r"\t|\\t", "indent with spaces; YAML allows no tabs there"),
    (r"\[[0-9a-f]*:[0-9a-f:]*\]:", 'put an IPv6 address in quotes: `"[::1]:8080"`'),
    (r"got '\{'", "put text with braces in quotes"),
    (r"mapping values are not allowed", "check the indentation here and in the line above, or put the text in quotes"),
    (r"another document", "one document a file; several services go in a list under `services:`"),
    (r"cannot start any token", "put the text in quotes"),
)
_LINE_END = re.compile(r"\r\n|[\r\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of the text, counted from 0."""

    line: int
    column: int
    width: int = 1


@dataclass(slots=True, kw_only=True)
class Document:
    """A file's content: `value` in plain types, and where each part of it stands.

    Attributes:
        keys: place of each key, by path.
        values: place of each value, by path.
        findings: what is wrong so far.
    """

    name: str
    lines: list[str]
    value: Any = None
    keys: dict[Loc, Span] = field(default_factory=dict)
    values: dict[Loc, Span] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, problem: Problem, *, is_warning: bool = False) -> None:
        """Note a problem; one whose path is not in the file is placed at its nearest parent."""
        span = self._key(problem.at) if problem.is_about_key else self._value(problem.at)
        self.add_at(span, problem.message, problem.hint, is_warning=is_warning)

    def add_at(self, span: Span, message: str, hint: str | None = None, *, is_warning: bool = False) -> None:
        """Note a problem at a place."""
        finding = Finding(
            place=Place(file=self.name, line=span.line + 1, column=span.column + 1),
            message=message,
            hint=hint,
            severity="warning" if is_warning else "error",
            source_line=self.lines[span.line] if span.line < len(self.lines) else "",
            width=span.width,
        )
        if finding not in self.findings:
            self.findings.append(finding)

    def _value(self, at: Loc) -> Span:
        while at and at not in self.values:
            at = at[:-1]
        return self.values.get(at, Span(line=0, column=0))

    def _key(self, at: Loc) -> Span:
        return self.keys.get(at) or self._value(at)


def read_document(text: str, *, name: str) -> Document:
    """Read YAML; what is wrong with it is in the result's findings."""
    document = Document(name=name, lines=_LINE_END.split(text))
    problem = _refused_at_once(text)
    if problem:
        document.add_at(*problem)
        return document
    node = _compose(text, document)
    if node is not None:
        _Reader(document=document).read(node)
    return document


def _refused_at_once(text: str) -> tuple[Span, str, str] | None:
    if len(text) > LARGEST_FILE:
        return (
            Span(line=0, column=0),
            "the file is too large for a configuration",
            f"at most {LARGEST_FILE // 1024} KiB",
        )
    directive = _OTHER_YAML.search(text)
    if directive:
        return _span_at(text, directive.start()), "only YAML 1.2 is read", "remove the line"
    separator = _SEPARATOR.search(text)
    if separator:
        span = _span_at(text, separator.start())
        return span, "here is an invisible line separator, which would change the text", "remove it"
    return None


def _span_at(text: str, position: int) -> Span:
    lines = _LINE_END.split(text[:position])
    return Span(line=len(lines) - 1, column=len(lines[-1]))


def _compose(text: str, document: Document) -> Node | None:
    try:
        return _yaml().compose(text)  # type: ignore[no-any-return]  # ruamel.yaml does not annotate it
    except MarkedYAMLError as error:
        _note_syntax(error, document)
    except YAMLError as error:
        _note_character(error, text, document)
    except RecursionError:  # the library's parser calls itself for every level
        document.add_at(Span(line=0, column=0), "the file is nested too deeply", f"at most {_DEEPEST} levels")
    except (
        ValueError,
        OverflowError,
    ):  # what `chr` says of `\\U00110000`; the library lets it through, without a place
        place = _span_at(text, max(text.find("\\U"), 0))
        document.add_at(place, "an escape names a character that does not exist", "`\\U0010FFFF` is the last one")
    return None


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML 1.2 allows them
    return yaml


def _note_syntax(error: MarkedYAMLError, document: Document) -> None:
    mark = error.problem_mark or error.context_mark
    span = Span(line=mark.line, column=mark.column) if mark else Span(line=0, column=0)
    cause = str(error.problem or error.context or "syntax error").strip()
    line = document.lines[span.line] if span.line < len(document.lines) else ""
    opened = f", {error.context} that began on line {error.context_mark.line + 1}" if _is_elsewhere(error) else ""
    document.add_at(_inside(span, document), f"this is not YAML: {cause}{opened}", _syntax_hint(cause, line))


def _is_elsewhere(error: MarkedYAMLError) -> bool:
    known = error.context and error.context_mark and error.problem_mark
    return bool(known and error.context_mark.line != error.problem_mark.line)


def _inside(span: Span, document: Document) -> Span:
    """Move a mark behind the end of the text to its last line that says something."""
    last = max((number for number, line in enumerate(document.lines) if line.strip()), default=0)
    return span if span.line <= last else Span(line=last, column=len(document.lines[last].rstrip()))


def _syntax_hint(cause: str, line: str) -> str | None:
    return next((hint for sign, hint in _SYNTAX_HINTS if re.search(sign, f"{cause}\n{line}")), None)


def _note_character(error: YAMLError, text: str, document: Document) -> None:
    position = getattr(error, "position", None)
    span = _span_at(text, position if isinstance(position, int) else 0)
    document.add_at(
        span, "this character is not allowed in YAML", "remove it, or write it as an escape in double quotes"
    )


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Turns nodes into plain values."""

    document: Document
    count: int = 0
    constructor: Any = field(default_factory=lambda: _yaml().constructor)

    def read(self, root: Node) -> None:
        try:
            self.document.value = self._value(root, ())
        except _TooMuchError as error:
            self.document.add_at(error.span, str(error), "write it without anchors")

    def _value(self, node: Node, at: Loc) -> Any:
        self.count += 1
        span = _span(node)
        if self.count > _MOST_NODES or len(at) > _DEEPEST:
            raise _TooMuchError(span)
        is_pointed_at_by_key = not isinstance(node, ScalarNode) or _is_absent(node)
        self.document.values[at] = self.document.keys.get(at, span) if is_pointed_at_by_key else span
        if isinstance(node, MappingNode):
            return self._mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self._value(child, (*at, position)) for position, child in enumerate(node.value)]
        return self._scalar(node, span)

    def _mapping(self, node: MappingNode, at: Loc) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value_node in self._pairs(node):
            key_span = _span(key)
            name = key.value
            if name in result:
                first = self.document.keys[(*at, name)].line + 1
                self.document.add_at(
                    key_span, f"`{name}` is here a second time", f"it is on line {first} already; keep one of them"
                )
                continue
            self.document.keys[(*at, name)] = key_span
            result[name] = self._value(value_node, (*at, name))
        return result

    def _pairs(self, node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
        self._refuse_tag(node, "map")
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.document.add_at(_span(key), "a key must be plain text")
            elif key.tag == f"{_TAG}merge":
                hint = "YAML 1.2 has no merge keys; write the settings out"
                self.document.add_at(_span(key), "`<<` is no setting", hint)
            elif self._is_clean(key):
                yield key, value

    def _scalar(self, node: Node, span: Span) -> Any:
        kind = _tag(node).removeprefix(_TAG)
        if not self._is_clean(node):
            return ""
        if kind in {"int", "float", "bool", "null"}:
            return self._typed(node, kind)
        if kind not in {"str", "timestamp", "value"}:  # a date or a lone `=` is text here
            self.document.add_at(span, f"the tag `{_tag(node).replace(_TAG, '!!')}` is not known", "remove it")
        return node.value

    def _typed(self, node: Node, kind: str) -> Any:
        try:
            value = self.constructor.construct_object(node)
        except (ValueError, OverflowError, KeyError):  # thousands of digits, `0x` without any, `!!bool x`
            return node.value
        if kind == "int":
            value = WrittenInt(value)
        elif kind == "float":
            value = WrittenFloat(value)
        else:
            return value
        value.source = node.value
        return value

    def _refuse_tag(self, node: Node, kind: str) -> None:
        if node.tag != _TAG + kind:
            self.document.add_at(_span(node), f"the tag `{_tag(node).replace(_TAG, '!!')}` is not known", "remove it")

    def _is_clean(self, node: Node) -> bool:
        """Hold back text that no process, path or journal can take."""
        if "\0" not in node.value and not any("\ud800" <= character <= "\udfff" for character in node.value):
            return True
        self.document.add_at(_span(node), "this text holds a character that cannot be passed on", "remove the escape")
        return False


def _tag(node: Node) -> str:
    return str(node.tag)


def _is_absent(node: Node) -> bool:
    """Tell whether nothing was written; the library places that where the next token begins, lines below perhaps."""
    return bool(node.start_mark.index == node.end_mark.index)


class _TooMuchError(Exception):
    def __init__(self, span: Span) -> None:
        super().__init__("the file is nested too deeply, or refers to itself")
        self.span = span


def _span(node: Node) -> Span:
    start: StringMark = node.start_mark
    end: StringMark = node.end_mark
    is_short = isinstance(node, ScalarNode) and end.line == start.line
    return Span(line=start.line, column=start.column, width=max(end.column - start.column, 1) if is_short else 1)
