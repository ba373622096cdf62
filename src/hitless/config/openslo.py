"""Objectives from an OpenSLO v1 file: what of it hitless can promise, and by name what it cannot.

Rules. hitless measures requests itself, at the proxy; queries and data sources are left to who reads them. A
`ratioMetric` is the share of requests that succeed, a `thresholdMetric` with `op: lt` or `lte` is latency, `value` its
limit and `target` the quantile. OpenSLO gives a threshold no unit: below 1 it is seconds, otherwise the annotation
`hitless.unit` (`s` or `ms`) says it. The annotation `hitless.sli: ignore` leaves an SLO out. Whatever else is in an SLO
of this service is a problem, never left out in silence: an objective that is read and not kept is worse than none.

Source: OpenSLO specification v1 (github.com/OpenSLO/OpenSLO), kinds SLO and SLI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hitless.config import rules
from hitless.config.document import Document, read_document
from hitless.config.values import Loc, Problem, shown
from hitless.rollout.spec import LatencyObjective, SloSpec

API_VERSION = "openslo/v1"
OTHER_KINDS = frozenset({"AlertCondition", "AlertNotificationTarget", "AlertPolicy", "DataSource", "Service"})
UNIT, SLI = "hitless.unit", "hitless.sli"
_UNIT_MS = {"s": 1000.0, "ms": 1.0}
_DOCUMENT_MARK = re.compile(r"^---(?=\s|$)[^\n]*$", re.MULTILINE)
_LARGEST_FILE = 256 * 1024  # bytes
_SMALLER = "give this service a file of its own"


class _TooLarge(Exception):
    """The file is larger than any that is read."""


@dataclass(slots=True)
class _Found:
    success_rate: float | None = None
    latency: list[LatencyObjective] = field(default_factory=list)


def with_objectives(slo: SloSpec, name: str, *, service: str, directory: Path) -> tuple[SloSpec, tuple[Problem, ...]]:
    """Add the objectives of a file to those of `hitless.yaml`, which count before them.

    Args:
        slo: of `hitless.yaml`.
        name: of the file, relative to `directory`.
        service: whose SLOs are wanted.
        directory: of the project.
    """
    try:
        text = _text(directory / name)
    except _TooLarge:
        return slo, (Problem(message=f"`{name}` is larger than {_LARGEST_FILE // 1024} KiB", hint=_SMALLER),)
    except (OSError, UnicodeDecodeError) as error:
        cause = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        return slo, (Problem(message=f"`{name}` cannot be read: {cause}", hint=f"paths are relative to {directory}"),)
    read, problems = read_openslo(text, name=name, service=service)
    latency = {one.quantile: one for one in (*read.latency, *slo.latency)}
    rate = slo.success_rate if slo.success_rate is not None else read.success_rate
    return replace(slo, success_rate=rate, latency=tuple(latency[quantile] for quantile in sorted(latency))), problems


def _text(path: Path) -> str:
    """Read a file whole: of one that is cut off, objectives would be left out in silence.

    Raises:
        _TooLarge: with no more read of it than shows that.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise _TooLarge
    return content.decode("utf-8-sig")


def read_openslo(text: str, *, name: str, service: str) -> tuple[SloSpec, tuple[Problem, ...]]:
    """Read the objectives of a service; problems name their place in the file."""
    documents = list(_documents(text, name))
    found = _Found()
    slis = {_name(one.value): one.value.get("spec") for one in documents if _kind(one) == "SLI"}
    for document in documents:
        if _is_of(document, service):
            _read_slo(document, slis, found)
    problems = [
        Problem(message=f"{finding.place}: {finding.message}", hint=finding.hint)
        for document in documents
        for finding in document.findings
    ]
    if not problems and found.success_rate is None and not found.latency:
        problems.append(_nothing(documents, name, service))
    spec = SloSpec(success_rate=found.success_rate, latency=tuple(sorted(found.latency, key=lambda one: one.quantile)))
    problems += [Problem(message=f"{name}: {one.message}", hint=one.hint) for one in rules.latency(spec.latency)]
    return spec, tuple(problems)


def _documents(text: str, name: str) -> Iterator[Document]:
    """Read each document by itself, at its own lines: those before it are made empty."""
    ends = [*(match.start() for match in _DOCUMENT_MARK.finditer(text)), len(text)]
    start = 0
    for end in ends:
        part = _DOCUMENT_MARK.sub("", text[start:end])
        if part.strip():
            document = read_document("\n" * text[:start].count("\n") + part, name=name)
            if document.value is not None or document.findings:
                _check_head(document)
                yield document
        start = end


def _check_head(document: Document) -> None:
    if document.findings:
        return
    value = document.value
    if not isinstance(value, Mapping) or "kind" not in value:
        document.add(Problem(message="this is no OpenSLO document", hint="it begins with `apiVersion: openslo/v1`"))
    elif value.get("apiVersion") != API_VERSION:
        message = f"apiVersion {shown(value.get('apiVersion'))} is not read"
        document.add(Problem(message=message, hint=f"only `{API_VERSION}` is", at=("apiVersion",)))
    elif value["kind"] not in ("SLO", "SLI", *OTHER_KINDS):
        document.add(Problem(message=f"{shown(value['kind'])} is no kind of {API_VERSION}", at=("kind",)))


def _kind(document: Document) -> str | None:
    return document.value["kind"] if not document.findings else None


def _name(value: Mapping[str, Any]) -> str:
    metadata = value.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


def _annotation(value: Mapping[str, Any], key: str) -> Any:
    metadata = value.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return annotations.get(key) if isinstance(annotations, Mapping) else None


def _is_of(document: Document, service: str) -> bool:
    if _kind(document) != "SLO":
        return False
    spec = document.value.get("spec")
    if not isinstance(spec, Mapping):
        document.add(Problem(message=f"SLO `{_name(document.value)}` has no spec", at=("spec",)))
        return False
    return spec.get("service") == service and _annotation(document.value, SLI) != "ignore"


def _nothing(documents: list[Document], name: str, service: str) -> Problem:
    specs = [one.value["spec"] for one in documents if _kind(one) == "SLO"]
    others = {other for spec in specs if isinstance(other := spec.get("service"), str) and other != service}
    known = ", ".join(f"`{other}`" for other in sorted(others))
    hint = f"it has some of {known}; set `spec.service: {service}`" if known else "leave `openslo` out"
    return Problem(message=f"`{name}` has no objective of the service `{service}`", hint=hint)


def _read_slo(document: Document, slis: Mapping[str, Any], found: _Found) -> None:
    spec = document.value["spec"]
    metric = _metric(document, spec, slis)
    objectives = spec.get("objectives")
    if not isinstance(objectives, list) or not objectives:
        _refuse(document, "has no objectives", ("spec", "objectives"))
    elif spec.get("budgetingMethod", "Occurrences") != "Occurrences":
        at = ("spec", "budgetingMethod")
        _refuse(document, "counts slices of time, hitless counts requests", at, "set `budgetingMethod: Occurrences`")
    elif metric:
        for position, objective in enumerate(objectives):
            _read_objective(document, metric, objective, ("spec", "objectives", position), found)


def _metric(document: Document, spec: Mapping[str, Any], slis: Mapping[str, Any]) -> str | None:
    """Return `ratioMetric` or `thresholdMetric`; what is neither is noted."""
    reference = spec.get("indicatorRef")
    indicator = spec.get("indicator")
    inner = indicator.get("spec") if isinstance(indicator, Mapping) else slis.get(str(reference))
    if reference is not None and inner is None:
        _refuse(document, f"refers to the SLI {shown(reference)}, which is not in the file", ("spec", "indicatorRef"))
        return None
    kinds = [kind for kind in ("ratioMetric", "thresholdMetric") if isinstance(inner, Mapping) and kind in inner]
    if len(kinds) != 1:
        at = ("spec", "indicator")
        _refuse(document, "has no indicator with a ratioMetric or a thresholdMetric", at)
        return None
    return kinds[0]


def _read_objective(document: Document, metric: str, objective: object, at: Loc, found: _Found) -> None:
    if not isinstance(objective, Mapping) or objective.keys() & {"indicator", "indicatorRef", "compositeWeight"}:
        _refuse(document, "is composed of others, which hitless does not do", at)
        return
    target = _target(document, objective, at)
    if target is None:
        return
    if metric == "thresholdMetric":
        limit_ms = _limit_ms(document, objective, at)
        if limit_ms is not None:
            found.latency.append(LatencyObjective(quantile=target, at_most_ms=limit_ms))
    elif found.success_rate is not None:
        hint = f"keep one, or annotate what is no success rate with `{SLI}: ignore`"
        _refuse(document, "is a second share of requests that succeed", at, hint)
    else:
        found.success_rate = target


def _target(document: Document, objective: Mapping[str, Any], at: Loc) -> float | None:
    given = [(key, objective[key], one) for key, one in (("target", 1.0), ("targetPercent", 100.0)) if key in objective]
    if len(given) != 1:
        _refuse(document, "needs one of target and targetPercent", at)
        return None
    key, value, whole = given[0]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < whole:
        _refuse(document, f"has {shown(value)} as {key}", (*at, key), f"more than 0, less than {whole:g}")
        return None
    return round(float(value) / whole, 9)


def _limit_ms(document: Document, objective: Mapping[str, Any], at: Loc) -> float | None:
    operator, value = objective.get("op"), objective.get("value")
    unit = _annotation(document.value, UNIT)
    if operator not in ("lt", "lte"):
        _refuse(document, f"has {shown(operator)} as op; only lt and lte are latency", (*at, "op"))
    elif not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        _refuse(document, f"has {shown(value)} as value", (*at, "value"))
    elif unit is None and value >= 1:
        hint = f"annotate it: `{UNIT}: ms` or `{UNIT}: s`"
        _refuse(document, f"does not say whether {shown(value)} is seconds or milliseconds", (*at, "value"), hint)
    elif unit is not None and unit not in tuple(_UNIT_MS):
        _refuse(document, f"has {shown(unit)} as {UNIT}", ("metadata", "annotations", UNIT), "`s` or `ms`")
    else:
        return round(float(value) * _UNIT_MS[unit or "s"], 6)
    return None


def _refuse(document: Document, what: str, at: Loc, hint: str | None = None) -> None:
    hint = hint or f"annotate it with `{SLI}: ignore` to leave it out"
    document.add(Problem(message=f"SLO `{_name(document.value)}` {what}", hint=hint, at=at))
