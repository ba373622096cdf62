"""The envelope around every JSON document that leaves hitless: `{"schema": "hitless.service/v1", "data": ...}`."""

from __future__ import annotations

from typing import Literal

from hitless.view.models import Envelope, Payload

Noun = Literal[
    "service",
    "services",
    "rollout",
    "rollouts",
    "journal",
    "journal-check",
    "control-plane",
    "envoy",
    "plan",
    "preflight",
    "problem",
    "project",
    "explanation",
    "down",
    "doctor",
    "analysis",
    "outlook",
    "seconds",
    "calibration",
    "lint",
    "lint-rules",
    "guard",
    "migration",
    "migrations",
    "migration-event",
    "migration-plan",
    "trace",
    "demo",
]

ENVELOPE_VERSION = "v1"


def envelope(noun: Noun, data: Payload) -> Envelope[Payload]:
    """Wrap `data`."""
    return {"schema": f"hitless.{noun}/{ENVELOPE_VERSION}", "data": data}
