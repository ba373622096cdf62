"""What is wrong in hitless.yaml: its place, its cause, its hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from hitless.config import Finding, InvalidConfiguration, parse, render
from hitless.config.findings import shown_path
from hitless.errors import Place

GOOD = """\
service: checkout
listen: 127.0.0.1:8080
instances: 2
run: {command: [app, "{port}"], directory: "releases/{version}"}
"""


def findings(text: str, path: Path = Path("hitless.yaml")) -> tuple[Finding, ...]:
    with pytest.raises(InvalidConfiguration) as caught:
        parse(text, path=path)
    return caught.value.findings


def seen(text: str) -> list[tuple[str, str, str | None]]:
    return [(str(one.place).removeprefix("hitless.yaml:"), one.message, one.hint) for one in findings(text)]


ADDED = [
    ("replicas: 3", "5:1", "unknown key `replicas`", "did you mean `instances`?"),
    ("helth: /x", "5:1", "unknown key `helth`", "did you mean `health`?"),
    ("max_surge: 1", "5:1", "unknown key `max_surge`", "it belongs in `strategy.rolling`"),
    ("cmd: x", "5:1", "unknown key `cmd`", "did you mean `run.command`?"),
    ("strategy: {blue-green: {}}", "5:12", "unknown key `blue-green`", "did you mean `blue_green`?"),
    ("strategy: bluegreen", "5:11", "unknown key `bluegreen`", "did you mean `blue_green`?"),
    ("instances: 3", "5:1", "`instances` is here a second time", "it is on line 3 already; keep one of them"),
    (
        "health: {ready: ready}",
        "5:17",
        "`ready` is no path",
        "a path begins with `/` and holds no spaces: `/health/ready`",
    ),
    ("health: ready", "5:9", "`ready` is no path", "a path begins with `/` and holds no spaces: `/health/ready`"),
    ("health: {interval: 5}", "5:20", "a duration needs a unit, `5` has none", "write `5s`, `5m` or `5h`"),
    ("health: {interval: 0s}", "5:20", "`0s` is too short", "at least `10ms`"),
    ("health: {healthy_after: 0}", "5:25", "`healthy_after` must be at least 1, not `0`", None),
    ("health: {live: }", "5:10", "there is no value after this key", "give one, or remove the line"),
    ("health:", "5:1", "there is nothing under `health`", None),
    ("traffic: {http2: yes}", "5:18", "`http2` must be true or false, not `yes`", "write `true`"),
    ("traffic: {http2: off}", "5:18", "`http2` must be true or false, not `off`", "write `false`"),
    ("traffic: {sticky: {cookie: a b}}", "5:28", "`a b` is no cookie name", None),
    ("traffic: {sticky: {}}", "5:11", "`cookie` is missing", "add `cookie: hitless`"),
    ("traffic: {override: {header: x, token: short}}", "5:40", "`short` is no token", None),
    (
        "drain: {requests: 1h, streams: 30s}",
        "5:32",
        "streams (30s) would be cut before requests (1h) must be done",
        None,
    ),
    ("drain: {requests: 3h}", "5:1", "streams (2h) would be cut before requests (3h) must be done", None),
    ("strategy: {canary: {steps: []}}", "5:21", "`steps` must not be empty", "remove it for the usual ones"),
    ("strategy: {canary: {steps: {}}}", "5:21", "`steps` must be a list, not a mapping", "write `- ...`, one a line"),
    (
        "strategy: {canary: {steps: [{weight: 0%}]}}",
        "5:38",
        "a step without any traffic shows nothing",
        "at least `0.01%`",
    ),
    (
        "strategy: {canary: {steps: [{weight: 50%}]}}",
        "5:38",
        "the last step is 50%, and the rollout would never get further",
        "add `{weight: 100%}` as the last step",
    ),
    (
        "strategy: {canary: {steps: [{weight: 50%}, {weight: 50%}, {weight: 100%}]}}",
        "5:53",
        "the weights of a canary rise, but 50% comes after 50%",
        "put the steps in rising order",
    ),
    (
        "strategy: {rolling: {max_surge: 0}}",
        "5:33",
        "nothing could ever be replaced: max_surge 0 of 2 and max_unavailable 0 of 2 are both 0 instances",
        "set `max_surge: 1`",
    ),
    (
        "strategy: {rolling: {max_surge: 0, max_unavailable: 40%}}",
        "5:33",
        "nothing could ever be replaced: max_surge 0 of 2 and max_unavailable 40% of 2 are both 0 instances",
        "set `max_surge: 1`",
    ),
    (
        "strategy: {rolling: {max_unavailable: 100%}}",
        "5:39",
        "max_unavailable 100% of 2 leaves none to serve",
        "at most `max_unavailable: 1`",
    ),
    (
        "strategy: {blue_green: {preview: 127.0.0.1:8080}}",
        "5:34",
        "127.0.0.1:8080 is taken by `checkout` already",
        "choose another port, such as 8081",
    ),
    (
        "strategy: {blue_green: {preview: 0.0.0.0:8080}}",
        "5:34",
        "0.0.0.0:8080 is taken by `checkout` already",
        "choose another port, such as 8081",
    ),
    ("strategy: {blue_green: {checks: [{status: 700}]}}", "5:34", "`path` is missing", "add `path: /`"),
    ("tls: {cert: nowhere.pem, key: /}", "5:13", "`nowhere.pem` cannot be read: no such file or directory", None),
    ("slo: {sucess_rate: 99%}", "5:7", "unknown key `sucess_rate`", "did you mean `success_rate`?"),
    ("success_rate: 99%", "5:1", "unknown key `success_rate`", "it belongs in `slo`"),
    ("slo: {success_rate: 100%}", "5:21", "`100%` can be no objective", "more than `0%`, less than `100%`: `99.95%`"),
    ("slo: {success_rate: 99.9}", "5:21", "`success_rate` must be a mapping, not `99.9`", None),
    ("slo: {success_rate: {at_least: 99.9}}", "5:32", "`99.9` is no percentage", "write `99.9%`"),
    ("slo: {success_rate: {for: 60s}}", "5:7", "`at_least` is missing", "add `at_least: 99.95%`"),
    ("slo: {success_rate: {at_least: 99%, for: 60}}", "5:42", "a duration needs a unit, `60` has none", None),
    ("slo: {latency: {99: 300ms}}", "5:17", "`99` is no quantile", "write `p50`, `p99` or `p99.9`"),
    (
        "slo: {latency: {p99: 80ms, p50: 300ms}}",
        "5:22",
        "p99 cannot be lower than p50: who keeps p99 keeps it too",
        "set `p99` to 300ms or more, or leave `p50` out",
    ),
    ("slo: {latency: {p99: 2m}}", "5:22", "2m is not told apart from what lies beyond it", "between `1ms` and `1m`"),
    ("slo: {openslo: nowhere.yaml}", "5:16", "`nowhere.yaml` cannot be read: no such file or directory", None),
    ("analysis: yes", "5:11", "`yes` is neither on nor off", "write `on`, `off`, or a section"),
    (
        "analysis: {false_rollback: 30%}",
        "5:28",
        "`30%` is no rate of errors to allow",
        "between `0.01%` and `20%`",
    ),
    ("analysis: {false_rollback: 0.001%}", "5:28", "`0.001%` is no rate of errors to allow", None),
    (
        "analysis: {error_rate: {margin: 0pp}}",
        "5:33",
        "`0pp` is no margin to show anything by",
        "more than `0pp`, at most `50pp`",
    ),
    (
        "analysis: {error_rate: {margin: 0.1%}}",
        "5:33",
        "`0.1%` says no percentage points",
        "write `0.1pp`: percentage points, of all requests",
    ),
    ("analysis: {margin: 0.1pp}", "5:12", "unknown key `margin`", None),
    ("analysis: {latency: {margin: 0%}}", "5:30", "`0%` is no margin", "between `0.01%` and `100%`"),
    ("analysis: {dependencies: [a, b, a]}", "5:33", "`a` is listed twice", "remove one"),
    ("analysis: {undecided: promote}", "5:23", "`promote` is no way out of an open verdict", None),
    ("metrics: metrics", "5:10", "`metrics` is no path", None),
    ("metrics: {ratios: {orders: {god: a, total: b}}}", "5:29", "unknown key `god`", "did you mean `good`?"),
    (
        "metrics: {ratios: {orders: {good: a}}}",
        "5:20",
        "a ratio has exactly two of `good`, `bad` and `total`; here is `good`",
        "what is the third follows from the two",
    ),
    (
        "metrics: {ratios: {orders: {good: sum(a), total: b}}}",
        "5:35",
        "`sum(a)` selects no metric: it is an expression",
        None,
    ),
    ("metrics: {ratios: {orders: {good: {querry: a}, total: b}}}", "5:44", "unknown key `querry`", None),
    (
        "metrics: {ratios: {orders: {good: {query: a}, total: b}}}",
        "5:20",
        "one part is read from the instances and the other from a Prometheus: their times differ",
        "make both a metric, or both `{query: ...}`",
    ),
    (
        "metrics: {ratios: {orders: {good: {query: a}, total: {query: b}}}}",
        "5:20",
        "a query needs a Prometheus to answer it",
        "add `prometheus: {url: http://127.0.0.1:9090}` to `metrics`",
    ),
    ("metrics: {ratios: {a: {good: a, bad: b, margin: 200%}}}", "5:49", "`200%` is more than everything", None),
    ("metrics: {ratios: {a/b: {good: a, bad: b}}}", "5:20", "`a/b` is no name of a figure", None),
    ("metrics: {pools: {db: {used: a}}}", "5:19", "`size` is missing", "add `size: db_pool_size`"),
    ("metrics: {pools: {db: {used: a, size: 0}}}", "5:39", "`0` is no size of a pool", "more than 0"),
    (
        "metrics: {prometheus: {url: 'http://u:p@h'}}",
        "5:29",
        "`http://u:p@h` is no address of a Prometheus",
        None,
    ),
    ("metrics: ", "5:1", "there is no value after this key", "give one, or remove the line"),
    ("<<: {a: 1}", "5:1", "`<<` is no setting", "YAML 1.2 has no merge keys; write the settings out"),
    ("? [a]\n: b", "5:3", "a key must be plain text", None),
    ("traffic: {http2: !!bool x}", "5:18", "`http2` must be true or false, not `x`", None),
    ("instances: !!int x", "5:1", "`instances` is here a second time", None),
    ("drain: !!set {a}", "5:8", "the tag `!!set` is not known", "remove it"),
    ('health: "/\\0"', "5:9", "this text holds a character that cannot be passed on", "remove the escape"),
]


@pytest.mark.parametrize(("line", "place", "message", "hint"), ADDED, ids=[added[0] for added in ADDED])
def test_a_bad_setting_is_reported_with_place_cause_and_hint(
    line: str, place: str, message: str, hint: str | None
) -> None:
    found = seen(f"{GOOD}{line}\n")
    assert (place, message) == found[0][:2]
    assert hint is None or found[0][2] == hint


REPLACED = [
    ("service: checkout", "service: Checkout", "1:10", "`Checkout` is no service name"),
    ("service: checkout", f"service: {'a' * 41}", "1:10", f"`{'a' * 41}` is no service name"),
    ("instances: 2", 'instances: "2"', "3:12", "`instances` must be a whole number, not `2`"),
    ("instances: 2", "instances: 2.5", "3:12", "`instances` must be a whole number, not `2.5`"),
    ("instances: 2", "instances: 0", "3:12", "`instances` must be at least 1, not `0`"),
    ("instances: 2", "instances: 1001", "3:12", "`instances` must be at most 1000, not `1001`"),
    ("instances: 2", "", "1:1", "`instances` is missing"),
    ("instances: 2", "instanses: 2", "3:1", "unknown key `instanses`"),
    ("instances: 2", "replicas: 2", "3:1", "unknown key `replicas`"),
    ("127.0.0.1:8080", ":8080", "2:9", "the host is missing in `:8080`"),
    ('"{port}"', "{port}", "4:22", "braces without quotes are a mapping, text is wanted here"),
    ('"{port}"', '"{prot}"', "4:22", "`{prot}` is no placeholder"),
    ('"{port}"', '"{PORT}"', "4:22", "`{PORT}` is no placeholder"),
    ('"{port}"', "true", "4:22", "`true` is a truth value, text is wanted here"),
    ("releases/{version}", "releases/{commit}", "4:44", "`{commit}` is no placeholder"),
    ('[app, "{port}"]', "[]", "4:7", "the command is empty"),
    ('[app, "{port}"]', "'a \"b'", "4:16", "the command cannot be split into words: no closing quotation"),
    ("directory:", "environment: {1A: b}, directory:", "4:47", "`1A` is no variable name"),
]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"), REPLACED, ids=[replaced[1] or "-" for replaced in REPLACED]
)
def test_a_bad_value_is_the_only_finding_and_has_its_place(old: str, new: str, place: str, message: str) -> None:
    assert [one[:2] for one in seen(GOOD.replace(old, new))] == [(place, message)]


WHOLE = [
    ("", "1:1", "the file is empty"),
    ("# only a comment\n", "1:1", "the file is empty"),
    ("just text\n", "1:1", "the file must hold keys and values"),
    ("- service: a\n", "1:1", "the file must hold keys and values"),
    ("services:\n", "1:1", "`services` must be a list of services"),
    ("services: []\n", "1:1", "`services` must be a list of services"),
    ("services: {a: 1}\n", "1:1", "`services` must be a list of services"),
    ("service:\n  - service: a\n", "1:1", "unknown key `service`"),
    ("a: 1\n\tb: 2\n", "2:1", "this is not YAML: found character '\\t' that cannot start any token"),
    ("a: 'x\nb: 1\n", "2:5", "this is not YAML: found unexpected end of stream, while scanning a quoted scalar"),
    ("listen: [::1]:8080\n", "1:14", "this is not YAML:"),
    ("a: b: c\n", "1:5", "this is not YAML: mapping values are not allowed here"),
    ("a: 1\n---\nb: 2\n", "2:1", "this is not YAML: but found another document"),
    ("a: *x\n", "1:4", "this is not YAML: found undefined alias 'x'"),
    ('a: 1\nb: "\\UFFFFFFFF"\n', "2:5", "an escape names a character that does not exist"),
    ("%YAML 1.1\n---\na: yes\n", "1:1", "only YAML 1.2 is read"),
    ("a: 1\nb: \x85\n", "2:4", "here is an invisible line separator, which would change the text"),
    ("a: 1\nb: \x01\n", "2:4", "this character is not allowed in YAML"),
    ("a: &x [*x]\n", "1:4", "the file is nested too deeply, or refers to itself"),
    ("[" * 40 + "]" * 40, "1:32", "the file is nested too deeply, or refers to itself"),
    ("[" * 1_000, "1:1", "the file is nested too deeply"),
    ("#" * 300_000, "1:1", "the file is too large for a configuration"),
]


@pytest.mark.parametrize(
    ("text", "place", "message"), WHOLE, ids=[whole[2][:40] + str(n) for n, whole in enumerate(WHOLE)]
)
def test_a_file_that_cannot_be_read_at_all_has_a_place_too(text: str, place: str, message: str) -> None:
    found = seen(text)
    assert found[0][0] == place
    assert found[0][1].startswith(message)


def test_a_few_lines_of_anchors_cannot_fill_the_memory() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "refers to itself" in seen("\n".join(layers))[0][1]


def test_tabs_are_told_to_become_spaces() -> None:
    assert seen("a:\n\tb: 2\n")[0][2] == "indent with spaces; YAML allows no tabs there"


def test_braces_inside_a_word_are_told_to_be_quoted() -> None:
    assert seen("run: [app-{version}]\n")[0][2] == "put text with braces in quotes"


def test_everything_that_is_wrong_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = """\
services:
  - service: Checkout
    listen: :8080
    instanses: 4
    run: {command: [app, "{prt}"]}
    drain: {requests: 1h, streams: 30s}
    strategy: {canary: {steps: [{weight: 50%}, {weight: 20%}]}, rolling: {max_surge: 1, max_surge: 2}}
  - service: search
    listen: 127.0.0.1:8081
    instances: 1
    run: {command: app}
  - service: search
    listen: 0.0.0.0:8081
    instances: 1
    run: {command: app}
extra: 1
"""
    assert [one[0] for one in seen(text)] == [
        "2:14",
        "3:13",
        "4:5",
        "5:26",
        "6:36",
        "7:57",
        "7:57",
        "7:89",
        "12:14",
        "13:13",
        "16:1",
    ]


def test_one_message_sums_up_all_findings() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        parse(GOOD.replace("2\n", "0\n") + "extra: 1\n", path=Path("hitless.yaml"))
    error = caught.value
    assert error.message == "`instances` must be at least 1, not `0`, and 1 more problem"
    assert str(error.place) == "hitless.yaml:3:12"
    assert len(error.evidence) == len(error.findings) == 2


def test_a_finding_is_drawn_with_its_line_and_a_caret() -> None:
    assert render(findings(f"{GOOD}drain: {{reqests: 1s}}\n")) == (
        "error[HL2002]: unknown key `reqests`\n"
        "  hitless.yaml:5:9\n"
        "   5 | drain: {reqests: 1s}\n"
        "     |         ^^^^^^^\n"
        "  hint: did you mean `requests`?"
    )


def test_the_caret_stays_under_its_word_behind_wide_characters_tabs_and_long_lines() -> None:
    for before in ("数据", "\t", "x" * 500):
        line = f"{before}bad"
        place = Place(file="f", line=1, column=len(before) + 1)
        drawn = render([Finding(place=place, message="m", source_line=line, width=3)]).splitlines()
        assert "bad" in drawn[2]
        assert drawn[3].endswith(" ^^^")
        assert len(drawn[2]) < 140


def test_a_path_is_shown_as_short_as_it_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "shop" / "hitless.yaml") == "shop/hitless.yaml"
    assert shown_path(Path("hitless.yaml")) == "hitless.yaml"
    assert shown_path(Path("/nowhere/hitless.yaml")) == "/nowhere/hitless.yaml"


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("-----BEGIN CERTIFICATE-----", "nothing", "`key.pem` holds no private key in PEM form"),
        ("nothing", "-----BEGIN PRIVATE KEY-----", "`cert.pem` holds no certificate in PEM form"),
    ],
)
def test_files_under_tls_must_be_what_they_are_said_to_be(tmp_path: Path, cert: str, key: str, message: str) -> None:
    (tmp_path / "cert.pem").write_text(cert)
    (tmp_path / "key.pem").write_text(key)
    found = findings(f"{GOOD}tls: {{cert: cert.pem, key: key.pem}}\n", tmp_path / "hitless.yaml")
    assert [one.message for one in found] == [message]
