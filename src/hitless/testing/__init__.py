"""Public fakes under the contracts of `hitless.ports`, for tests of hitless and of everything built on it.

A test in virtual time:

    clock = VirtualClock()
    fleet = FakeFleet(clock)
    router = FakeRouter(clock, fleet)
    fleet.behave("v2", Behaviour(ready_after_s=None))
    ...                               # start the code under test as a task
    await clock.advance(3600)         # an hour, in milliseconds
    assert router.violations == []
"""

from hitless.testing.checker import Asked, FakeChecker
from hitless.testing.clock import InlineExecutor, VirtualClock, settle
from hitless.testing.fleet import Behaviour, FakeFleet, FleetEvent
from hitless.testing.judging import FakeJudge, FakeJudges
from hitless.testing.metrics import FakeMetrics
from hitless.testing.preflight import Examined, FakePreflighter, faultless
from hitless.testing.recorder import FakeRecorder
from hitless.testing.router import Applied, FakeRouter, RouterFaults
from hitless.testing.schemas import FakeSchemas
from hitless.testing.store import MemoryStore
from hitless.testing.violations import Rule, Violation

__all__ = [
    "Applied",
    "Asked",
    "Behaviour",
    "Examined",
    "FakeChecker",
    "FakeFleet",
    "FakeJudge",
    "FakeJudges",
    "FakeMetrics",
    "FakePreflighter",
    "FakeRecorder",
    "FakeRouter",
    "FakeSchemas",
    "FleetEvent",
    "InlineExecutor",
    "MemoryStore",
    "RouterFaults",
    "Rule",
    "Violation",
    "VirtualClock",
    "faultless",
    "settle",
]
