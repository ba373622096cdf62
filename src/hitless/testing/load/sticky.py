"""Users that keep their cookies: does a user stay on its version, from its very first requests on?"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field

from hitless.testing.load.context import Context
from hitless.testing.load.fate import Answer
from hitless.testing.load.plan import Kind, StickySpec
from hitless.testing.load.requests import Http1Client


@dataclass(slots=True)
class User:
    """A browser: its cookies, and the version that answered it last. A regular comes again and again."""

    is_regular: bool
    cookies: dict[bytes, bytes] = field(default_factory=dict)
    version: str | None = None

    def keep_cookies(self, answer: Answer) -> None:
        """Keep the cookies of an answer; attributes play no part within one load."""
        for name, value in answer.headers:
            if name == b"set-cookie":
                cookie, _, content = value.partition(b";")[0].partition(b"=")
                self.cookies[cookie.strip()] = content.strip()

    def cookie_header(self) -> list[tuple[bytes, bytes]]:
        """Return the Cookie header, if there are cookies."""
        together = b"; ".join(name + b"=" + content for name, content in self.cookies.items())
        return [(b"cookie", together)] if together else []


class StickyClient(Http1Client):
    """Regulars in turn, and now and then a brand-new user that asks twice."""

    def __init__(self, context: Context, kind: Kind, spec: StickySpec) -> None:
        super().__init__(context, kind, spec, room=min(spec.connections, spec.users))
        self._new_user_every = spec.new_user_every
        self._turns = itertools.count(1)
        self._resting = deque(User(is_regular=True) for _ in range(spec.users))
        self._asking: dict[str, User] = {}

    async def fly(self, due: float, name: str) -> None:
        """Send a regular, or introduce somebody new."""
        if next(self._turns) % self._new_user_every == 0:
            await self._introduce(due, name)
        else:
            await self.carry_out(due, name)

    async def ask(self, name: str) -> Answer:
        """Send the request `name` with its user's cookies; return its fate."""
        # A regular always rests: there is room for as many requests as regulars, and `settle` follows at once.
        user = self._asking.get(name) or self._resting.popleft()
        self._asking[name] = user
        answer = await self.ask_with(name, [*self._headers, *user.cookie_header()])
        user.keep_cookies(answer)
        return answer

    def settle(self, due: float, name: str, answer: Answer) -> str | None:
        """Count the fate; note which version the user met."""
        version = super().settle(due, name, answer)
        user = self._asking.pop(name)
        if user.is_regular:
            self._resting.append(user)
            self._note_version(user, version)
        return version

    async def _introduce(self, due: float, name: str) -> None:
        user = User(is_regular=False)
        first = await self._ask_as(user, due, name)
        again = self._context.next_id()
        if first is None or again is None:
            return
        second = await self._ask_as(user, asyncio.get_running_loop().time(), again)
        tally = self._context.ledger.tally(self.kind)
        tally.new_users += second is not None
        if second not in {None, first}:
            tally.new_user_changes[f"{first}->{second}"] += 1

    async def _ask_as(self, user: User, due: float, name: str) -> str | None:
        self._asking[name] = user
        _, version = await self.carry_out(due, name)
        return version

    def _note_version(self, user: User, version: str | None) -> None:
        if version is None:
            return
        if user.version not in {None, version}:
            self._context.ledger.tally(self.kind).changes[f"{user.version}->{version}"] += 1
        user.version = version
