"""What pydantic found, said in hitless's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from pydantic_core import ErrorDetails

from hitless.config.catalogue import NAMED, settings
from hitless.config.spelling import meant_here, where_it_belongs
from hitless.config.values import BadValueError, Loc, Problem, shown

_KEY_MARK = "[key]"  # pydantic's last step of a path that leads to a mapping's key


def problems_of(errors: Iterable[ErrorDetails]) -> Iterator[Problem]:
    """Translate pydantic's errors; paths count from what was validated.

    A key that is missing because it is misspelt is one problem, not two.
    """
    found = [problem for details in errors for problem in _translate(details)]
    misspelt = {(problem.at[:-1], problem.meant) for problem in found if problem.meant}
    yield from (problem for problem in found if (problem.at, problem.missing) not in misspelt)


def _translate(details: ErrorDetails) -> tuple[Problem, ...]:
    at: Loc = tuple(details["loc"])
    is_about_key = at[-1:] == (_KEY_MARK,)
    at = at[:-1] if is_about_key else at
    error = details.get("ctx", {}).get("error")
    if isinstance(error, BadValueError):
        return tuple(
            Problem(message=one.message, hint=one.hint, at=(*at, *one.at), is_about_key=is_about_key)
            for one in error.problems
        )
    say = _SAYINGS.get(details["type"], _something)
    return (say(details, at),)


def _unknown(_details: ErrorDetails, at: Loc) -> Problem:
    here = [setting.key for setting in settings() if setting.parent == _pattern(at[:-1])]
    meant = meant_here(str(at[-1]), here)
    hint = (
        f"did you mean `{meant}`?" if meant else where_it_belongs(str(at[-1]), here, [one.path for one in settings()])
    )
    return Problem(message=f"unknown key `{at[-1]}`", hint=hint, at=at, is_about_key=True, meant=meant)


def _missing(_details: ErrorDetails, at: Loc) -> Problem:
    setting = next((one for one in settings() if one.path == _pattern(at)), None)
    hint = f"add `{at[-1]}: {setting.sample}`" if setting else None
    return Problem(message=f"`{at[-1]}` is missing", hint=hint, at=at[:-1], is_about_key=True, missing=str(at[-1]))


def _whole_number(details: ErrorDetails, at: Loc) -> Problem:
    value = details["input"]
    hint = f"write {value}, without quotes" if isinstance(value, str) and value.isdecimal() else None
    return Problem(message=f"{_named(at)} must be a whole number, not {shown(value)}", hint=hint, at=at)


def _truth_value(details: ErrorDetails, at: Loc) -> Problem:
    return Problem(
        message=f"{_named(at)} must be true or false, not {shown(details['input'])}",
        hint=_true_or_false(details),
        at=at,
    )


def _true_or_false(details: ErrorDetails) -> str:
    word = str(details["input"]).lower()
    if word in {"yes", "on", "y", "1", "true"}:
        return "write `true`"
    return "write `false`" if word in {"no", "off", "n", "0", "false"} else "write `true` or `false`, without quotes"


def _mapping(details: ErrorDetails, at: Loc) -> Problem:
    keys = [setting.key for setting in settings() if setting.parent == _pattern(at)]
    hint = "known keys: " + ", ".join(f"`{key}`" for key in keys) if keys else "write `NAME: value`, one a line"
    if details["input"] is None:
        return Problem(message=f"there is nothing under {_named(at)}", hint=hint, at=at)
    return Problem(message=f"{_named(at)} must be a mapping, not {shown(details['input'])}", hint=hint, at=at)


def _list(details: ErrorDetails, at: Loc) -> Problem:
    return Problem(
        message=f"{_named(at)} must be a list, not {shown(details['input'])}", hint="write `- ...`, one a line", at=at
    )


def _empty(_details: ErrorDetails, at: Loc) -> Problem:
    return Problem(message=f"{_named(at)} must not be empty", hint="remove it for the usual ones", at=at)


def _limit(word: str, name: str) -> Callable[[ErrorDetails, Loc], Problem]:
    def say(details: ErrorDetails, at: Loc) -> Problem:
        limit = details.get("ctx", {}).get(name)
        return Problem(message=f"{_named(at)} must be {word} {limit}, not {shown(details['input'])}", at=at)

    return say


def _something(details: ErrorDetails, at: Loc) -> Problem:
    return Problem(message=f"{_named(at)}: {details['msg'][:1].lower()}{details['msg'][1:]}", at=at)


_SAYINGS: Mapping[str, Callable[[ErrorDetails, Loc], Problem]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "int_type": _whole_number,
    "int_from_float": _whole_number,
    "bool_type": _truth_value,
    "model_type": _mapping,
    "dict_type": _mapping,
    "list_type": _list,
    "too_short": _empty,
    "greater_than_equal": _limit("at least", "ge"),
    "less_than_equal": _limit("at most", "le"),
}


def _named(at: Loc) -> str:
    names = [part for part in at if isinstance(part, str)]
    return f"`{names[-1]}`" if names else "a service"


def _pattern(at: Loc) -> str:
    """Write a path as the catalogue does: `strategy.canary.steps.weight`, `metrics.ratios.good`."""
    named = {setting.path for setting in settings() if setting.kind == NAMED}
    path = ""
    for before, part in pairwise(("", *at)):
        if isinstance(part, str) and (path not in named or path.rpartition(".")[2] != before):
            path = f"{path}.{part}".lstrip(".")
    return path
