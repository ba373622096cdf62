from __future__ import annotations

import http.client
import json
import logging
import logging.handlers
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitless.api.unix_socket import connect
from hitless.cli.client import Client
from hitless.errors import Conflict, RolloutInProgress
from scripted_control_plane import NEW, OLD, ScriptedControlPlane, canary_script, chained, rollout, serving


@pytest.fixture
def control() -> ScriptedControlPlane:
    return ScriptedControlPlane.of(canary_script())


@pytest.fixture
def path(control: ScriptedControlPlane, tmp_path: Path) -> Iterator[Path]:
    with serving(control, tmp_path / "s.sock"):
        yield tmp_path / "s.sock"


def ask(path: Path, method: str, target: str, body: Any = None) -> tuple[int, http.client.HTTPMessage, Any]:
    connection = http.client.HTTPConnection("hitless")
    connection.sock = connect(path, timeout_s=20)
    content_type = {"content-type": "application/json"}
    connection.request(method, target, body=None if body is None else json.dumps(body), headers=content_type)
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, response.headers, content


@pytest.mark.parametrize(
    ("target", "schema"),
    [
        ("/v1/services", "hitless.services/v1"),
        ("/v1/services/checkout", "hitless.service/v1"),
        ("/v1/services/checkout/plan?version=7", "hitless.plan/v1"),
        ("/v1/services/checkout/seconds?minutes=5", "hitless.seconds/v1"),
        ("/v1/rollouts", "hitless.rollouts/v1"),
        ("/v1/rollouts/checkout-7", "hitless.rollout/v1"),
        ("/v1/journal", "hitless.journal/v1"),
        ("/v1/journal/check", "hitless.journal-check/v1"),
        ("/v1/control-plane", "hitless.control-plane/v1"),
    ],
)
def test_every_document_stands_in_a_versioned_envelope(path: Path, target: str, schema: str) -> None:
    status, headers, document = ask(path, "GET", target)
    assert (status, document["schema"], set(document)) == (200, schema, {"schema", "data"})
    assert headers["content-type"] == "application/json"


def test_deploy_passes_everything_on_and_says_where_the_rollout_is(path: Path, control: ScriptedControlPlane) -> None:
    request = {"version": NEW, "strategy": "canary", "supersede": True, "actor": "user:ana", "reason": "fix"}
    request |= {"skip_preflight": True}
    status, headers, document = ask(path, "POST", "/v1/services/checkout/rollouts", request)
    assert (status, headers["location"]) == (201, "/v1/rollouts/checkout-7")
    assert document["data"]["id"] == "checkout-7"
    assert control.calls == [("deploy", {"service": "checkout", **request})]


def test_a_preflight_answers_with_what_was_found(path: Path, control: ScriptedControlPlane) -> None:
    request = {"version": NEW, "actor": "user:ana", "reason": "curious"}
    status, _, document = ask(path, "POST", "/v1/services/checkout/preflight", request)
    assert (status, document["schema"], document["data"]["passed"]) == (200, "hitless.preflight/v1", True)
    assert control.calls == [("preflight", {"service": "checkout", **request})]


@pytest.mark.parametrize("verb", ["promote", "promote_full", "pause", "resume", "abort", "undo"])
def test_every_verb_reaches_the_control_plane(path: Path, control: ScriptedControlPlane, verb: str) -> None:
    status, _, document = ask(path, "POST", f"/v1/services/checkout/{verb}", {"actor": "user:ana"})
    assert (status, document["schema"]) == (200, "hitless.rollout/v1")
    assert control.calls == [(verb, {"service": "checkout", "actor": "user:ana", "reason": None})]


def test_an_error_is_a_problem_document_with_what_a_command_line_needs(path: Path) -> None:
    status, headers, problem = ask(path, "GET", "/v1/services/nope")
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert problem == {
        "type": "urn:hitless:error:HL2001",
        "title": "No service of this name is in `hitless.yaml`",
        "status": 404,
        "detail": "no service is called 'nope'",
        "code": "HL2001",
        "exit_code": 2,
        "place": None,
        "evidence": ["known: checkout"],
        "hints": ["hitless status"],
    }


def test_a_refusal_keeps_its_status_and_exit_code(path: Path, control: ScriptedControlPlane) -> None:
    control.answers["deploy"] = RolloutInProgress("another rollout is going on")
    status, _, problem = ask(path, "POST", "/v1/services/checkout/rollouts", {"version": "1", "actor": "user:ana"})
    assert (status, problem["code"], problem["exit_code"]) == (409, "HL7001", Conflict.exit_code)


@pytest.mark.parametrize(
    ("target", "body", "fault"),
    [
        ("/v1/services/checkout/rollouts", {"version": NEW}, "body.actor: Field required"),
        ("/v1/services/checkout/rollouts", {"version": "", "actor": "x"}, "body.version"),
        ("/v1/services/checkout/rollouts", {"version": "1", "actor": "x", "strategy": "bold"}, "body.strategy"),
        ("/v1/services/checkout/abort", {"actor": "x", "raeson": "typo"}, "body.raeson: Extra inputs"),
        ("/v1/services/checkout/explode", {"actor": "x"}, "path.verb"),
    ],
)
def test_a_malformed_request_names_its_faults(path: Path, target: str, body: Any, fault: str) -> None:
    status, _, problem = ask(path, "POST", target, body)
    assert (status, problem["code"], problem["exit_code"]) == (422, "HL2080", 2)
    assert any(line.startswith(fault) for line in problem["evidence"])


@pytest.mark.parametrize(("method", "target", "expected"), [("GET", "/v1/nope", 404), ("PUT", "/v1/services", 405)])
def test_an_unknown_address_is_a_problem_too(path: Path, method: str, target: str, expected: int) -> None:
    status, headers, problem = ask(path, method, target)
    assert (status, problem["status"], problem["code"]) == (expected, expected, "HL2081")
    assert headers["content-type"] == "application/problem+json"


def test_a_long_poll_answers_with_the_change(path: Path) -> None:
    first = Client(path).service("checkout")
    second = Client(path).service("checkout", after=first["seq"], wait_s=20)
    assert second["seq"] == first["seq"] + 1


def test_a_long_poll_without_a_change_answers_when_its_time_is_up(path: Path, control: ScriptedControlPlane) -> None:
    control.frame = len(control.frames) - 1
    assert Client(path).service("checkout", after=99, wait_s=0.2)["seq"] == len(control.frames)


def test_the_journal_is_read_forward_or_from_its_end(path: Path, control: ScriptedControlPlane) -> None:
    control.records = chained(*"abcdefg")
    client = Client(path)
    assert [record["seq"] for record in client.journal(after=2, limit=3)] == [3, 4, 5]
    assert [record["seq"] for record in client.newest_records(2)] == [6, 7]
    assert [record["seq"] for record in client.newest_records(2, subject="service/search")] == [4, 6]
    assert client.newest_records(0) == []


def test_rollouts_can_be_asked_for_by_service(path: Path, control: ScriptedControlPlane) -> None:
    control.past = [rollout(id="search-1", service="search"), rollout(id="checkout-6", baseline=None, candidate=OLD)]
    client = Client(path)
    assert [one["id"] for one in client.rollouts("checkout")] == ["checkout-7", "checkout-6"]
    assert [one["id"] for one in client.rollouts(None)] == ["checkout-7", "search-1", "checkout-6"]


def test_an_unforeseen_error_is_a_problem_and_is_not_hidden_from_the_log(
    path: Path, control: ScriptedControlPlane
) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logging.getLogger("uvicorn.error").addHandler(handler)
    control.frames = []
    status, headers, problem = ask(path, "GET", "/v1/services")
    assert (status, problem["code"], headers["content-type"]) == (500, "HL1000", "application/problem+json")
    assert "IndexError" in problem["detail"]
    assert "IndexError" in records.get(timeout=20).getMessage()  # it is logged after the answer was sent
    logging.getLogger("uvicorn.error").removeHandler(handler)


def test_the_openapi_document_names_every_route(path: Path) -> None:
    status, _, document = ask(path, "GET", "/v1/openapi.json")
    assert status == 200
    assert {"/v1/services/{name}", "/v1/services/{name}/{verb}", "/v1/journal/check", "/v1/down"} <= set(
        document["paths"]
    )
