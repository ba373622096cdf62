from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.testing.live import LiveProject, free_ports

SHOP = Path(__file__).parents[2] / "examples" / "shop"

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run:
  command: ["{python}", -m, shop, --port, "{{port}}"]
  directory: "{shop}"
  environment: {{SHOP_DATA: "{data}", SHOP_RELEASE: "{{version}}"}}
health: {{live: /health/live, ready: /health/ready, start_deadline: 20s}}
drain: {{requests: 1s, streams: 10m}}
preflight: off
traffic: {{sticky: {{cookie: hitless}}, keep_alive: 5s}}
strategy:
  rolling: {{max_surge: 1, max_unavailable: 0}}
  blue_green: {{preview: "127.0.0.1:{preview}", checks: [{{path: /}}], keep_warm: 2s}}
  canary: {{steps: [{{weight: 1%, hold: 1500ms}}, {{weight: 25%, hold: 1500ms}}, {{weight: 100%}}]}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[LiveProject]:
    data = tmp_path / "data"
    data.mkdir()
    port, preview = free_ports(2)
    configuration = CONFIGURATION.format(port=port, preview=preview, python=sys.executable, shop=SHOP, data=data)
    with LiveProject(directory=tmp_path / "project", configuration=configuration) as project:
        yield project
