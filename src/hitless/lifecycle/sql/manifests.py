"""Files of several processes made into one manifest; models put beside the statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hitless.lifecycle.sql.capture import FORMAT

SAME = ("service", "version", "digest", "scope")


class DifferError(Exception):
    """Files are of different versions, or no manifests."""


def merge(path: Path, *, keep: bool = False) -> dict[str, Any]:
    """Make one manifest of `path` and the files of processes beside it, write it, and remove those.

    Raises:
        DifferError: they are not of one version, or one of them is no manifest.
        OSError: a file cannot be read or written.
    """
    parts = sorted(path.parent.glob(f"{path.name}.*-*"))
    found = [*([path] if path.exists() else []), *parts]
    documents = [_read(one) for one in found]
    if not documents:
        raise DifferError(f"there is no {path}, and no {path.name}.* of a process beside it")
    for name in SAME:
        values = {json.dumps(one.get(name)) for one in documents}
        if len(values) > 1:
            raise DifferError(f"`{name}` differs: {', '.join(sorted(values))}")
    merged = _merged(documents)
    write(path, merged)
    for one in parts if not keep else ():
        one.unlink()
    return merged


def with_models(path: Path, models: Sequence[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Put models into the manifest at `path`, which is made if it is not there.

    Raises:
        DifferError: what is there is no manifest of this version.
    """
    document = _read(path) if path.exists() else {"format": FORMAT, **about, "statements": [], "lost": 0, "failed": 0}
    for name in ("service", "version"):
        if about.get(name) is not None and document.get(name) != about[name]:
            raise DifferError(f"{path} is of {name} {document.get(name)!r}, and not of {about[name]!r}")
    document["models"] = list(models)
    write(path, document)
    return document


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a manifest whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DifferError(f"{path} is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DifferError(f"{path} is no manifest of this format: {FORMAT}")
    return document


def _gaps_s(documents: Sequence[dict[str, Any]]) -> float:
    """Return for how long nothing was captured between the first begin and the last end, in seconds."""
    spans = sorted(
        (datetime.fromisoformat(one["began_at"]), datetime.fromisoformat(one["until"]))
        for one in documents
        if one.get("began_at") and one.get("until")
    )
    gaps_s, covered = 0.0, spans[0][1] if spans else None
    for began, until in spans:
        assert covered is not None, "there is a first one"
        gaps_s += max((began - covered).total_seconds(), 0.0)
        covered = max(covered, until)
    return gaps_s


def _merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for one in documents for row in one["statements"]):
        key = (row["sql"], row["marks"], tuple(row["parameters"]), row["where"])
        known = rows.setdefault(key, {**row, "calls": 0})
        known["calls"] += row["calls"]
        known["first_seen"] = min(known["first_seen"], row["first_seen"])
        known["last_seen"] = max(known["last_seen"], row["last_seen"])
    covered = [one["coverage"] for one in documents if one.get("coverage") is not None]
    began = [one["began_at"] for one in documents if one.get("began_at")]
    gaps_s = _gaps_s(documents) + sum(one.get("gaps_s", 0) for one in documents)
    until = [one["until"] for one in documents if one.get("until")]
    return {
        **documents[0],
        "coverage": min(covered) if covered else None,
        "began_at": min(began) if began else None,
        "until": max(until) if until else None,
        "gaps_s": gaps_s,
        "lost": sum(one["lost"] for one in documents),
        "failed": sum(one["failed"] for one in documents),
        "unended": sum(one.get("unended", 0) for one in documents),
        "models": next((one["models"] for one in documents if one.get("models")), []),
        "statements": sorted(rows.values(), key=lambda row: (row["sql"], row["where"] or "")),
    }
