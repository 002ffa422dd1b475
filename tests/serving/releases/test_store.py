from dataclasses import replace

import pytest

from aiplat.errors import ConfigError
from aiplat.serving.metering.ledger import Ledger, comparison_line, usage_line
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.release import ROLLED_BACK, RUNNING, SUCCEEDED, Release
from aiplat.serving.releases.store import ReleaseStore
from aiplat.store.records import Records

NEW = Release("sizes", "1", "2", "key", weight=0.5, mirror=0.5)


def test_a_release_begins_without_weight_and_is_kept_as_it_goes(records: Records) -> None:
    store = ReleaseStore(records, clock=lambda: 1000.0)
    begun = store.begin(NEW)
    assert store.running() == [begun]
    assert (begun.weight, begun.mirror, begun.began_at, begun.state) == (0, 0, 1000, RUNNING)
    assert store.divide(begun.id, 0.1, 0.2)
    assert store.running() == [replace(begun, weight=0.1, mirror=0.2)]
    assert store.end(begun.id, SUCCEEDED, "as good")
    assert store.running() == []
    ended = store.find(begun.id)
    assert (ended.state, ended.reason, ended.ended_at) == (SUCCEEDED, "as good", 1000)


def test_what_has_ended_stays_as_it_is(records: Records) -> None:
    store = ReleaseStore(records)
    begun = store.begin(NEW)
    store.end(begun.id, ROLLED_BACK, "too slow")
    before = store.find(begun.id)
    assert not store.beat(begun.id)
    assert not store.divide(begun.id, 1, 1)
    assert not store.end(begun.id, SUCCEEDED, "")
    assert store.find(begun.id) == before


def test_one_release_of_an_endpoint_runs_at_a_time(records: Records) -> None:
    now = [1000.0]
    store = ReleaseStore(records, clock=lambda: now[0])
    first = store.begin(NEW)

    def beats(seconds: float) -> None:
        now[0] += seconds
        store.beat(first.id)

    second = ReleaseStore(records, sleep=beats)
    with pytest.raises(ConfigError, match=f"a release of sizes runs already .{first.id} of"):
        second.begin(replace(NEW, id="second"))
    store.begin(replace(NEW, id="third", endpoint="colours"))
    assert {release.endpoint for release in store.running()} == {"sizes", "colours"}


def test_of_two_that_begin_at_once_one_is_refused(records: Records) -> None:
    store = ReleaseStore(records)
    # Neither has seen the other when it looks.
    store._of = lambda endpoint: []  # type: ignore[method-assign]
    store.begin(NEW)
    with pytest.raises(ConfigError, match="runs already"):
        store.begin(replace(NEW, id="second"))


def test_a_release_whose_job_was_killed_makes_way(records: Records) -> None:
    store = ReleaseStore(records, sleep=lambda _: None)
    dead = store.begin(NEW)
    new = store.begin(replace(NEW, id="new"))
    assert store.running() == [new]
    assert store.find(dead.id).reason == "its job ended without a word"


def test_requests_and_comparisons_of_the_release_alone_are_read(records: Records) -> None:
    store, ledger = ReleaseStore(records), Ledger(records)
    begun = store.begin(NEW)
    usage = [
        UsageRecord("sizes", "a", at=5.0, key="k", version="1", status=200, total_s=0.1),
        UsageRecord("sizes", "b", at=6.0, key="k", version="2", status=500, total_s=0.2),
        UsageRecord("sizes", "c", at=6.0, version="7"),
        UsageRecord("colours", "d", at=6.0, version="1"),
        UsageRecord("sizes", "e", at=1.0, version="1"),
    ]
    ours = Comparison("a", begun.id, "sizes", "1", 4, True, 1, 0.5, 0.1, 0.2, 0.3, "", 5.0)
    other = replace(ours, prediction_id="b", release="other")
    ledger.take([*map(usage_line, usage), *map(comparison_line, [ours, ours, other])])
    ledger.take([comparison_line(ours)])
    assert {(each.prediction_id, each.status) for each in store.answered(begun, 2.0)} == {
        ("a", 200),
        ("b", 500),
    }
    assert store.compared(begun, 2.0) == [ours]
    assert ledger.mirrored_s(5.0, 6.0) == pytest.approx(0.6)
    assert ledger.mirrored_s(6.0, 9.0) == 0
