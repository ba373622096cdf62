"""A file that says what each kind of client asks, in YAML or JSON: `keepalive: {rate_rps: 50, path: /basket}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hitless.testing.load.errors import BadLoadPlan
from hitless.testing.load.plan import SPEC_OF, Kind, KindSpec


def read_mix(path: Path) -> Mapping[Kind, KindSpec]:
    """Read a mix; its keys are kinds, what is below them are the attributes of their specs in `hitless.testing.load`.

    Raises:
        BadLoadPlan: it cannot be read, or names what is not known.
    """
    try:
        told = YAML(typ="safe").load(path.read_text("utf-8"))
    except (OSError, ValueError, YAMLError) as problem:
        raise BadLoadPlan(f"{path} cannot be read: {problem}") from problem
    if not isinstance(told, dict) or not all(isinstance(one, dict) for one in told.values()):
        raise BadLoadPlan(f"{path} does not map kinds to what they ask", hints=(f"kinds: {', '.join(Kind)}",))
    return {_kind(path, name): _spec(path, name, given) for name, given in told.items()}


def _kind(path: Path, name: str) -> Kind:
    if name not in set(Kind):
        raise BadLoadPlan(f"{path}: unknown kind of client: {name}", hints=(f"kinds: {', '.join(Kind)}",))
    return Kind(name)


def _spec(path: Path, name: str, given: Mapping[str, Any]) -> KindSpec:
    spec = SPEC_OF[_kind(path, name)]
    known = [one.name for one in fields(spec)]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise BadLoadPlan(f"{path}: {name} has no {', '.join(unknown)}", hints=(f"it has: {', '.join(known)}",))
    try:
        return spec(**given)
    except TypeError as problem:  # something that it must say is missing
        raise BadLoadPlan(f"{path}: {name}: {problem}") from problem
