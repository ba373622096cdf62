"""The kinds of values in `hitless.yaml`: how each is read, and what JSON Schema tells an editor about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hitless.config.spelling import did_you_mean
from hitless.config.values import (
    MOST_INSTANCES,
    BadValueError,
    Problem,
    bad,
    read_address,
    read_amount,
    read_command,
    read_duration,
    read_percent,
    read_points,
    read_quantile,
    read_share,
    read_text,
    shown,
    write_share,
)
from hitless.rollout.selectors import NAME as METRIC_NAME
from hitless.rollout.selectors import NotASelector, read_selector
from hitless.rollout.spec import Address, Amount, Sessions, SwitchWhen, Undecided
from hitless.schema.change.standing import Standing

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2; cookie names (RFC 6265) are tokens too
_PERCENT = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"}
_POINTS = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*pp$"}
_QUANTILE = {"type": "string", "pattern": r"^p[1-9][0-9]?(\.[0-9]{1,3})?$"}
_DURATION = {
    "type": "string",
    "pattern": "^(?=.)" + "".join(rf"([0-9]+(\.[0-9]+)?{u})?" for u in ("d", "h", "m", "s", "ms")) + "$",
}
_ADDRESS = {"type": "string", "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]|localhost):[0-9]{1,5}$"}
_COMMAND = {
    "anyOf": [
        {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
        {"type": "string", "minLength": 1},
    ]
}
_SELECTOR = {"type": "string", "pattern": rf"^\s*{METRIC_NAME}\s*(\{{.*\}})?\s*$"}
_QUERY = {
    "type": "object",
    "description": "A query to the Prometheus in `prometheus`; its answer is a vector of counters.",
    "properties": {"query": {"type": "string", "description": "In PromQL."}},
    "required": ["query"],
    "additionalProperties": False,
}
_PART = {"anyOf": [_SELECTOR, _QUERY]}
_SIZE = {"anyOf": [_SELECTOR, {"type": "number", "exclusiveMinimum": 0}]}
_LONGEST_QUERY = 2_000
_IN_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_IN_FILE = re.compile(r"file:[^\n]+")
_URL = re.compile(r"postgres(ql)?://[^\s]*")
_HAS_PASSWORD = re.compile(r"//[^@]*:[^@]+@|[?&](ssl)?password=")  # one may hold what should have been escaped
_AMOUNT = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_INSTANCES}, _PERCENT]}
_WIDEST_MARGIN = 0.5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: a function that reads it, its name for people, its JSON Schema."""

    read: Callable[[Any], Any]
    title: str
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read by the function alone."""
        return core_schema.no_info_plain_validator_function(lambda value: self.read(_refuse_null(value)))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe it as declared."""
        return {"title": self.title, **self.schema}


@dataclass(frozen=True, slots=True)
class Given:
    """Marks an optional setting: once its key is there it needs a value; `None` means "not written"."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse an explicit null."""
        return core_schema.no_info_before_validator_function(_refuse_null, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Leave null out."""
        result = handler(schema)
        kinds = [kind for kind in result.get("anyOf", []) if kind != {"type": "null"}]
        return kinds[0] if len(kinds) == 1 else result


@dataclass(frozen=True, slots=True)
class ShortForm:
    """Lets one word stand for a mapping."""

    expand: Callable[[str], dict[str, Any]]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Expand the word first."""
        return core_schema.no_info_before_validator_function(self._expanded, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow both forms."""
        return {"anyOf": [handler(schema), self.schema]}

    def _expanded(self, value: object) -> object:
        return self.expand(value) if isinstance(value, str) else value


def read_on_or_off(word: str) -> dict[str, Any]:
    """Read the short form of a section that can be switched off."""
    if word not in {"on", "off"}:
        raise bad(f"{shown(word)} is neither on nor off", "write `on`, `off`, or a section")
    return {"enabled": word == "on"}


def _refuse_null(value: object) -> object:
    if value is None:
        raise bad("there is no value after this key", "give one, or remove the line")
    return value


def _duration(least_s: float, least: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        seconds = read_duration(value)
        if seconds < least_s:
            raise bad(f"{shown(value)} is too short", f"at least `{least}`")
        return seconds

    return read


def read_weight(value: object) -> int:
    """Return basis points of the traffic, some of it.

    Raises:
        BadValueError: it is none.
    """
    weight_bp = read_percent(value)
    if weight_bp < 1:
        raise bad("a step without any traffic shows nothing", "at least `0.01%`")
    return weight_bp


def _within(read: Callable[[object], float], *, least: float, most: float, why: str) -> Callable[[object], float]:
    def within(value: object) -> float:
        fraction = read(value)
        if not least <= fraction <= most:
            limits = f"between `{write_share(least)}` and `{write_share(most)}`"
            raise bad(f"{shown(value)} {why}", limits)
        return fraction

    return within


def read_objective(value: object) -> float:
    """Return the fraction of an objective, neither nothing nor all.

    Raises:
        BadValueError: it is none.
    """
    fraction = read_share(value)
    if not 0 < fraction < 1:
        raise bad(f"{shown(value)} can be no objective", "more than `0%`, less than `100%`: `99.95%`")
    return fraction


def read_margin(value: object) -> float:
    """Return the fraction of a margin that something can be shown by.

    Raises:
        BadValueError: it is none.
    """
    fraction = read_points(value)
    if not 0 < fraction <= _WIDEST_MARGIN:
        raise bad(f"{shown(value)} is no margin to show anything by", "more than `0pp`, at most `50pp`")
    return fraction


@dataclass(frozen=True, slots=True)
class Query:
    """A query to a Prometheus, as it was written."""

    text: str


def read_selector_text(value: object) -> str:
    """Return a selector of metrics as it was written.

    Raises:
        BadValueError: it is none.
    """
    text = read_text(value)
    try:
        read_selector(text)
    except NotASelector as problem:
        raise bad(f"{shown(text)} selects no metric: {problem}", problem.hint) from None
    return text.strip()


def read_part(value: object) -> str | Query:
    """Return a selector, or the query in `{query: ...}`.

    Raises:
        BadValueError: it is neither.
    """
    if not isinstance(value, dict):
        return read_selector_text(value)
    for key in value:
        if key != "query":
            near = did_you_mean(str(key), ["query"])
            hint = "did you mean `query`?" if near else "known here: `query`"
            raise BadValueError(Problem(message=f"unknown key `{key}`", hint=hint, at=(key,)))
    text = value.get("query")
    if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST_QUERY:
        raise bad("there is no query in PromQL here", """write `{query: 'orders_total{outcome="paid"}'}`""")
    return Query(text.strip())


def read_size(value: object) -> str | float:
    """Return a selector, or how many there are.

    Raises:
        BadValueError: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < float("inf"):
            raise bad(f"{shown(value)} is no size of a pool", "more than 0")
        return float(value)
    return read_selector_text(value)


def read_database_url(value: object) -> str:
    """Return `env:NAME`, `file:PATH`, or a URL that has no password in it.

    Raises:
        BadValueError: it is none of them.
    """
    text = read_text(value).strip()
    if _IN_VARIABLE.fullmatch(text) or _IN_FILE.fullmatch(text):
        return text
    if not _URL.fullmatch(text):
        raise bad(f"{shown(text)} says no place of a URL", "`env:NAME`, `file:PATH`, or `postgresql://user@host/name`")
    if _HAS_PASSWORD.search(text):
        hint = "write `env:NAME` or `file:PATH`, and put the URL there"
        raise bad("the password in this URL would stand in the journal", hint)
    return text


def _quantile(value: object) -> str:
    read_quantile(value)
    return str(value)


def _words(pattern: str, title: str, hint: str) -> Kind:
    expression = re.compile(pattern)

    def read(value: object) -> str:
        text = read_text(value)
        if not expression.fullmatch(text):
            raise bad(f"{shown(text)} is no {title}", hint)
        return text

    return Kind(read, title, {"type": "string", "pattern": f"^{pattern}$"})


read_budget = _within(read_share, least=0.0001, most=0.2, why="is no rate of errors to allow")
Duration = Annotated[float, Kind(_duration(0.0, "0s"), "duration", _DURATION)]
PositiveDuration = Annotated[float, Kind(_duration(0.01, "10ms"), "duration", _DURATION)]
LatencyLimit = Annotated[float, Kind(_duration(0.001, "1ms"), "duration", _DURATION)]
Weight = Annotated[int, Kind(read_weight, "percentage", _PERCENT)]
Objective = Annotated[float, Kind(read_objective, "percentage", _PERCENT)]
Budget = Annotated[float, Kind(read_budget, "percentage", _PERCENT)]
Margin = Annotated[float, Kind(_within(read_share, least=0.0001, most=1.0, why="is no margin"), "percentage", _PERCENT)]
OddsMargin = Annotated[
    float, Kind(_within(read_share, least=0.0, most=1.0, why="is no margin"), "percentage", _PERCENT)
]
Points = Annotated[float, Kind(read_margin, "percentage points", _POINTS)]
Quantile = Annotated[str, Kind(_quantile, "quantile", _QUANTILE)]
AmountField = Annotated[Amount, Kind(read_amount, "count or percentage", _AMOUNT)]
AddressField = Annotated[Address, Kind(read_address, "address", _ADDRESS)]
Command = Annotated[tuple[str, ...], Kind(read_command, "command", _COMMAND)]
Text = Annotated[str, Kind(read_text, "text", {"type": ["string", "number"]})]
ServiceName = Annotated[
    str,
    _words(
        r"[a-z][a-z0-9-]{0,39}",
        "service name",
        "a lower-case letter, then at most 39 lower-case letters, digits and dashes: `checkout-api`",
    ),
]
UrlPath = Annotated[str, _words(r"/[!-\"$-~]*", "path", "a path begins with `/` and holds no spaces: `/health/ready`")]
SessionsField = Annotated[str, _words("|".join(Sessions), "place of sessions", "one of `external` and `in_process`")]
UndecidedField = Annotated[
    str, _words("|".join(Undecided), "way out of an open verdict", "one of `wait`, `rollback` and `ask`")
]
Dependency = Annotated[
    str, _words(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "name of a dependency", "letters, digits and `-_.`: `payments`")
]
FigureName = Annotated[
    str, _words(r"[A-Za-z][A-Za-z0-9_-]{0,39}", "name of a figure", "a letter, then letters, digits and `-_`: `orders`")
]
LabelName = Annotated[str, _words(r"[a-zA-Z_][a-zA-Z0-9_]*", "label", "letters, digits and `_`: `version`")]
HttpUrl = Annotated[
    str,
    _words(
        r"https?://[^\s/@?#]+(/[^\s@?#]*)?",
        "address of a Prometheus",
        "without user, query and `/api/v1`: `http://127.0.0.1:9090`",
    ),
]
SelectorField = Annotated[str, Kind(read_selector_text, "selector", _SELECTOR)]
PartField = Annotated[str | Query, Kind(read_part, "selector or query", _PART)]
SizeField = Annotated[str | float, Kind(read_size, "selector or number", _SIZE)]
FilePath = Annotated[str, _words(r"[^\n]+", "file", "a path, relative to the file's directory")]
CookieName = Annotated[str, _words(_TOKEN, "cookie name", "letters, digits and `-_.`, without spaces: `hitless`")]
HeaderName = Annotated[str, _words(_TOKEN, "header name", "letters, digits and dashes: `x-version`")]
Secret = Annotated[str, _words(r"[!-~]{8,256}", "token", "8 to 256 letters, digits and signs, without spaces")]
RoleName = Annotated[
    str,
    _words(
        r"(?!pg_)[A-Za-z_][A-Za-z0-9_$-]{0,62}",
        "name of a role",
        "a letter or `_`, then letters, digits and `_`, and no `pg_`, which is the server's own: `shop_app`",
    ),
]
StandingField = Annotated[
    str,
    _words(
        f"{Standing.EXPANDED}|{Standing.BACKFILLED}|{Standing.VERIFIED}|{Standing.SWITCHED}",
        "standing of a change that a release can need",
        "one of `expanded`, `backfilled`, `verified` and `switched`",
    ),
]
SwitchField = Annotated[str, _words("|".join(SwitchWhen), "way to switch", "one of `manual` and `automatic`")]
DatabaseUrl = Annotated[str, Kind(read_database_url, "place of a URL", {"type": "string", "minLength": 5})]
VariableName = Annotated[
    str, _words(r"[A-Za-z_][A-Za-z0-9_]*", "variable name", "letters, digits and `_`: `DATABASE_URL`")
]
