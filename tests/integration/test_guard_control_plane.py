"""`hitless migrate contract` beside a control plane that runs: it tells which versions live, and which may return."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guard_stage import NEW, OLD, Shop, counting
from guard_stage import shop as database

from hitless.testing.live import LiveProject, free_ports

SHOP = Path(__file__).parents[2] / "examples" / "shop"
CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 1
run:
  command: ["{python}", -m, shop, --port, "{{port}}"]
  directory: "{shop}"
  environment: {{SHOP_DATA: "{data}", SHOP_RELEASE: "{{version}}"}}
health: {{live: /health/live, ready: /health/ready, start_deadline: 60s}}
preflight: off
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[LiveProject]:
    (tmp_path / "data").mkdir()
    (port,) = free_ports(1)
    configuration = CONFIGURATION.format(port=port, python=sys.executable, shop=SHOP, data=tmp_path / "data")
    with LiveProject(directory=tmp_path / "project", configuration=configuration) as project:
        yield project


@pytest.fixture
def stage() -> Iterator[Shop]:
    with counting(18) as directory, database(directory, "shop") as made:
        made.run("SELECT id, email FROM users", user=NEW)
        made.run("SELECT full_name FROM users", user=OLD)
        yield made


def asked(project: LiveProject, stage: Shop, verb: str, *words: str) -> tuple[int, str]:
    done = project.run("migrate", verb, "split", "--database", stage.database().conninfo, "--window", "0s", *words)
    return done.returncode, done.stdout + done.stderr


def verdicts(project: LiveProject, stage: Shop) -> dict[str, tuple[str, list[str]]]:
    _, said = asked(project, stage, "guard", "--json")
    data: Any = json.loads(said)["data"]
    return {one["name"]: (one["verdict"], one["because"]) for one in data["versions"]}


def test_what_may_be_rolled_back_to_blocks_until_it_may_not(shop: LiveProject, stage: Shop) -> None:
    shop.check("deploy", "shop", "--version", "41", "--strategy", "rolling")
    shop.check("deploy", "shop", "--version", "42", "--strategy", "rolling")
    found = verdicts(shop, stage)
    assert found["shop@41"] == ("references", ["`rollout undo` brings it back"])
    assert found["shop@42"][0] == "clear"
    code, said = asked(shop, stage, "contract", "--yes")
    assert (code, "shop@41 uses it" in said) == (4, True), said
    shop.check("deploy", "shop", "--version", "43", "--strategy", "rolling")
    found = verdicts(shop, stage)
    assert "shop@41" not in found
    assert found["shop@43"][0] == "unknown"  # nothing is known of it: it has no role here
