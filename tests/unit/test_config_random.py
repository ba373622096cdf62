"""Random documents: valid ones load, broken ones are findings with a place, and nothing else ever comes out."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.config import Finding, InvalidConfiguration, Project, load, parse, render
from hitless.config.values import write_duration, write_percent, write_points, write_quantile, write_share
from hitless.errors import UserError

HERE = Path("hitless.yaml")
EXAMPLES = max(60, settings().max_examples // 100)  # a document takes some 40 ms to make and to read

seconds = st.integers(min_value=1, max_value=10_000)
durations = seconds.map(write_duration)
paths = st.from_regex(r"\A/[a-z0-9/_.-]{0,20}\Z")
printable = st.characters(max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"], exclude_characters="{}")
words = st.text(alphabet=printable, min_size=1, max_size=12)
tokens = st.from_regex(r"\A[A-Za-z0-9_-]{1,12}\Z")
small = st.integers(min_value=1, max_value=50)


def section(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


@st.composite
def drains(draw: st.DrawFn) -> dict[str, str]:
    requests, more = draw(seconds), draw(seconds)
    return {"requests": write_duration(requests), "streams": write_duration(requests + more)}


shares = st.integers(min_value=1, max_value=999_999).map(lambda millionths: write_share(millionths / 1_000_000))
success_rates = st.fixed_dictionaries({"at_least": shares}, optional={"for": durations})
budgets = st.integers(min_value=1, max_value=2_000).map(lambda share_bp: write_share(share_bp / 10_000))
margins = st.integers(min_value=1, max_value=5_000).map(lambda share_bp: share_bp / 10_000)
names = st.from_regex(r"\A[a-z][a-z0-9_.-]{0,12}\Z")
analyses = section(
    enabled=st.booleans(),
    false_rollback=budgets,
    false_promotion=budgets,
    error_rate=section(margin=margins.map(write_points)),
    latency=section(margin=margins.map(write_share)),
    dependencies=st.lists(names, unique=True, max_size=3),
    warm_up=durations,
    undecided=st.sampled_from(["wait", "rollback", "ask"]),
    patience=durations,
)


@st.composite
def latencies(draw: st.DrawFn) -> dict[str, str]:
    quantiles = sorted(draw(st.sets(st.integers(min_value=10, max_value=99_999), max_size=4)))
    limits = sorted(draw(st.integers(min_value=1, max_value=60_000)) for _ in quantiles)
    pairs = zip(quantiles, limits, strict=True)
    return {write_quantile(one / 100_000): write_duration(limit / 1000) for one, limit in pairs if one >= 1_000}


@st.composite
def canaries(draw: st.DrawFn) -> dict[str, Any]:
    weights = [*sorted(draw(st.sets(st.integers(min_value=1, max_value=9_999), max_size=6))), 10_000]
    holds = section(hold=durations, pause=st.booleans())
    return {"steps": [{"weight": write_percent(weight), **draw(holds)} for weight in weights]}


@st.composite
def rollings(draw: st.DrawFn, instances: int) -> dict[str, Any]:
    surge = draw(st.one_of(small, st.integers(min_value=1, max_value=10_000).map(write_percent)))
    unavailable = draw(st.integers(min_value=0, max_value=instances - 1))
    return {"max_surge": surge, "max_unavailable": unavailable}


def blue_greens(port: int) -> st.SearchStrategy[dict[str, Any]]:
    checks = st.fixed_dictionaries(
        {"path": paths},
        optional={"status": st.integers(min_value=100, max_value=599), "contains": words, "timeout": durations},
    )
    return section(
        preview=st.just(f"127.0.0.1:{port}"),
        checks=st.lists(checks, max_size=3),
        keep_warm=durations,
        approve=st.booleans(),
    )


@st.composite
def strategies(draw: st.DrawFn, instances: int, port: int) -> Any:
    kinds = {"rolling": rollings(instances), "blue_green": blue_greens(port), "canary": canaries()}
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, min_size=1))
    if len(chosen) == 1 and draw(st.booleans()):
        return chosen[0]
    return {name: draw(st.one_of(st.none(), kinds[name])) for name in chosen}


@st.composite
def services(draw: st.DrawFn, number: int = 0) -> dict[str, Any]:
    instances = draw(small)
    required = {
        "service": f"{draw(st.from_regex(r'[a-z][a-z0-9-]{0,20}', fullmatch=True))}-{number}",
        "listen": f"127.0.0.1:{20_000 + number}",
        "instances": instances,
        "run": {
            "command": draw(st.lists(words, min_size=1, max_size=4)),
            "environment": draw(st.dictionaries(NAMES, words, max_size=2)),
        },
    }
    optional = section(
        health=st.one_of(
            paths,
            section(
                live=paths, ready=paths, interval=durations, timeout=durations, healthy_after=small, max_failures=small
            ),
        ),
        drain=drains(),
        traffic=section(
            sticky=st.fixed_dictionaries({"cookie": tokens}),
            override=st.fixed_dictionaries({"header": tokens, "token": st.from_regex(r"\A[a-z0-9]{8,20}\Z")}),
            keep_alive=durations,
            idle_timeout=durations,
            http2=st.booleans(),
        ),
        strategy=strategies(instances, 30_000 + number),
        progress_deadline=durations,
        slo=section(success_rate=st.one_of(shares, success_rates), latency=latencies()),
        analysis=st.one_of(st.sampled_from(["on", "off"]), analyses),
        metrics=st.one_of(
            paths,
            section(
                path=paths,
                ratios=st.dictionaries(figures, ratios(), max_size=2),
                pools=st.dictionaries(figures, st.fixed_dictionaries({"used": metrics, "size": metrics}), max_size=2),
                prometheus=st.fixed_dictionaries({"url": st.just("http://127.0.0.1:9090")}),
            ),
        ),
    )
    return {**required, **draw(optional)}


figures = st.from_regex(r"\A[a-z][a-z0-9_-]{0,8}\Z")
metrics = st.from_regex(r"\A[a-z_]{1,12}\Z")


@st.composite
def ratios(draw: st.DrawFn) -> dict[str, str]:
    first, second = draw(st.sampled_from([("good", "bad"), ("good", "total"), ("bad", "total")]))
    more = draw(section(margin=margins.map(write_share)))
    return {first: draw(metrics), second: f'{draw(metrics)}{{outcome=~"a|b"}}', **more}


NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return draw(services())
    return {"services": [draw(services(number)) for number in range(draw(st.integers(min_value=1, max_value=3)))]}


def read(document: Any) -> Project:
    return parse(json.dumps(document, ensure_ascii=False, indent=1), path=HERE)  # YAML 1.2 holds JSON


@settings(max_examples=EXAMPLES)
@given(documents())
def test_every_valid_document_loads(document: dict[str, Any]) -> None:
    wanted = document.get("services", [document])
    project = read(document)
    assert list(project.services) == [one["service"] for one in wanted]
    for one in wanted:
        spec = project.services[one["service"]]
        assert (spec.instances, list(spec.run.command)) == (one["instances"], one["run"]["command"])
        assert spec.run.environment == one["run"]["environment"]


def places(node: Any) -> list[tuple[Any, str | int]]:
    """Every key of every mapping whose keys the schema knows, with its holder."""
    found: list[tuple[Any, str | int]] = []
    if isinstance(node, dict):
        for key, child in node.items():
            found.append((node, key))
            parts = list(child.values()) if key in NAMED else [child]
            found += [place for part in parts for place in places(part)] if key != "environment" else []
    elif isinstance(node, list):
        for child in node:
            found += places(child)
    return found


WRONG = (["", [[]]], {"no such key": {}}, -1, {"": None})
"""Values that no setting takes but these texts, for which a number is as good as a word."""

NAMED = ("ratios", "pools")
"""Names below them are the user's."""

TEXTS = ("contains", "header", "cookie")


@settings(max_examples=EXAMPLES)
@given(documents(), st.randoms(use_true_random=False))
def test_a_renamed_key_is_always_a_finding_with_a_line(document: dict[str, Any], chance: random.Random) -> None:
    broken = copy.deepcopy(document)
    holder, key = chance.choice(places(broken))
    holder[f"{key}x"] = holder.pop(key)
    must_be_invalid(broken)


@settings(max_examples=EXAMPLES)
@given(documents(), st.randoms(use_true_random=False))
def test_a_value_of_the_wrong_type_is_always_a_finding_with_a_line(
    document: dict[str, Any], chance: random.Random
) -> None:
    broken = copy.deepcopy(document)
    holder, key = chance.choice([place for place in places(broken) if place[1] not in TEXTS])
    holder[key] = chance.choice(WRONG)
    must_be_invalid(broken)


def findings_of(text: str) -> tuple[Finding, ...]:
    try:
        return parse(text, path=HERE).warnings
    except InvalidConfiguration as error:
        return error.findings


def must_be_invalid(document: Any) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        read(document)
    findings = caught.value.findings
    assert findings
    assert all(finding.place.line and finding.place.column for finding in findings)
    assert render(findings)


STRUCTURE = [
    "service: a\n",
    "services:\n",
    "- ",
    "  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "? ",
    "-\n",
    "---\n",
    "...\n",
    "\r",
]
MARKS = ["&a ", "*a", "!!set ", "!", "|\n", ">\n", "%YAML 1.1\n", "<<: ", "'", '"', "#", "%", "`", "@", "=", "~"]
SCALARS = [
    "\\0",
    "\0",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ud800",
    "0x",
    "1e999",
    "0b",
    "!!bool x",
    '"\\UFFFFFFFF"',
    "9" * 5000,
    "2020-01-01",
    "é",
    "1.1.1.1:1",
]
SETTINGS = ["instances: ", "run: {command: ", "strategy: ", "listen: ", "health:\n"]
ODD = st.sampled_from([*STRUCTURE, *MARKS, *SCALARS, *SETTINGS])


@settings(max_examples=EXAMPLES)
@given(st.lists(st.one_of(ODD, st.text(max_size=5)), max_size=25).map("".join))
def test_any_text_gives_services_or_a_user_error(text: str) -> None:
    assert all(finding.place.line for finding in findings_of(text))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=200))
def test_any_bytes_give_services_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError):
        load(path)


@settings(max_examples=EXAMPLES)
@given(documents(), st.data())
def test_a_file_that_was_damaged_anywhere_gives_services_or_findings(
    document: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(document, indent=1)
    position = data.draw(st.integers(min_value=0, max_value=len(text)))
    length = data.draw(st.integers(min_value=0, max_value=5))
    damaged = text[:position] + data.draw(ODD) + text[position + length :]
    assert all(finding.place.line for finding in findings_of(damaged))
