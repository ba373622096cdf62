"""JSON Schema (draft 2020-12) of `hitless.yaml`, for editors."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from hitless.config.models import Service

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "hitless.yaml"
_DESCRIPTION = "Services that hitless releases without a failed request: one at top level, or several under `services`."
_SERVICES = "Several services in one file; each element has the keys that a single service has at top level."


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes up from attribute names: editors show them above ours."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def json_schema() -> dict[str, Any]:
    """Return the schema; every property has a description, and none is allowed beside those that are named."""
    service = Service.model_json_schema(schema_generator=_Generator)
    known: dict[str, Any] = service.pop("$defs")
    sections = {"Service": service, **known}
    return {
        "$schema": DIALECT,
        "title": _TITLE,
        "description": _DESCRIPTION,
        "oneOf": [{"$ref": "#/$defs/Service"}, _several()],
        "$defs": {name: _tidy(section, known) for name, section in sections.items()},
    }


def _several() -> dict[str, Any]:
    services = {"type": "array", "description": _SERVICES, "items": {"$ref": "#/$defs/Service"}, "minItems": 1}
    return {
        "type": "object",
        "properties": {"services": services},
        "required": ["services"],
        "additionalProperties": False,
    }


def _tidy(section: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Make every property say what it is, and nothing of a default that means "not set"."""
    for node in section["properties"].values():
        if node.get("default", "") is None:
            del node["default"]
        if "description" not in node:  # pydantic leaves out what the section says in the same words
            node["description"] = known[node["$ref"].rpartition("/")[2]]["description"]
        if "patternProperties" in node:
            node["additionalProperties"] = False
    return section
