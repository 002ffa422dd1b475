import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from aiplat.errors import ConfigError
from aiplat.serving.keys import secret
from aiplat.serving.keys.addresses import network
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.store import KeyStore
from aiplat.store.records import Records
from tests.serving.keys.conftest import Clock

LIMITED = Rights(
    scopes=("clip", "photos"),
    cidrs=(network("10.0.0.0/8"), network("2001:db8::/32")),
    rate=2.5,
    burst=20,
    quota=10_000_000_000,
)


@pytest.fixture
def both(records: Records, clock: Clock) -> KeyStore:
    """The keys of a new database of either kind."""
    return KeyStore(records, clock)


def test_a_key_comes_back_as_it_was_made_and_its_secret_does_not(
    both: KeyStore, records: Records, clock: Clock
) -> None:
    key, key_text = both.create("acme", LIMITED, expires_at=clock.now + 60)
    given = secret.parsed(key_text)
    assert given is not None
    assert (key.prefix, key.key_id) == (given.prefix, given.prefix)
    assert secret.matches(given.secret, key.secret_hash)
    assert list(both.listed()) == [key]
    assert both.exchange({}).keys == {key.prefix: key}
    with records.reading() as connection:
        (row,) = connection.execute(text("SELECT * FROM api_keys"))
    assert given.secret not in str(row)


def test_keys_are_listed_in_the_order_they_were_made(both: KeyStore, clock: Clock) -> None:
    made = []
    for owner in ("b", "a", "b"):
        clock.now += 1
        made.append(both.create(owner, Rights())[0])
    assert list(both.listed()) == made
    assert list(both.listed("b")) == [made[0], made[2]]


def test_a_revoked_key_stays_in_the_list_with_the_time_it_ended(
    both: KeyStore, clock: Clock
) -> None:
    key, _ = both.create("acme", Rights())
    clock.now += 5
    ended = clock.now
    both.revoke(key.prefix)
    clock.now += 5
    assert both.revoke(key.prefix).revoked_at == ended
    (listed,) = both.listed()
    assert (listed.revoked_at, listed.state(clock.now)) == (ended, "revoked")


def test_a_rotated_key_has_the_same_rights_and_the_old_one_ends_after_its_grace(
    both: KeyStore, clock: Clock
) -> None:
    old, old_text = both.create("acme", LIMITED, expires_at=clock.now + 1e6)
    clock.now += 1
    new, new_text = both.rotate(old.prefix, grace_s=3600)
    assert (new.rights, new.principal, new.expires_at) == (LIMITED, "acme", old.expires_at)
    assert new.key_id == old.key_id
    assert new_text != old_text
    before, after = both.listed()
    assert after == new
    assert before.expires_at == clock.now + 3600
    clock.now += 3600
    assert [key.is_usable(clock.now) for key in both.listed()] == [False, True]
    third, _ = both.rotate(new.prefix, grace_s=0)
    assert third.key_id == old.prefix


def test_a_rotation_gives_an_old_key_no_more_time_than_it_had(both: KeyStore, clock: Clock) -> None:
    old, _ = both.create("acme", Rights(), expires_at=clock.now + 10)
    both.rotate(old.prefix, grace_s=3600)
    assert {key.expires_at for key in both.listed()} == {clock.now + 10}


@pytest.mark.parametrize("end", ["revoke", "expire"])
def test_a_key_that_ended_cannot_be_rotated(store: KeyStore, clock: Clock, end: str) -> None:
    key, _ = store.create("acme", Rights(), expires_at=clock.now + 10)
    if end == "revoke":
        store.revoke(key.prefix)
    clock.now += 10
    with pytest.raises(ConfigError, match=rf"key {key.prefix} is {end}d and cannot be rotated"):
        store.rotate(key.prefix, 0)


def test_a_key_that_is_not_there_is_told_with_the_nearest(store: KeyStore) -> None:
    key, _ = store.create("acme", Rights())
    typo = key.prefix[:-1] + "0"
    with pytest.raises(ConfigError, match=f"there is no key .*{key.prefix}"):
        store.revoke(typo if typo != key.prefix else key.prefix[:-1] + "1")


@pytest.mark.parametrize("owner", ["", "  ", "a" * 256, "a\nb"])
def test_an_owner_needs_a_name(store: KeyStore, owner: str) -> None:
    with pytest.raises(ConfigError, match="name whose key it is"):
        store.create(owner, Rights())


def test_a_key_cannot_be_made_expired(store: KeyStore, clock: Clock) -> None:
    with pytest.raises(ConfigError, match="2026-11-22 15:30 UTC, expected a time to come"):
        store.create("acme", Rights(), expires_at=clock.now)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scopes": ()}, "scopes is empty"),
        ({"scopes": ("a/b",)}, "a model's name has letters"),
        ({"rate": 0.0}, "rate is 0.0, expected more than 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"burst": 3}, "burst is 3 without a rate"),
        ({"rate": 1.0, "burst": 0}, "burst is 0, expected at least 1"),
        ({"quota": 0}, "quota is 0, expected at least 1"),
    ],
)
def test_rights_that_cannot_be_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Rights(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "burst"), [(10.0, 10), (2.5, 3), (0.1, 1)])
def test_without_a_burst_a_seconds_worth_passes_at_once(rate: float, burst: int) -> None:
    assert Rights(rate=rate).full_burst == burst


def test_the_first_key_is_made_once_and_again_where_none_is_usable(
    store: KeyStore, clock: Clock
) -> None:
    first = store.create_first()
    assert first is not None
    assert store.create_first() is None
    (key,) = store.listed()
    assert (key.principal, key.rights) == ("local", Rights())
    store.revoke(key.prefix)
    assert store.create_first() is not None


def test_counts_of_replicas_add_up_by_key_and_month(both: KeyStore, clock: Clock) -> None:
    both.exchange({("a", "2026-11"): 3, ("b", "2026-11"): 1, ("a", "2026-10"): 7})
    snapshot = both.exchange({("a", "2026-11"): 2})
    assert (snapshot.month, snapshot.used) == ("2026-11", {"a": 5, "b": 1})
    clock.now += 9 * 86400
    assert both.used() == {}


def test_replicas_that_write_at_once_lose_no_count(both: KeyStore) -> None:
    start = threading.Barrier(4)

    def write(order: int) -> None:
        start.wait()
        for _ in range(25):
            names = ["a", "b"] if order % 2 else ["b", "a"]
            both.exchange({(name, "2026-11"): 1 for name in names})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert both.used() == {"a": 100, "b": 100}


def test_a_change_of_one_key_is_seen_and_the_others_are_not_built_again(store: KeyStore) -> None:
    kept, _ = store.create("acme", LIMITED)
    ended, _ = store.create("acme", LIMITED)
    before = store.exchange({}).keys
    store.revoke(ended.prefix)
    after = store.exchange({}).keys
    assert after[kept.prefix] is before[kept.prefix]
    assert after[ended.prefix].revoked_at is not None
