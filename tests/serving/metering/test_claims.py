from aiplat.serving.metering.claims import Claims


class Scene:
    """Claims under a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.unclaimed: list[float] = []
        self.claims = Claims(self.unclaimed.append, lambda: self.now)


def test_an_answer_whose_request_was_given_up_is_unclaimed_once() -> None:
    scene = Scene()
    for number, request in enumerate("abc"):
        scene.claims.answered(request, float(number))
    scene.claims.left(["b", "unknown"])
    scene.claims.left(["b"])
    assert scene.unclaimed == [1.0]


def test_an_answer_after_its_request_was_given_up_is_unclaimed() -> None:
    scene = Scene()
    scene.claims.left(["a"])
    scene.claims.answered("b", 0.25)
    scene.claims.answered("a", 0.5)
    assert scene.unclaimed == [0.5]


def test_what_is_old_is_forgotten() -> None:
    scene = Scene()
    scene.claims.answered("old", 1.0)
    scene.claims.left(["long gone"])
    scene.now = 200.0
    scene.claims.answered("young", 0.5)
    scene.now = 301.0
    scene.claims.answered("new", 0.25)
    scene.claims.left(["newer"])
    scene.claims.left(["old", "young"])
    scene.claims.answered("long gone", 2.0)
    assert scene.unclaimed == [0.5]
