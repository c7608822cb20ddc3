"""The guests' secret: one for all servers, also where the store is away at the start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from embedded.store import EmbeddedStore
from memory.errors import Unavailable
from server.identity.guest_secrets import FILE, GuestSecrets, SecretsUnusable


class Shared:
    """A store that may be away."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.away = False
        self._store = store

    async def secret(self, name: str, *, offered: str | None = None) -> str:
        if self.away:
            raise Unavailable
        return await self._store.secret(name, offered=offered)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Shared]:
    store = EmbeddedStore(tmp_path / "store.db")
    await store.connect()
    yield Shared(store)
    await store.close()


async def loaded(store: Shared, folder: Path) -> GuestSecrets:
    secrets = GuestSecrets(store, folder)
    await secrets.load()
    return secrets


async def test_servers_of_different_hosts_have_the_same(store: Shared, tmp_path: Path) -> None:
    one = await loaded(store, tmp_path / "one")
    other = await loaded(store, tmp_path / "other")
    assert one.current == other.current
    assert len(one.current) == 1


async def test_it_is_known_without_the_store_where_it_was_seen_before(
    store: Shared, tmp_path: Path
) -> None:
    before = await loaded(store, tmp_path / "one")
    store.away = True
    again = await loaded(store, tmp_path / "one")
    assert again.current == before.current
    assert not again.settled


async def test_one_of_its_own_becomes_everybodys_when_the_store_has_none(
    store: Shared, tmp_path: Path
) -> None:
    store.away = True
    own = await loaded(store, tmp_path / "one")
    assert await loaded_again(own) == []
    store.away = False
    assert await loaded_again(own) == []  # it stays what it is
    assert own.settled
    assert (await loaded(store, tmp_path / "other")).current == own.current


async def test_where_another_was_first_both_are_known_and_the_shared_one_signs(
    store: Shared, tmp_path: Path
) -> None:
    store.away = True
    own = await loaded(store, tmp_path / "one")
    [made] = own.current
    store.away = False
    [shared] = (await loaded(store, tmp_path / "other")).current
    assert await loaded_again(own) == [[shared, made]]
    store.away = True
    assert (await loaded(store, tmp_path / "one")).current == [shared, made]


async def loaded_again(secrets: GuestSecrets) -> list[Sequence[str]]:
    changes: list[Sequence[str]] = []
    await secrets.settle(changes.append)
    return changes


async def test_an_empty_file_is_no_secret(store: Shared, tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    store.away = True
    assert len((await loaded(store, tmp_path)).current) == 1
    assert (tmp_path / FILE).stat().st_size > 30


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"short", b"a " * 20])
async def test_junk_in_the_file_is_named_and_left_there(
    store: Shared, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SecretsUnusable, match=FILE):
        await loaded(store, tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


async def test_a_folder_in_its_place_is_named(store: Shared, tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(SecretsUnusable, match=FILE):
        await loaded(store, tmp_path)


async def test_nobody_else_may_read_it(store: Shared, tmp_path: Path) -> None:
    await loaded(store, tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
