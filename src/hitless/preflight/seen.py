"""What a preflight saw of a version: values, without judgement. Moments are seconds after the start of the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hitless.rollout.spec import InstanceId, ServiceSpec, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one request got.

    Attributes:
        at_s: when it was sent.
        status: None = no answer, and `problem` says why.
    """

    at_s: float
    status: int | None
    problem: str | None = None

    @property
    def is_success(self) -> bool:
        """Tell whether it is 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 section 15.3

    @property
    def is_failure(self) -> bool:
        """Tell whether a user would see a fault of the server; what it refuses or lacks (4xx) is an answer."""
        return self.status is None or self.status >= 500  # noqa: PLR2004 - RFC 9110 section 15.6

    @property
    def words(self) -> str:
        """Say it."""
        return f"answered {self.status}" if self.status is not None else f"gave no answer ({self.problem})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one instance came up.

    Attributes:
        ready_at_s: when it would have got users; None = never.
        problem: why it cannot serve: it never got ready, or it ended by itself.
        ready: answers of the readiness path.
        pages: answers of each page, asked from `ready_at_s` on until it serves.
        stray: answers of a path that no application has, beside the readiness path, asked as the pages are.
        log: the last line that it wrote.
    """

    instance: InstanceId
    ready: tuple[Answer, ...] = ()
    ready_at_s: float | None = None
    problem: str | None = None
    pages: Mapping[str, tuple[Answer, ...]] = field(default_factory=dict)
    stray_path: str = ""
    stray: tuple[Answer, ...] = ()
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleConnection:
    """What became of connections that were kept open and not used.

    Attributes:
        closed_after_s: the shortest life; None = open as long as it was watched, or never kept open at all.
    """

    closed_after_s: float | None
    watched_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRequest:
    """A request that was in the application's hands at SIGTERM and got no whole answer."""

    path: str
    age_s: float
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What followed SIGTERM.

    Attributes:
        in_flight: requests that were in the application's hands then.
        exited_after_s: None = it was still there after `waited_s`.
        code: exit status; None with `signal` None = not known.
        still_ready: readiness on a new connection, asked when the wait was over.
        children: processes that it left behind, in words.
    """

    in_flight: int = 0
    cut: tuple[CutRequest, ...] = ()
    waited_s: float
    exited_after_s: float | None = None
    code: int | None = None
    signal: int | None = None
    still_ready: Answer | None = None
    children: tuple[str, ...] = ()
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSession:
    """A session that its own instance knew, before and after another instance did not."""

    path: str
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that a preflight saw.

    Attributes:
        spec: what is declared.
        starts: one per instance that was started, side by side.
        idle, ending: None = it did not come to that.
    """

    spec: ServiceSpec
    version: Version
    starts: tuple[Start, ...]
    idle: IdleConnection | None = None
    ending: Ending | None = None
    lost_sessions: tuple[LostSession, ...] = ()
