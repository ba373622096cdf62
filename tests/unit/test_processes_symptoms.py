from __future__ import annotations

import os
import socket

import pytest

from hitless.adapters.processes import symptoms
from hitless.adapters.processes.identity import ProcessIdentity, ProcessTree
from hitless.adapters.processes.symptoms import stranger_on

NEVER = ProcessIdentity(pid=2**22 + 1, start_ticks=0)  # above the kernel's largest pid, and before every process
LATER = ProcessIdentity(pid=2**22 + 1, start_ticks=2**62)


def test_who_ran_before_the_instance_and_has_its_port_is_a_stranger_and_who_started_later_may_be_its_helper() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = stranger_on(port, ProcessTree(main=LATER, mark="x"))
        assert found is not None
        assert found.pid == os.getpid()
        assert stranger_on(port, ProcessTree(main=NEVER, mark="x")) is None
        assert stranger_on(port, ProcessTree(main=NEVER, mark="x"), is_certain=True) == found
    assert stranger_on(port, ProcessTree(main=LATER, mark="x"), is_certain=True) is None


def test_a_port_whose_owner_may_not_be_seen_is_taken_only_when_that_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symptoms, "_sockets_of", lambda _: set())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert stranger_on(port, ProcessTree(main=LATER, mark="x")) is None
        found = stranger_on(port, ProcessTree(main=LATER, mark="x"), is_certain=True)
    assert str(found) == f"port {port} was taken by another program: another user's"
