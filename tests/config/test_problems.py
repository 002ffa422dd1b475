from aiplat.config.problems import join, nearest, suggestion


def test_the_nearest_choice_is_one_that_is_alike() -> None:
    assert nearest("max_epoch", ["max_steps", "max_epochs"]) == "max_epochs"
    assert nearest("zzz", ["max_epochs"]) is None


def test_a_suggestion_names_the_nearest_and_all() -> None:
    assert suggestion("clp", ["clip", "bert"]) == "did you mean 'clip'? (there are: bert, clip)"
    assert suggestion("clp", ["bert"]) == "(there are: bert)"
    assert suggestion("clp", []) == "(there are none)"


def test_paths_are_joined_with_dots() -> None:
    assert (join("", "loop"), join("loop", "max_epochs")) == ("loop", "loop.max_epochs")
