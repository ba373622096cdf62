"""All settings as a flat list, taken from the JSON Schema: for hints, the commented file and the reference page."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hitless.config.schema import json_schema

NAMED = "mapping of names to sections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key of `hitless.yaml`.

    Attributes:
        path: dotted, from the service; elements of lists and names of a user's choice are not counted:
            `strategy.canary.steps.weight`, `metrics.ratios.good`.
        kind: what kind of value, for people.
        default: as it would be written; None = not set.
        example: a value that makes sense; the default where there is one.
        is_section: holds keys of its own.
        is_in_list: belongs to the elements of a list, or of a mapping whose names a user chooses.
    """

    path: str
    kind: str
    description: str
    is_required: bool
    default: Any
    example: Any
    is_section: bool
    is_in_list: bool

    @property
    def key(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """Path of the section; empty for the service itself."""
        return self.path.rpartition(".")[0]

    @property
    def sample(self) -> str:
        """Example as it would be written."""
        return as_yaml(self.example)


def as_yaml(value: Any) -> str:
    """Write a value on one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_yaml(key)}: {as_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_yaml(one) for one in value) + "]"
    if isinstance(value, str) and _needs_no_quotes(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _needs_no_quotes(text: str) -> bool:
    try:
        return bool(YAML(typ="safe", pure=True).load(f"[{text}]") == [text])
    except YAMLError:
        return False


@functools.cache
def settings() -> tuple[Setting, ...]:
    """Return all settings, in the order of the models, each section before its keys."""
    schema = json_schema()
    return tuple(_walk(schema["$defs"]["Service"], schema["$defs"], path="", is_in_list=False))


def _walk(section: Mapping[str, Any], known: Mapping[str, Any], *, path: str, is_in_list: bool) -> Iterator[Setting]:
    for key, node in section["properties"].items():
        children = known.get(_reference(node))
        setting = Setting(
            path=f"{path}.{key}".lstrip("."),
            kind=_kind(node, children),
            description=node["description"],
            is_required=key in section.get("required", ()),
            default=node.get("default"),
            example=_example(node, children),
            is_section=children is not None and not _is_several(node),
            is_in_list=is_in_list,
        )
        yield setting
        if children:
            yield from _walk(children, known, path=setting.path, is_in_list=is_in_list or _is_several(node))


def _is_list(node: Mapping[str, Any]) -> bool:
    return node.get("type") == "array"


def _is_several(node: Mapping[str, Any]) -> bool:
    """Tell whether it holds sections one after the other, in a list or by names that the user chooses."""
    return _is_list(node) or "patternProperties" in node


def _reference(node: Mapping[str, Any]) -> str:
    """Name of the section that a property, or an element of it, holds; empty when it holds none."""
    candidates = [node, node.get("items", {}), *node.get("anyOf", []), *node.get("patternProperties", {}).values()]
    return next((one["$ref"].rpartition("/")[2] for one in candidates if "$ref" in one), "")


def _kind(node: Mapping[str, Any], children: Mapping[str, Any] | None) -> str:
    if _is_list(node):
        return "list"
    if "patternProperties" in node and children:
        return NAMED
    if children:
        return "section"
    if node.get("type") == "integer":
        return f"number, {node['minimum']} to {node['maximum']}"
    if node.get("type") == "boolean":
        return "true or false"
    return str(node.get("title", "mapping of names to texts"))


def _example(node: Mapping[str, Any], children: Mapping[str, Any] | None) -> Any:
    """What stands in the commented file: the default, or else something that makes sense."""
    if node.get("default") or isinstance(node.get("default"), int):
        return node["default"]
    if node.get("examples"):
        return node["examples"][0]
    required = (children or {}).get("required", ())
    return {key: (children or {})["properties"][key].get("examples", [None])[0] for key in required}
