from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings

# A shell starts background jobs with SIGINT ignored, and every process below them inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("quick", max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("quick"), max_examples=1_000)
settings.register_profile("fast", parent=settings.get_profile("quick"), max_examples=50, phases=[Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick"))


_LONGEST_FIRST = ("properties", "acceptance", "integration")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: of two halves that run side by side, neither waits for the other at the end."""
    order = {name: number for number, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the transcripts of tests/scenarios anew")
