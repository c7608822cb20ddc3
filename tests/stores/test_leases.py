"""Leases: claiming a turn, keeping it, losing it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from memory.records import Turn
from stores.contract import Store
from tests.stores.samples import (
    LEASE,
    ME,
    OTHER,
    OVER,
    a_turn,
    an_exchange,
    claimed,
    closed,
    finished,
    inserted,
)
from tests.support.wait import wait_until


async def test_a_claimed_turn_runs_its_next_attempt_under_its_claimant(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    running = await claimed(store, turn, OTHER)
    assert running == msgspec.structs.replace(turn, status="running", attempt=1, owner=OTHER)
    assert await store.turns.get("c1", turn.id) == running


async def test_of_twenty_claimants_one_wins(two_stores: tuple[Store, Store]) -> None:
    turn = await inserted(two_stores[0], a_turn("c1"))
    claims = await asyncio.gather(
        *(two_stores[i % 2].turns.claim(turn, f"slot:{i}", lease_ms=LEASE) for i in range(20))
    )
    [winner] = [claim for claim in claims if claim is not None]
    assert winner.attempt == 1
    assert await two_stores[1].turns.get("c1", turn.id) == winner


async def test_twenty_claims_of_one_owner_give_the_turn_once(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    claims = await asyncio.gather(*(store.turns.claim(turn, ME, lease_ms=LEASE) for _ in range(20)))
    assert sum(claim is not None for claim in claims) == 1


async def test_a_turn_that_changed_since_it_was_read_is_not_claimed(store: Store) -> None:
    turn = await inserted(store, a_turn("c1"))
    running = await claimed(store, turn, OTHER, OVER)
    assert await store.turns.claim(turn, ME, lease_ms=LEASE) is None
    for stale in (
        msgspec.structs.replace(running, attempt=2),
        msgspec.structs.replace(running, owner=ME),
    ):
        assert await store.turns.claim(stale, ME, lease_ms=LEASE) is None
    assert await store.turns.get("c1", turn.id) == running


async def test_a_running_turn_is_claimed_only_when_its_lease_is_over(store: Store) -> None:
    held = await inserted(store, a_turn("c1", status="running"))
    assert await store.turns.claim(held, OTHER, lease_ms=LEASE) is None
    lost = await inserted(store, a_turn("c2", status="running"), OVER)
    assert (await claimed(store, lost, OTHER)).attempt == 2


async def test_only_the_earliest_open_turn_is_claimed(store: Store) -> None:
    first = await inserted(store, a_turn("c1", 1))
    second = await inserted(store, a_turn("c1", 2))
    assert await store.turns.claim(second, ME, lease_ms=LEASE) is None
    ended = await finished(store, await claimed(store, first))
    # Ended, but its end is not on the feed yet.
    assert await store.turns.claim(second, ME, lease_ms=LEASE) is None
    await closed(store, ended)
    assert (await claimed(store, second)).status == "running"


async def test_no_turn_is_claimed_beside_a_running_one(store: Store) -> None:
    # The running one has the greater number, as after an insert that raced a claim.
    first = await inserted(store, a_turn("c1", 1))
    await inserted(store, a_turn("c1", 2, status="running"))
    assert await store.turns.claim(first, ME, lease_ms=LEASE) is None


async def test_an_ended_turn_is_not_claimed(store: Store) -> None:
    ended = await finished(store, await inserted(store, a_turn("c1", status="running"), OVER))
    assert await store.turns.claim(ended, ME, lease_ms=LEASE) is None


async def test_a_lease_ends_by_itself_and_a_renewal_begins_it_anew(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), 200)
    other = await inserted(store, a_turn("c2", status="running"), 200)
    assert await store.turns.renew([turn.id], ME, lease_ms=LEASE) == {turn.id: False}
    assert await store.turns.adrift(10) == []
    await wait_until(lambda: store.turns.adrift(10), "the lease that nobody renewed is over")
    assert await store.turns.adrift(10) == [other]


async def test_a_renewal_tells_what_is_still_held_and_where_a_stop_was_requested(
    store: Store,
) -> None:
    held = await inserted(store, a_turn("c1", status="running"))
    stopped = await inserted(store, a_turn("c2", status="running"))
    waiting = await inserted(store, a_turn("c2", 2))
    ended = await finished(store, await inserted(store, a_turn("c3", status="running")))
    done = await an_exchange(store, "c4", 1)
    stolen = await inserted(store, a_turn("c5", status="running"), OVER)
    await claimed(store, stolen, OTHER)
    await store.turns.request_stop("c2", stopped.id)

    ids = [turn.id for turn in (held, stopped, waiting, ended, done, stolen)] + ["unknown"]
    assert await store.turns.renew(ids, ME, lease_ms=LEASE) == {
        held.id: False,
        stopped.id: True,
        waiting.id: False,
        ended.id: False,
    }
    assert await store.turns.renew([], ME, lease_ms=LEASE) == {}


async def test_a_renewal_touches_only_the_turns_it_names(store: Store) -> None:
    # By owner alone, a zombie's other leases would live on.
    unnamed = await inserted(store, a_turn("c1", status="running"), OVER)
    named = await inserted(store, a_turn("c2", status="running"), OVER)
    await store.turns.renew([named.id], ME, lease_ms=LEASE)
    assert await store.turns.adrift(10) == [unnamed]


async def test_an_owner_may_renew_a_lease_that_ended_while_nobody_took_it(store: Store) -> None:
    turn = await inserted(store, a_turn("c1", status="running"), OVER)
    assert await store.turns.renew([turn.id], ME, lease_ms=LEASE) == {turn.id: False}
    assert await store.turns.adrift(10) == []


async def test_releasing_a_slot_ends_the_leases_of_all_its_lives_and_no_others(
    store: Store,
) -> None:
    owners = ["slot-1", "slot-1:boot-1", "slot-1:boot-2", "slot-10:boot-1", "slot-2:boot-1"]
    for i, owner in enumerate(owners):
        await inserted(store, a_turn(f"c{i}", owner=owner))
    assert await store.turns.release("slot-1") == 3
    adrift = await store.turns.adrift(10)
    assert sorted(str(turn.owner) for turn in adrift) == owners[:3]
    assert await store.turns.release("slot-1") == 0


async def test_releasing_an_owner_ends_waiting_running_and_unclosed_turns(store: Store) -> None:
    await inserted(store, a_turn("c1"))
    await inserted(store, a_turn("c2", status="running"))
    await finished(store, await inserted(store, a_turn("c3", status="running")))
    await an_exchange(store, "c4", 1)
    assert await store.turns.release(ME) == 3
    statuses = [turn.status for turn in await store.turns.adrift(10)]
    assert sorted(statuses) == ["completed", "queued", "running"]


async def test_adrift_are_the_earliest_open_turns_whose_lease_is_over(store: Store) -> None:
    queued = await inserted(store, a_turn("c1", 1), OVER)
    await inserted(store, a_turn("c1", 2), OVER)
    # An owner that lives is before it: this conversation needs nobody.
    await inserted(store, a_turn("c2", 1, status="running"), LEASE)
    await inserted(store, a_turn("c2", 2), OVER)
    running = await inserted(store, a_turn("c3", 1, status="running"), OVER)
    ended = await finished(store, await inserted(store, a_turn("c4", status="running"), OVER))
    await an_exchange(store, "c5", 1)

    def key(turn: Turn) -> str:
        return turn.conversation_id

    assert sorted(await store.turns.adrift(10), key=key) == [queued, running, ended]
    assert len(await store.turns.adrift(2)) == 2


async def test_turns_that_wait_behind_a_living_one_leave_room_for_what_is_adrift(
    store: Store,
) -> None:
    await inserted(store, a_turn("c1", 1, status="running"), LEASE)
    for n in range(2, 12):
        await inserted(store, a_turn("c1", n), OVER)
    lost = await inserted(store, a_turn("c2"), OVER)
    assert await store.turns.adrift(1) == [lost]


@pytest.mark.parametrize("owner", ["$slot:1", "a.b:1", "ключ:1"])
async def test_an_owner_may_have_any_name(store: Store, owner: str) -> None:
    turn = await inserted(store, a_turn("c1"))
    assert (await claimed(store, turn, owner)).owner == owner
    assert await store.turns.release(owner.removesuffix(":1")) == 1
