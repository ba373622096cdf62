"""The `strategy` section: how a new version is brought in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ModelWrapValidatorHandler, PrivateAttr, model_validator

from hitless.config import rules
from hitless.config.fields import (
    AddressField,
    AmountField,
    Duration,
    Given,
    PositiveDuration,
    ShortForm,
    Text,
    UrlPath,
    Weight,
)
from hitless.config.section import Section, raise_if_any, setting
from hitless.config.values import Problem, write_amount, write_duration, write_percent
from hitless.rollout import spec

_STRATEGY = spec.StrategySpecs()
_STEP = spec.CanaryStep(weight_bp=spec.ALL_TRAFFIC_BP)
_CHECK = spec.CheckSpec(path="/")


def _write_step(step: spec.CanaryStep) -> dict[str, str]:
    hold = {"hold": write_duration(step.hold_s)} if step.hold_s else {}
    return {"weight": write_percent(step.weight_bp), **hold}


class Rolling(Section):
    """Replace instance by instance."""

    max_surge: AmountField = setting(
        "How many instances may exist beyond `instances` meanwhile, as a count or a share of them, rounded up.",
        default=write_amount(_STRATEGY.rolling.max_surge),
    )
    max_unavailable: AmountField = setting(
        "How many of `instances` may be missing meanwhile, as a count or a share of them, rounded down.",
        default=write_amount(_STRATEGY.rolling.max_unavailable),
    )

    def to_spec(self) -> spec.RollingSpec:
        """Return the value that the rest of hitless works with."""
        return spec.RollingSpec(max_surge=self.max_surge, max_unavailable=self.max_unavailable)


class Check(Section):
    """A request that the new version must answer before users see it."""

    path: UrlPath = setting("What is asked for, by GET.", example="/")
    status: int = setting("Status that the answer must have.", default=_CHECK.status, ge=100, le=599)
    contains: Annotated[Text | None, Given()] = setting(
        "Text that the answer's body must hold. Not set: any body will do.", default=None, example="Checkout"
    )
    timeout: PositiveDuration = setting(
        "A check without an answer for so long has failed.", default=write_duration(_CHECK.timeout_s)
    )

    def to_spec(self) -> spec.CheckSpec:
        """Return the value that the rest of hitless works with."""
        return spec.CheckSpec(path=self.path, status=self.status, contains=self.contains, timeout_s=self.timeout)


class BlueGreen(Section):
    """Two full environments and a flip; costs twice the instances meanwhile."""

    preview: Annotated[AddressField | None, Given()] = setting(
        "Address where the new version can be looked at before the flip. Not set: nowhere.",
        default=None,
        example="127.0.0.1:8081",
    )
    checks: list[Check] = setting(
        "Requests that the new version must answer before the flip; all of them.",
        default=[],
        example=[{"path": "/", "status": 200}],
    )
    keep_warm: Duration = setting(
        "How long the old environment stays full after the flip; an undo is instant meanwhile.",
        default=write_duration(_STRATEGY.blue_green.keep_warm_s),
    )
    approve: bool = setting("Wait for `hitless rollout promote` before the flip.", default=_STRATEGY.blue_green.approve)

    def to_spec(self) -> spec.BlueGreenSpec:
        """Return the value that the rest of hitless works with."""
        return spec.BlueGreenSpec(
            preview=self.preview,
            checks=tuple(check.to_spec() for check in self.checks),
            keep_warm_s=self.keep_warm,
            approve=self.approve,
        )


class Step(Section):
    """One step of a canary."""

    weight: Weight = setting("The new version's share of the traffic; steps of 0.01% are possible.", example="5%")
    hold: Duration = setting("How long the rollout stays on this step.", default=write_duration(_STEP.hold_s))
    pause: bool = setting("Wait for `hitless rollout promote` after `hold`.", default=_STEP.pause)

    def to_spec(self) -> spec.CanaryStep:
        """Return the value that the rest of hitless works with."""
        return spec.CanaryStep(weight_bp=self.weight, hold_s=self.hold, pause=self.pause)


class Canary(Section):
    """Widen the new version's share step by step; the old one stays full and warm until the end."""

    steps: list[Step] = setting(
        "Weights in rising order, the last one 100%.",
        default=[_write_step(step) for step in _STRATEGY.canary.steps],
        min_length=1,
    )

    @model_validator(mode="after")
    def _rises_to_the_end(self) -> Self:
        found = rules.canary([step.to_spec() for step in self.steps])
        raise_if_any(Problem(message=one.message, hint=one.hint, at=("steps", *one.at)) for one in found)
        return self

    def to_spec(self) -> spec.CanarySpec:
        """Return the value that the rest of hitless works with."""
        return spec.CanarySpec(steps=tuple(step.to_spec() for step in self.steps))


class Strategy(Section):
    """Ways to bring a version in. The first written is the service's own; the others are for `deploy --strategy`."""

    rolling: Rolling | None = setting("Replace instance by instance. For small changes.", default=None)
    blue_green: BlueGreen | None = setting(
        "Two full environments and a flip, back in seconds. For critical services.", default=None
    )
    canary: Canary | None = setting(
        "Widen the new version's share step by step. For larger changes; with `analysis: on` no step is left before "
        "the new version is shown to be no worse.",
        default=None,
    )

    _default: spec.StrategyName = PrivateAttr(_STRATEGY.default)

    @model_validator(mode="wrap")
    @classmethod
    def _remember_the_first(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        model = handler(value)
        if isinstance(value, Mapping) and value:
            model._default = spec.StrategyName(next(iter(value)))  # noqa: SLF001 - a class method of the same class
        return model

    def to_spec(self) -> spec.StrategySpecs:
        """Return the value that the rest of hitless works with."""
        return spec.StrategySpecs(
            default=self._default,
            rolling=self.rolling.to_spec() if self.rolling else _STRATEGY.rolling,
            blue_green=self.blue_green.to_spec() if self.blue_green else _STRATEGY.blue_green,
            canary=self.canary.to_spec() if self.canary else _STRATEGY.canary,
        )


BARE_NAME = ShortForm(lambda name: {name: {}}, {"enum": [str(name) for name in spec.StrategyName]})
