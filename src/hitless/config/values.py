"""The values that users write (`30s`, `25%`, `127.0.0.1:8080`) and what they mean.

Rules: a value says its unit; nothing is rounded in silence; what was read can be written (`read_x(write_x(v)) == v`).
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass
from decimal import Decimal

from hitless.rollout.spec import ALL_TRAFFIC_BP, Address, Amount

Loc = tuple[str | int, ...]
"""Path from the document's root to a node, as in `("run", "command", 0)`."""

LONGEST_S = 365 * 86_400  # a year; longer is a slip of the keyboard
MOST_INSTANCES = 1_000
_UNIT_S = {"d": Decimal(86_400), "h": Decimal(3_600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit}(?!s))?" for unit in _UNIT_S))
_WORDY_DURATION = re.compile(r"([0-9.]+)\s*(ms|milli|[smhd])[a-z]*", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_POINTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*pp")
_QUANTILE = re.compile(r"p([1-9][0-9]?(?:\.[0-9]{1,3})?)")
_ALL_PERCENT = 100
_FINEST_DIGITS = 6  # behind the point of a percentage; a float holds them all
_PORT = re.compile(r"[0-9]{1,5}")
_LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a value.

    Attributes:
        at: leads from the value to the part that is meant.
        is_about_key: the key at `at` is meant, not its value.
        meant: the key that a misspelt one stands for.
        missing: the key that is missing in the section at `at`.
    """

    message: str
    hint: str | None = None
    at: Loc = ()
    is_about_key: bool = False
    meant: str | None = None
    missing: str | None = None


class BadValueError(ValueError):
    """A value breaks its rules; pydantic carries it to the reader as it is."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class WrittenInt(int):
    """A whole number that remembers how it was written (`08`, `0o17`), for where text is wanted."""

    source: str


class WrittenFloat(float):
    """A number that remembers how it was written (`1.10`), for where text is wanted."""

    source: str


def bad(message: str, hint: str | None = None) -> BadValueError:
    """Make the error for one problem."""
    return BadValueError(Problem(message=message, hint=hint))


def shown(value: object) -> str:
    """Name a value in a message, short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(getattr(value, "source", value))
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"  # noqa: PLR2004 - fits a terminal's line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_duration(value: object) -> float:
    """Return seconds of `500ms`, `30s`, `10m`, `2h`, `1d`, `1h30m`.

    Raises:
        BadValueError: it is none; a bare number is told which unit to add.
    """
    if _is_number(value):
        number = shown(value).strip("`")
        raise bad(f"a duration needs a unit, {shown(value)} has none", f"write `{number}s`, `{number}m` or `{number}h`")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match or not value:
        raise bad(f"{shown(value)} is no duration", _duration_hint(value))
    seconds = sum(Decimal(count) * _UNIT_S[unit] for unit, count in match.groupdict().items() if count)
    if seconds > LONGEST_S:
        raise bad(f"{shown(value)} is longer than a year", f"at most `{write_duration(LONGEST_S)}`")
    return float(seconds)


def _duration_hint(value: object) -> str:
    usual = "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"
    match = _WORDY_DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return usual
    number, word = match[1], match[2].lower()
    meant = f"{number}{'ms' if word == 'milli' else word}"
    return f"write `{meant}`" if _DURATION.fullmatch(meant) and meant != value else usual


def write_duration(seconds: float) -> str:
    """Write seconds as users do, largest unit first."""
    left = Decimal(str(seconds))
    parts: list[str] = []
    for unit, size in _UNIT_S.items():
        count = left // size
        left -= count * size
        if count:
            parts.append(f"{count:f}{unit}")
    if left:
        raise ValueError(f"finer than a millisecond: {seconds}")
    return "".join(parts) or "0s"


def read_percent(value: object) -> int:
    """Return basis points of `1%` or `0.01%`.

    Raises:
        BadValueError: it is none, is above 100 %, or is finer than 0.01 %.
    """
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if not match:
        hint = (
            f"write `{shown(value).strip('`')}%`" if _is_number(value) else "write `5%`; steps of 0.01 % are possible"
        )
        raise bad(f"{shown(value)} is no percentage", hint)
    share_bp = Decimal(match[1]) * 100
    if share_bp > ALL_TRAFFIC_BP:
        raise bad(f"{shown(value)} is more than everything", "at most `100%`")
    if share_bp != share_bp.to_integral_value():
        raise bad(f"{shown(value)} is finer than 0.01 %", f"write `{write_percent(max(round(share_bp), 1))}`")
    return int(share_bp)


def write_percent(share_bp: int) -> str:
    """Write basis points as users do."""
    return f"{(Decimal(share_bp) / 100).normalize():f}%"


def read_share(value: object) -> float:
    """Return the fraction of `99.95%` or `99.9995%`, exact to the sixth digit behind the point.

    Raises:
        BadValueError: it is none, is above 100 %, or is finer than that.
    """
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if not match:
        hint = f"write `{shown(value).strip('`')}%`" if _is_number(value) else "write `99.95%`"
        raise bad(f"{shown(value)} is no percentage", hint)
    return _fraction(value, match[1])


def write_share(fraction: float) -> str:
    """Write a fraction as users do."""
    return f"{(Decimal(str(fraction)) * 100).normalize():f}%"


def read_points(value: object) -> float:
    """Return the fraction of `0.1pp`, percentage points.

    Raises:
        BadValueError: it is none, is above 100, or is finer than a millionth; a percentage is told its unit.
    """
    match = _POINTS.fullmatch(value) if isinstance(value, str) else None
    if not match:
        number = re.match(r"[0-9]+(?:\.[0-9]+)?", shown(value).strip("`"))
        hint = f"write `{number[0]}pp`: percentage points, of all requests" if number else "write `0.1pp`"
        raise bad(f"{shown(value)} says no percentage points", hint)
    return _fraction(value, match[1])


def write_points(fraction: float) -> str:
    """Write percentage points as users do."""
    return write_share(fraction).removesuffix("%") + "pp"


def _fraction(value: object, digits: str) -> float:
    percent = Decimal(digits)
    if percent > _ALL_PERCENT:
        raise bad(f"{shown(value)} is more than everything", "at most 100")
    if percent != round(percent, _FINEST_DIGITS):
        raise bad(f"{shown(value)} is finer than a millionth of a percent", "round it")
    return float(percent / 100)


def read_quantile(value: object) -> float:
    """Return the fraction of `p99` or `p99.9`.

    Raises:
        BadValueError: it is none.
    """
    match = _QUANTILE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise bad(f"{shown(value)} is no quantile", "write `p50`, `p99` or `p99.9`")
    return float(Decimal(match[1]) / 100)


def write_quantile(quantile: float) -> str:
    """Write a quantile as users do."""
    return f"p{write_share(quantile).removesuffix('%')}"


def read_amount(value: object) -> Amount:
    """Return a count (`1`) or a share (`25%`) of the instances.

    Raises:
        BadValueError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MOST_INSTANCES:
            return Amount(count=int(value))
        raise bad(
            f"{shown(value)} is no count of instances", f"a number from 0 to {MOST_INSTANCES}, or a share as `25%`"
        )
    if isinstance(value, float) and 0 < value < 1:
        hint = f"write `{(Decimal(str(value)) * 100).normalize():f}%`"
        raise bad(f"{shown(value)} is neither a count nor a percentage", hint)
    if isinstance(value, str) and "%" in value:
        return Amount(share_bp=read_percent(value))
    raise bad(
        f"{shown(value)} is neither a count nor a percentage", "write `1` for one instance or `25%` for a share of them"
    )


def write_amount(amount: Amount) -> int | str:
    """Write an amount as users do."""
    return amount.count if amount.count is not None else write_percent(amount.share_bp or 0)


def read_address(value: object) -> Address:
    """Return the address of `127.0.0.1:8080` or `[::1]:8080`.

    Raises:
        BadValueError: host or port is missing or wrong; host names other than `localhost` are not looked up.
    """
    if not isinstance(value, str):
        port = value if isinstance(value, int) and not isinstance(value, bool) else 8080
        raise bad(f"{shown(value)} is no address", _address_hint(str(int(port))))
    host, colon, port_text = value.rpartition(":")
    if not colon or not host:
        raise bad(f"the host is missing in {shown(value)}", _address_hint(port_text))
    return Address(host=_read_host(host, port_text), port=_read_port(port_text))


def _address_hint(port: str) -> str:
    port = port if _PORT.fullmatch(port) else "8080"
    return f"write `127.0.0.1:{port}` (this machine only) or `0.0.0.0:{port}` (everyone)"


def _read_host(host: str, port_text: str) -> str:
    if host == "localhost":
        return _LOCALHOST
    in_brackets = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if in_brackets else host)
    except ValueError:
        raise bad(f"{shown(host)} is no IP address", _address_hint(port_text)) from None
    if in_brackets != (address.version == 6) or "%" in host:  # noqa: PLR2004 - the IP version's name
        raise bad(
            f"{shown(host)} is not written as the host of an address", f'IPv6 goes in brackets: `"[::1]:{port_text}"`'
        )
    return str(address)


def _read_port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:  # noqa: PLR2004 - TCP's range
        raise bad(f"{shown(text)} is no port", "a number from 1 to 65535")
    return int(text)


def read_text(value: object) -> str:
    """Return text; a number is taken as it was written.

    Raises:
        BadValueError: it is a truth value, a mapping or a list, where quotes are missing most of the time.
    """
    if isinstance(value, str):
        return value
    if _is_number(value):
        return str(getattr(value, "source", value))
    if isinstance(value, bool):
        raise bad(
            f"{shown(value)} is a truth value, text is wanted here", f'put it in quotes: `"{str(value).lower()}"`'
        )
    if isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None:
        raise bad(
            "braces without quotes are a mapping, text is wanted here", f'put it in quotes: `"{{{next(iter(value))}}}"`'
        )
    raise bad(f"{shown(value)} stands where text is wanted")


def read_command(value: object) -> tuple[str, ...]:
    """Return the words of a command, written as a list or as one line as in a shell.

    Raises:
        BadValueError: it is empty, has an open quote, or a word is no text.
    """
    if isinstance(value, str):
        return _not_empty(_split(value))
    if not isinstance(value, list):
        raise bad(f"{shown(value)} is no command", 'write a list `[python, app.py, "{port}"]` or one line of text')
    words: list[str] = []
    problems: list[Problem] = []
    for position, word in enumerate(value):
        try:
            words.append(read_text(word))
        except BadValueError as error:
            problems += [Problem(message=one.message, hint=one.hint, at=(position,)) for one in error.problems]
    if problems:
        raise BadValueError(*problems)
    return _not_empty(tuple(words))


def _split(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise bad(f"the command cannot be split into words: {str(error).lower()}", "write it as a list") from None


def _not_empty(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0]:
        raise bad("the command is empty", 'for example `[python, app.py, --port, "{port}"]`')
    return words
