"""Who gets which version: shares, users that stay where they are, testers that choose."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from envoy_stage import serving, table

from hitless.rollout.spec import Address, OverrideSpec

USERS = 2_000
CONNECTIONS = 8


async def _ask_all(address: Address, requests: Sequence[Mapping[str, str]]) -> list[tuple[str, str | None]]:
    """Send one GET per set of headers over a few kept-alive connections; return each one's version and new cookie."""
    answers: list[tuple[str, str | None]] = [("", None)] * len(requests)

    async def worker(first: int) -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        for index in range(first, len(requests), CONNECTIONS):
            lines = "".join(f"{name}: {value}\r\n" for name, value in requests[index].items())
            writer.write(f"GET / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200"), head
            length = re.search(r"content-length: (\d+)", head)
            cookie = re.search(r"set-cookie: uid=([^;]+); Path=/; Max-Age=86400; HttpOnly; SameSite=Lax\r", head)
            assert length is not None
            version = (await reader.readexactly(int(length[1]))).decode().split()[0]
            answers[index] = (version, cookie[1] if cookie else None)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(worker(first) for first in range(CONNECTIONS)))
    return answers


def _z(hits: int, of: int, share_bp: int) -> float:
    """How many standard deviations a binomial count is away from its expectation."""
    share = share_bp / 10_000
    return (hits - of * share) / math.sqrt(of * share * (1 - share))


async def test_users_keep_their_version_and_only_move_to_the_new_one_while_it_widens(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2", sticky_cookie="uid") as (built, listen, (v1, v2)):
        await built.must_apply(table({"v2": 100, "v1": 9_900}, [v2, v1], salt="r1"))
        first = await _ask_all(listen, [{}] * USERS)
        cookies = [cookie for _, cookie in first]
        assert None not in cookies
        assert len(set(cookies)) == USERS
        users = [{"cookie": f"a=b; uid={cookie}; c=d"} for cookie in cookies]
        before = [version for version, _ in first]
        for share_bp in (100, 500, 2_500, 5_000, 10_000):
            await built.must_apply(table({"v2": share_bp, "v1": 10_000 - share_bp}, [v2, v1], salt="r1"))
            answers = await _ask_all(listen, users)
            versions = [version for version, _ in answers]
            assert [cookie for _, cookie in answers] == [None] * USERS
            if share_bp == 100:
                assert versions == before, "the second request of a brand-new user met another version"
            assert ("v2", "v1") not in set(zip(before, versions, strict=True))
            if share_bp < 10_000:
                assert abs(_z(versions.count("v2"), USERS, share_bp)) <= 4
            before = versions
        assert set(before) == {"v2"}


async def test_shares_of_requests_are_exact_at_1_and_25_percent(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2") as (built, listen, (v1, v2)):
        for share_bp in (100, 2_500):
            await built.must_apply(table({"v2": share_bp, "v1": 10_000 - share_bp}, [v2, v1]))
            versions = [version for version, _ in await _ask_all(listen, [{}] * 3_000)]
            assert abs(_z(versions.count("v2"), 3_000, share_bp)) <= 4


async def test_another_salt_puts_other_users_first(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2", sticky_cookie="uid") as (built, listen, (v1, v2)):
        users = [{"cookie": f"uid={number}"} for number in range(400)]
        chosen = []
        for salt in ("one", "two"):
            await built.must_apply(table({"v2": 2_500, "v1": 7_500}, [v2, v1], salt=salt))
            answers = await _ask_all(listen, users)
            chosen.append({number for number, (version, _) in enumerate(answers) if version == "v2"})
        assert len(chosen[0] & chosen[1]) < 60  # 25 expected of independent draws, 100 of equal ones


async def test_a_client_cannot_choose_its_version_by_a_request_id(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1", "v2", sticky_cookie="uid") as (built, listen, (v1, v2)):
        await built.must_apply(table({"v2": 5_000, "v1": 5_000}, [v2, v1]))
        answers = await _ask_all(listen, [{"x-request-id": "mine"}] * 100)
        assert {version for version, _ in answers} == {"v1", "v2"}
        assert "mine" not in {cookie for _, cookie in answers}
        assert "mine" not in {value for upstream in (v1, v2) for value in upstream.last_headers.values()}


async def test_testers_reach_a_version_without_weight_and_only_with_the_token(tmp_path: Path) -> None:
    override = OverrideSpec(header="x-version", token="let-me-in")
    async with serving(tmp_path, "v1", "v2", override=override, sticky_cookie="uid") as (built, listen, (v1, v2)):
        await built.must_apply(table({"v1": 10_000}, [v2, v1]))
        right, wrong = {"x-version-token": "let-me-in"}, {"x-version-token": "guess"}
        asked = [
            {"x-version": "v2", **right},
            {"x-version": "v2", **wrong},
            {"x-version": "v2"},
            {"x-version": "v9", **right},
            right,
        ]
        assert [version for version, _ in await _ask_all(listen, asked)] == ["v2", "v1", "v1", "v1", "v1"]
        for upstream in (v1, v2):
            assert not [name for name in upstream.last_headers if name.lower().startswith("x-version")]
        await built.must_apply(table({"v1": 10_000}, [v2, v1], draining=[v2]))
        assert [version for version, _ in await _ask_all(listen, asked[:1])] == ["v1"]
