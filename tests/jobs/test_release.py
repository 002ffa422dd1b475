"""The job that releases a version, over an endpoint and a registry that stand in for real ones."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.config.compose import compose
from aiplat.errors import ConfigError
from aiplat.jobs.release import main
from aiplat.jobs.release_watch import ReleaseWatch
from aiplat.jobs.serving_schema import ReleaseConfig
from aiplat.serving.config import ServingConfig
from aiplat.serving.metering.ledger import Ledger
from aiplat.serving.releases.release import ROLLED_BACK, STOPPED, SUCCEEDED
from aiplat.serving.releases.store import ReleaseStore
from aiplat.store.records import open_records, records_url
from aiplat.tasks.fields import OutputField
from tests.jobs.releases import FakeEndpoint, FakeRegistry, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = records_url(str(tmp_path), None)
    with closing(open_records(url)) as records:
        registry = FakeRegistry()
        ledger, endpoint = Ledger(records), FakeEndpoint(registry)
        made = World(tmp_path, ReleaseStore(records), ledger, endpoint, registry)
        made.store = ReleaseStore(records, clock=lambda: made.now)
        yield made


def test_a_good_candidate_becomes_what_the_endpoint_serves(world: World) -> None:
    report = world.release()
    assert report.outcome.state == SUCCEEDED
    assert [step.weight for step in report.evidence.steps] == [0.1, 0.5, 1.0]
    assert world.registry.aliases["champion"] == 2
    assert (world.endpoint.candidates, world.endpoint.removed) == (["clip:2"], 1)
    # The job that serves does it.
    assert world.endpoint.updates == []
    assert world.store.find(report.release.id).state == SUCCEEDED


def test_the_report_is_written_and_told(world: World) -> None:
    report = world.release("steps=[10,50]")
    folder = world.storage / "releases" / report.release.id
    told = json.loads((folder / "release.json").read_text())
    assert told["state"] == SUCCEEDED
    assert [step["weight"] for step in told["steps"]] == [0.1, 0.5]
    assert told["steps"][1]["candidate"]["p95_s"] == pytest.approx(0.02)
    assert (folder / "release.png").read_bytes().startswith(b"\x89PNG")
    for line in ("step 10 %", "step 50 %", "disagreement: 0.00% of", f"report: {folder}"):
        assert line in world.page


def test_a_share_that_no_key_is_in_is_passed_over_and_said(world: World) -> None:
    # The one key there is falls into the last step at least.
    world.num_keys = 1
    report = world.release("steps=[0.001,100]")
    assert report.evidence.steps[0].to_answer == 0
    assert report.outcome.state == SUCCEEDED
    assert "no key of 1 that asked is in that share" in world.page


def test_steps_that_end_before_100_move_no_alias(world: World) -> None:
    assert world.release("steps=[10]").outcome.state == SUCCEEDED
    assert world.registry.moved == []


def test_a_shadow_run_answers_nobody_and_moves_no_alias(world: World) -> None:
    report = world.release("shadow=true", "mirror=50")
    assert report.outcome.state == SUCCEEDED
    assert [(step.weight, step.mirror) for step in report.evidence.steps] == [(0, 0.5)]
    assert report.evidence.steps[0].to_answer == 0
    assert world.registry.moved == []


def test_a_bad_candidate_is_rolled_back_and_the_report_says_why(world: World) -> None:
    world.disagreeing = 3
    report = world.release()
    assert report.outcome.state == ROLLED_BACK
    assert report.outcome.reason.startswith("disagreement: 75.00% of")
    assert (world.registry.moved, world.endpoint.removed) == ([], 1)
    assert world.store.running() == []
    assert "clip: version 2 for 1, rolled back" in world.page


def test_a_slow_candidate_is_rolled_back(world: World) -> None:
    world.takes_s = 0.2
    assert world.release().outcome.reason.startswith("latency: 100.00% of")


def test_ctrl_c_rolls_back_and_writes_the_report(world: World) -> None:
    def interrupt(second: int) -> None:
        if second == 8:
            raise KeyboardInterrupt

    world.at_second = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.release()
    assert (world.store.running(), world.endpoint.removed) == ([], 1)
    (file,) = world.storage.glob("releases/*/release.json")
    told = json.loads(file.read_text())
    assert (told["state"], told["reason"]) == (ROLLED_BACK, "interrupted")


def test_requests_go_to_the_champion_before_the_candidate_goes(world: World) -> None:
    world.disagreeing = 3
    running: list[int] = []
    remove = world.endpoint.remove_candidate

    def removed(name: str) -> None:
        running.append(len(world.store.running()))
        remove(name)

    world.endpoint.remove_candidate = removed  # type: ignore[method-assign]
    report = world.release()
    assert running == [0]
    assert report.release.ended_at is not None
    assert world.now - report.release.ended_at >= 3


def test_an_endpoint_without_a_job_is_updated_by_the_release(world: World) -> None:
    world.endpoint.config = ServingConfig(detach=True)
    assert world.release("steps=[100]").outcome.state == SUCCEEDED
    assert world.endpoint.updates == [{"clip": 2, "bert": 5}]


def test_an_update_that_fails_leaves_the_champion_and_its_alias(world: World) -> None:
    world.endpoint.config = ServingConfig(follow_s=None)
    run = world.run("steps=[100]")
    world.endpoint.broken = 2
    world.endpoint.start_candidate = (  # type: ignore[method-assign]
        lambda name, found: replace(world.endpoint.describe(name), version="2")
    )
    with ReleaseWatch(run.console) as watch:
        report = run.run(watch)
    assert report.outcome == replace(
        report.outcome, state=ROLLED_BACK, reason="the weights do not fit"
    )
    assert world.endpoint.updates == [{"clip": 2, "bert": 5}, {"clip": 1, "bert": 5}]
    assert (world.registry.aliases["champion"], world.registry.moved) == (1, [2, 1])


def test_an_endpoint_that_does_not_follow_keeps_its_champion(world: World) -> None:
    world.endpoint.follows = False
    world.endpoint.config = ServingConfig(start_timeout_s=20)
    report = world.release("steps=[100]")
    assert report.outcome.state == ROLLED_BACK
    assert "still serves clip:1" in report.outcome.reason
    assert "models=[clip@champion]" in report.outcome.reason
    assert world.registry.moved == [2, 1]


def test_a_candidate_that_does_not_start_is_told(world: World) -> None:
    world.endpoint.broken = 2
    report = world.release()
    assert (report.outcome.state, report.outcome.reason) == (ROLLED_BACK, "the weights do not fit")
    assert world.store.running() == []


def test_a_bug_rolls_back_as_well_and_is_raised(world: World) -> None:
    def fail(second: int) -> None:
        if second == 8:
            raise ZeroDivisionError("by zero")

    world.at_second = fail
    with pytest.raises(ZeroDivisionError):
        world.release()
    assert (world.store.running(), world.endpoint.removed) == ([], 1)


def test_a_candidate_that_answers_other_things_is_refused(world: World) -> None:
    world.endpoint.outputs = (OutputField("price", "number"),)
    report = world.release()
    assert report.outcome.reason.startswith("clip:2 has other outputs than clip:1")


def test_an_endpoint_that_was_given_another_version_ends_the_release(world: World) -> None:
    def redeploy(second: int) -> None:
        if second == 7:
            world.registry.aliases["champion"] = 9

    world.at_second = redeploy
    report = world.release()
    assert report.outcome.state == STOPPED
    assert report.outcome.reason == "the endpoint was given version 9 of clip meanwhile"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("candidate=1", "clip:1, which the endpoint serves already"),
        ("candidate=bert:5", "is bert:5, expected a version of clip"),
        ("model=photos", "serves no model 'photos' (it serves: clip, bert)"),
    ],
)
def test_what_cannot_be_released_is_refused(world: World, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        world.run(override)
    assert said in str(refused.value)


def test_an_alias_that_the_endpoint_does_not_serve_is_refused(world: World) -> None:
    world.registry.aliases["champion"] = 7
    with pytest.raises(ConfigError, match="champion points to clip:7, and the endpoint serves"):
        world.run()
    world.run("steps=[10]")
    world.registry.aliases["live"] = 1
    assert world.run("model=clip@live").config.alias == "live"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("challenger", "clip@challenger"),
        ("4", "clip:4"),
        ("clip:4", "clip:4"),
        ("clip@next", "clip@next"),
    ],
)
def test_a_candidate_is_named_as_people_do(given: str, meant: str) -> None:
    config = compose("release", ReleaseConfig, ["model=clip", f"candidate={given}"])
    assert config.candidate_reference == meant


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps=[]", "steps is [], expected percents that rise"),
        ("steps=[10,5]", "expected percents that rise"),
        ("steps=[10,200]", "expected percents that rise"),
        ("mirror=101", "mirror is 101.0, expected 0 to 100"),
        ("max_error_share=2", "max_error_share is 2.0, expected 0 to 1"),
        ("min_requests=0", "min_requests is 0, expected at least 1"),
        ("alpha=0", "alpha is 0.0, expected between 0 and 1"),
        ("timeout_s=1", "timeout_s is 1.0, expected at least step_s (60.0)"),
        ("model=clip:3", "leave the version out"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert status(main, "release", ReleaseConfig, ["clip", override]) == 2
    assert said in capsys.readouterr().err


def test_a_shadow_without_anything_to_compare_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status(main, "release", ReleaseConfig, ["clip", "shadow=true", "mirror=0"]) == 2
    assert "mirror is 0" in capsys.readouterr().err


def test_a_version_that_is_not_registered_is_told_before_a_cluster_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(main, "release", ReleaseConfig, ["clip", f"storage={tmp_path}"]) == 2
    assert "there is no model registry at" in capsys.readouterr().err
