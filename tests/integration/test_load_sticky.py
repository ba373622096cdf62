from __future__ import annotations

import itertools

from load_servers import Behaviour, Exchange, http_server

from hitless.adapters.clock import SystemClock
from hitless.testing.load import Kind, KindReport, Load, LoadPlan, StickySpec


async def load_against(behaviour: Behaviour, *, users: int = 10, new_user_every: int = 10) -> KindReport:
    async with http_server(behaviour) as target:
        spec = StickySpec(rate_rps=200, connections=4, users=users, new_user_every=new_user_every)
        plan = LoadPlan(target=target, kinds={Kind.STICKY: spec}, duration_s=0.5)
        async with Load(plan, clock=SystemClock()) as load:
            await load.run_out()
            return (await load.finish()).kinds[Kind.STICKY]


class Shop:
    """Gives a cookie to whoever has none; `version_of(user, visit)` answers."""

    def __init__(self, version_of: dict[int, str] | None = None, *, second_visit: str = "v1") -> None:
        self._names = itertools.count(1)
        self._visits: dict[str, int] = {}
        self._version_of = version_of or {}
        self._second_visit = second_visit

    async def __call__(self, exchange: Exchange) -> None:
        user = exchange.headers.get("cookie", "")
        cookie = () if user else (f"set-cookie: hitless=user{next(self._names)}; Path=/; HttpOnly",)
        user = user or cookie[0].split(": ")[1].split(";")[0]
        visit = self._visits[user] = self._visits.get(user, 0) + 1
        version = self._second_visit if visit == 2 else self._version_of.get(visit, "v1")
        content = exchange.id.encode()
        head = [f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\nx-version: {version}\r\n", *cookie]
        exchange.writer.write("".join(head).encode() + (b"\r\n\r\n" if cookie else b"\r\n") + content)

    @property
    def users(self) -> int:
        return len(self._visits)


async def test_users_that_keep_their_cookie_and_version_give_no_changes() -> None:
    shop = Shop()
    found = await load_against(shop)
    assert found.failures == 0
    assert (found.changes, found.new_user_changes) == ({}, {})
    assert found.new_users == 10
    assert shop.users == 10 + 10  # regulars and new ones, each recognised by its cookie ever after


async def test_every_change_of_a_users_version_is_counted_with_its_direction() -> None:
    found = await load_against(Shop({3: "v2", 4: "v2"}), new_user_every=1000)
    # each of ten users: v1, v1, v2, v2, v1 ...
    assert found.changes == {"v1->v2": 10, "v2->v1": 10}


async def test_a_brand_new_user_whose_second_answer_comes_from_another_version_is_counted() -> None:
    found = await load_against(Shop(second_visit="v2"), users=1000, new_user_every=5)
    assert found.new_users == 20
    assert found.new_user_changes == {"v1->v2": 20}
    assert found.changes == {}
