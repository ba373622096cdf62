"""From the text of `hitless.yaml` to services.

Order: YAML, then every service by itself, then what spans services, then the files that they name. Everything that is
wrong is collected on the way; only a rule over values that could not be read has to wait for the next attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hitless.config import files, rules
from hitless.config.advice import advise
from hitless.config.change_names import with_change_names
from hitless.config.complaints import problems_of
from hitless.config.document import Document, Span, read_document
from hitless.config.findings import (
    ConfigurationMissing,
    ConfigurationUnreadable,
    Finding,
    InvalidConfiguration,
    shown_path,
)
from hitless.config.models import Service
from hitless.config.openslo import with_objectives
from hitless.config.spelling import did_you_mean
from hitless.config.values import Loc, Problem
from hitless.rollout.spec import ServiceSpec
from hitless.system_faults import fault_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a `hitless.yaml` says.

    Attributes:
        directory: the file's; where relative paths start.
        path: the file.
        services: by name, in the order of the file.
        warnings: what is allowed and probably not meant.
    """

    directory: Path
    path: Path
    services: Mapping[str, ServiceSpec]
    warnings: tuple[Finding, ...] = field(default=(), compare=False)


def load(path: Path) -> Project:
    """Read a project from its file.

    Raises:
        ConfigurationMissing: there is no such file.
        ConfigurationUnreadable: it cannot be read.
        EnvironmentFault: no descriptor is left to read it with.
        InvalidConfiguration: it breaks the rules; holds every finding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationMissing(path) from None
    except ValueError as error:  # a null byte in the path
        raise ConfigurationUnreadable(path, str(error)) from error
    except OSError as error:
        raise fault_of(error) or ConfigurationUnreadable(path, (error.strerror or str(error)).lower()) from error
    return parse(_decode(content, path), path=path)


def parse(text: str, *, path: Path) -> Project:
    """Read a project from text, as if it stood in `path`.

    Raises:
        InvalidConfiguration: it breaks the rules; holds every finding.
    """
    document = read_document(text, name=shown_path(path))
    directory = path.absolute().parent
    services = _services(document, directory) if document.value is not None or not document.findings else {}
    if not document.findings:
        _warn(document, services, directory)
        found = {spec.name: files.with_absolute_files(spec, directory=directory) for spec in services.values()}
        return Project(directory=directory, path=path.absolute(), services=found, warnings=_sorted(document))
    raise InvalidConfiguration(_sorted(document))


def warnings(project: Project) -> tuple[Finding, ...]:
    """Return what is allowed in the project and probably not meant."""
    return project.warnings


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        document = read_document("", name=shown_path(path))
        line = before.count("\n")
        document.lines = before.split("\n")
        span = Span(line=line, column=len(before.rpartition("\n")[2]))
        document.add_at(span, "this is not UTF-8", "save the file as UTF-8")
        raise InvalidConfiguration(document.findings) from None


def _sorted(document: Document) -> tuple[Finding, ...]:
    return tuple(sorted(document.findings, key=lambda finding: (finding.place.line or 0, finding.place.column or 0)))


def _services(document: Document, directory: Path) -> dict[Loc, ServiceSpec]:
    found: dict[Loc, ServiceSpec] = {}
    named: list[tuple[Loc, str]] = []
    for at, raw in _raw_services(document):
        if isinstance(raw, dict) and isinstance(raw.get("service"), str):
            named.append((at, raw["service"]))
        spec = _read_service(document, at, raw, directory)
        if spec:
            found[at] = spec
    _note(document, (), rules.names(named))
    _note(document, (), rules.addresses(found))
    for at, spec in found.items():
        if spec.traffic.tls:
            _note(document, at, files.tls_problems(spec.traffic.tls, directory=directory))
    return found


def _raw_services(document: Document) -> Iterator[tuple[Loc, Any]]:
    """Yield the service at top level, or those under `services`."""
    root = document.value
    if root is None:
        document.add(
            Problem(message="the file is empty", hint="`hitless init` writes one with every setting explained")
        )
    elif not isinstance(root, dict):
        document.add(Problem(message="the file must hold keys and values", hint="begin with `service: NAME`"))
    elif "services" not in root:
        yield from _single(document, root)
    else:
        yield from _listed(document, root)


def _single(document: Document, root: dict[str, Any]) -> Iterator[tuple[Loc, Any]]:
    if len(root) == 1 and did_you_mean(next(iter(root)), ["services"]) and isinstance(next(iter(root.values())), list):
        name = next(iter(root))
        document.add(
            Problem(message=f"unknown key `{name}`", hint="did you mean `services`?", at=(name,), is_about_key=True)
        )
    else:
        yield (), root


def _listed(document: Document, root: dict[str, Any]) -> Iterator[tuple[Loc, Any]]:
    for key in root.keys() - {"services"}:
        hint = "move it into one of the services"
        document.add(
            Problem(message=f"`{key}` cannot stand beside `services`", hint=hint, at=(key,), is_about_key=True)
        )
    listed = root["services"]
    if isinstance(listed, list) and listed:
        yield from ((("services", position), raw) for position, raw in enumerate(listed))
    else:
        hint = "write each service as `- service: NAME`, its settings below it"
        document.add(Problem(message="`services` must be a list of services", hint=hint, at=("services",)))


def _read_service(document: Document, at: Loc, raw: object, directory: Path) -> ServiceSpec | None:
    try:
        service = Service.model_validate(raw)
    except ValidationError as error:
        _note(document, at, problems_of(error.errors(include_url=False)))
        return None
    spec, problems = with_change_names(service.to_spec(), directory=directory)
    _note(document, at, iter(problems))
    if spec.slo is None or service.slo is None or service.slo.openslo is None:
        return spec
    slo, problems = with_objectives(spec.slo, service.slo.openslo, service=spec.name, directory=directory)
    _note(document, (*at, "slo", "openslo"), iter(problems))
    return replace(spec, slo=slo)


def _note(document: Document, at: Loc, problems: Iterator[Problem]) -> None:
    for problem in problems:
        document.add(replace(problem, at=(*at, *problem.at)))


def _warn(document: Document, services: Mapping[Loc, ServiceSpec], directory: Path) -> None:
    for at, spec in services.items():
        for problem in advise(spec, directory=directory):
            document.add(replace(problem, at=(*at, *problem.at)), is_warning=True)
