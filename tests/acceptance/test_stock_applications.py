"""Applications that know nothing of hitless roll, unchanged, without a failed request."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from hitless.testing.live import LiveProject, free_ports, live_load
from hitless.testing.load import as_text

EXAMPLES = Path(__file__).parents[2] / "examples"
GUNICORN = [sys.executable, "-m", "gunicorn", "shop:application", "--bind", "127.0.0.1:{port}"]
KINDS = ["keepalive", "close", "h2", "post", "sticky", "slow"]
LOAD_S = 20

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run: {{command: {command}, directory: "{directory}"}}
health: /health
drain: {{requests: 5s, streams: 1m}}
preflight: off
strategy:
  rolling: {{max_surge: 1}}
  canary: {{steps: [{{weight: 10%, hold: 1s}}, {{weight: 100%}}]}}
  blue_green: {{keep_warm: 1s}}
"""


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("directory", "command"),
    [
        pytest.param("node", ["node", "server.js", "{port}"], id="node-default-keep-alive"),
        pytest.param("django_app", [*GUNICORN, "--workers", "2"], id="django-gunicorn-sync"),
        pytest.param(
            "django_app", [*GUNICORN, "--worker-class", "gthread", "--threads", "8"], id="django-gunicorn-gthread"
        ),
    ],
)
def test_a_stock_application_is_released_without_a_failed_request(
    tmp_path: Path, directory: str, command: list[str]
) -> None:
    if shutil.which(command[0]) is None and os.environ.get("CI") != "true":
        pytest.skip(f"{command[0]} is not installed; with CI=true this is a failure")
    configuration = CONFIGURATION.format(
        port=free_ports(1)[0], command=json.dumps(command), directory=EXAMPLES / directory
    )
    with LiveProject(directory=tmp_path, configuration=configuration) as project:
        project.check("deploy", "--version", "v1")
        target = project.status("shop")["listen"]
        with live_load(target, "--rate", "100", "--no-executions", "--kinds", *KINDS) as load:
            began, strategies = time.monotonic(), itertools.cycle(["rolling", "canary", "blue_green"])
            for number, strategy in enumerate(strategies, 2):
                project.check("deploy", "--version", f"v{number}", "--strategy", strategy)
                if time.monotonic() - began > LOAD_S and number > 3:
                    break
            report = load.finish()
    print(f"\n{as_text(report)}")
    assert report.total.failed == {}, report.examples
    assert report.total.sent > 1_000
    assert {"v1", "v2", "v3"} <= set(report.total.versions)
