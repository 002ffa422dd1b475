import io
from dataclasses import dataclass, field

from rich.console import Console

from aiplat.errors import ClusterError, RegistryError
from aiplat.jobs.serve_follow import Follower, Models
from aiplat.registry.versions import ModelVersion


def version(number: int, name: str = "clip") -> ModelVersion:
    return ModelVersion(name, number, ("champion",), "", "", "", "data@1", "")


def models(clip: int, bert: int = 1) -> Models:
    return {"clip": version(clip), "bert": version(bert, "bert")}


@dataclass
class Scene:
    """A registry whose aliases point somewhere, and a cluster that cannot serve some versions."""

    pointed: Models = field(default_factory=lambda: models(1))
    broken: int = 0
    is_away: bool = False
    deployed: list[Models] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.console = Console(file=io.StringIO(), soft_wrap=True)
        self.follower = Follower(self.console, self.resolve, self.deploy, models(1))

    def resolve(self) -> Models:
        if self.is_away:
            raise RegistryError("the registry does not answer")
        return self.pointed

    def deploy(self, wanted: Models) -> None:
        self.deployed.append(wanted)
        if wanted["clip"].version == self.broken:
            raise ClusterError("the models cannot be served: [weights] do not fit")

    def told(self) -> str:
        file = self.console.file
        assert isinstance(file, io.StringIO)
        return file.getvalue()


def test_a_version_is_deployed_once_its_alias_has_moved() -> None:
    scene = Scene()
    scene.follower.look()
    assert scene.deployed == []
    scene.pointed = models(2)
    scene.follower.look()
    scene.follower.look()
    assert scene.deployed == [models(2)]
    assert "An alias has moved: clip:1 -> clip:2" in scene.told()
    assert "Serving clip:2, bert:1." in scene.told()


def test_a_version_that_cannot_be_served_leaves_the_one_before_and_is_tried_once() -> None:
    scene = Scene(broken=2)
    scene.pointed = models(2)
    for _ in range(3):
        scene.follower.look()
    assert scene.deployed == [models(2), models(1)]
    assert "[weights] do not fit" in scene.told()
    assert "Still serving clip:1, bert:1." in scene.told()
    scene.pointed = models(3)
    scene.follower.look()
    assert scene.deployed[-1] == models(3)


def test_a_registry_that_is_away_changes_nothing_and_is_told_once() -> None:
    scene = Scene(is_away=True)
    for _ in range(3):
        scene.follower.look()
    assert scene.deployed == []
    assert scene.told().count("the registry does not answer") == 1
    scene.is_away, scene.pointed = False, models(2)
    scene.follower.look()
    assert scene.deployed == [models(2)]
