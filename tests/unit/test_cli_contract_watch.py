"""What `hitless migrate contract --watch` does where the database stops to answer in the middle."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import Any, cast

import pytest

from hitless.adapters.postgres.migrator import Migrator
from hitless.cli import migrate_contract
from hitless.cli.migrate_contract import GivenBack
from hitless.cli.output import Output
from hitless.errors import EnvironmentFault
from hitless.schema.change.standing import Part


class Gone(EnvironmentFault):
    """No answer."""

    code = "HL6501"


class Deaf:
    """A watcher whose server has gone."""

    def __init__(self, **_: object) -> None:
        pass

    def usual(self, _seconds: float) -> None:
        return None

    def watch(self, *_: object) -> str | None:
        raise Gone("the database does not answer")


class Worker:
    """A migrator that says what was asked of it."""

    database = plan = None

    def __init__(self, *, answers_again: bool) -> None:
        self.stopping, self.undone, self._answers = Event(), [], answers_again

    def state(self, _name: str) -> Worker:
        return self

    def carry_out(self, *_: object) -> Worker:
        return self

    def undo(self, name: str, _to: object) -> None:
        if not self._answers:
            raise Gone("the database does not answer")
        self.undone.append(name)


class Silent:
    """Output that nobody reads."""

    def narrate(self, _text: str) -> None:
        return None


def contract(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> GivenBack:
    monkeypatch.setattr(migrate_contract, "Watcher", Deaf)
    output: Any = Silent()
    with pytest.raises(GivenBack) as given:
        migrate_contract._carry_out(
            cast("Migrator", worker), "split", Part.BROWNOUT, timedelta(minutes=1), cast("Output", output)
        )
    return given.value


def test_what_cannot_be_watched_any_more_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(answers_again=True)
    assert "does not answer" in str(contract(worker, monkeypatch))
    assert worker.undone == ["split"]


def test_what_cannot_be_given_back_is_said_to_be_in_force_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    given = contract(Worker(answers_again=False), monkeypatch)
    assert "could not be" in str(given)
    assert "hitless migrate undo split --to switched" in given.hints[0]
