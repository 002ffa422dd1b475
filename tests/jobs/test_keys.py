import re
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.keys import main
from aiplat.jobs.schema import KeysConfig
from aiplat.serving.keys.key import ApiKey
from aiplat.serving.keys.store import KeyStore
from aiplat.store.records import open_records, records_url

KEY = re.compile(r"aip_([a-z][a-z0-9]{9})_[0-9a-f]{64}")


class Keys:
    """The job over one storage."""

    def __init__(self, storage: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.storage, self.capsys = storage, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What the job printed."""
        given = [*arguments, f"storage={self.storage}"]
        ended = status(main, "keys", KeysConfig, given)
        told = self.capsys.readouterr()
        assert ended == code, told.err
        assert "Traceback" not in told.err
        return told.out if code == 0 else told.err

    def kept(self) -> list[ApiKey]:
        records = open_records(records_url(self.storage, None))
        try:
            return list(KeyStore(records).listed())
        finally:
            records.close()


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(str(tmp_path / "storage"), capsys)


def test_a_key_is_made_as_asked_and_shown_once(keys: Keys) -> None:
    asked = "create owner=acme scopes=[clip] rate=10 burst=20 quota=100000 expires=90d"
    told = keys(*asked.split(), "cidrs=[10.0.0.0/8,2001:db8::/32]")
    shown = KEY.search(told)
    assert shown is not None
    assert "It is not shown again" in told
    (key,) = keys.kept()
    assert (key.prefix, key.principal, key.rights.scopes) == (shown[1], "acme", ("clip",))
    assert (key.rights.rate, key.rights.burst, key.rights.quota) == (10, 20, 100_000)
    assert key.expires_at == pytest.approx(key.created_at + 90 * 86400, abs=5)
    listed = keys("list")
    assert shown[1] in listed
    assert KEY.search(listed) is None
    (line,) = (line for line in listed.splitlines() if shown[1] in line)
    for part in ("acme", "active", "clip", "0 of 100000", "10.0.0.0/8, 2001:db8::/32"):
        assert part in line


def test_a_script_gets_the_key_alone(keys: Keys) -> None:
    assert KEY.fullmatch(keys("create", "owner=acme", "quiet=true").strip())


def test_the_word_may_be_written_as_a_key_and_without_one_keys_are_listed(keys: Keys) -> None:
    keys("action=create", "owner=acme")
    keys("create", "owner=others")
    assert {"acme", "others"} <= set(keys().split())
    mine = keys("owner=acme").split()
    assert "acme" in mine
    assert "others" not in mine


def test_a_key_is_rotated_and_revoked_by_its_prefix_or_the_whole_of_it(keys: Keys) -> None:
    old = keys("create", "owner=acme", "rate=3", "quiet=true").strip()
    new = keys("rotate", f"key={old}", "quiet=true").strip()
    assert KEY.fullmatch(new)
    before, after = keys.kept()
    assert before.rights == after.rights
    assert before.expires_at == pytest.approx(after.created_at + 3600, abs=5)
    prefix = new.split("_")[1]
    assert f"Key {prefix} of acme is revoked" in keys("revoke", f"key={prefix}")
    assert [key.revoked_at is None for key in keys.kept()] == [True, False]
    assert "revoked" in keys("list")


def test_without_grace_a_rotated_key_ends_at_once(keys: Keys) -> None:
    old = keys("create", "owner=acme", "quiet=true").strip()
    keys("rotate", f"key={old.split('_')[1]}", "grace=0s")
    before, after = keys.kept()
    assert before.expires_at == pytest.approx(after.created_at, abs=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["creat", "owner=acme"], "expected one of create, list, revoke, rotate, got 'creat'"),
        (["create"], "create needs owner=<name>"),
        (["owner=acme", "rate=3"], "rate is nothing that 'list' takes"),
        (["revoke"], "revoke needs key=<prefix>"),
        (["revoke", "key=k3v0q9x2ab", "grace=2h"], "grace is nothing that 'revoke' takes"),
        (["revoke", "key=k3v0q9x2ab"], "there is no key k3v0q9x2ab ('keys list'"),
        (["revoke", "key=12"], "key is '12', which is no key's prefix"),
        (["rotate", "key=k3v0q9x2ab", "grace=soon"], "'soon' is no duration"),
        (["create", "owner=a", "expires=90"], "'90' is no time; expected a duration as in 90d"),
        (["create", "owner=a", "expires=2020-01-01"], "expected a time to come"),
        (["create", "owner=a", "cidrs=[10.0.0.1/8]"], "write 10.0.0.0/8"),
        (["create", "owner=a", "rate=-1"], "rate is -1.0, expected more than 0"),
        (["create", "owner=a", "scopes=[a/b]"], "a model's name has letters"),
        (["create", "owner=a", "records=mysql://me:pw@db/x"], "records=mysql://...db/x is no"),
    ],
)
def test_what_cannot_be_done_is_told(keys: Keys, arguments: list[str], said: str) -> None:
    told = keys(*arguments, code=2)
    assert said in told
    assert "pw" not in told


def test_a_key_that_was_pasted_badly_is_not_shown_whole(keys: Keys) -> None:
    secret = "0123456789abcdef" * 4
    assert secret[:16] not in keys("revoke", f"key=aip-x_{secret}", code=2)


def test_the_configuration_is_printed_without_the_password_of_the_database(keys: Keys) -> None:
    told = keys("list", "records=postgresql://me:pa55@db/keys", "--cfg", "job")
    assert "pa55" not in told
    assert "postgresql://me:(hidden)@db/keys" in told


def test_help_tells_the_words(keys: Keys) -> None:
    told = keys("--help")
    assert "python -m aiplat.jobs.keys [create | list | revoke | rotate] [key=value ...]" in told
    assert "cidrs = []  (a list)" in told
