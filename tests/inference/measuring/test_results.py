from aiplat.inference.config import ParityConfig
from aiplat.inference.measuring.results import (
    REFERENCE,
    Arm,
    Parity,
    Point,
    Result,
    chosen,
    hopeless,
    judged,
    speedup,
    why_none,
)

GOOD = Parity(0.0, 0.9, 0.9, ())
FAR = Parity(0.4, 0.5, 0.9, ("answers differ by 0.4",))


def result(engine: str, times: dict[int, float], parity: Parity = GOOD) -> Result:
    """An arm whose passes all take so many milliseconds, by batch size."""
    points = tuple(Point(size, (taken,) * 10) for size, taken in times.items())
    return Result(Arm(engine, "fp32"), parity=parity, points=points)


EAGER = result("eager", {1: 40.0, 8: 200.0})
QUICK = result("openvino", {1: 10.0, 8: 60.0})
WRONG = result("onnxruntime", {1: 1.0, 8: 2.0}, FAR)
BROKEN = Result(Arm("tvm", "fp32"), reason="its process died")


def called(results: list[Result], p99_ms: float | None) -> tuple[str, int] | None:
    """The engine and the batch size that are chosen."""
    best = chosen(results, p99_ms)
    return None if best is None else (best.result.arm.engine, best.point.batch_size)


def test_the_quickest_in_parity_is_chosen_with_its_batch_size() -> None:
    everything = [EAGER, QUICK, WRONG, BROKEN]
    assert called(everything, None) == ("openvino", 8)
    assert called(everything, 60.0) == ("openvino", 8)
    assert called(everything, 59.0) == ("openvino", 1)


def test_torch_is_chosen_where_nothing_is_quicker() -> None:
    assert called([EAGER, WRONG, BROKEN], 50.0) == ("eager", 1)


def test_none_is_chosen_where_none_keeps_the_promise_and_the_nearest_is_named() -> None:
    assert called([EAGER, QUICK, WRONG], 5.0) is None
    said = why_none([EAGER, QUICK, WRONG], 5.0)
    assert "openvino fp32 at batch size 1 with 10.0 ms" in said
    assert "slo.p99_ms=5" in said
    assert "no engine gave answers in parity" in why_none([WRONG, BROKEN], 5.0)


def test_one_slow_pass_in_fifty_breaks_a_promise_and_one_in_a_thousand_does_not() -> None:
    assert Point(1, (*[1.0] * 49, 9.0)).p99_ms == 9.0
    assert Point(1, (*[1.0] * 999, 9.0)).p99_ms == 1.0


def test_a_point_is_as_quick_as_its_median_pass() -> None:
    point = Point(4, (2.0, 2.0, 100.0))
    assert (point.median_ms, point.rows_per_s) == (2.0, 2000.0)


def test_how_much_quicker_it_is_than_torch_at_the_same_batch_size() -> None:
    assert [speedup([EAGER, QUICK], point) for point in QUICK.points] == [4.0, 200 / 60]
    assert speedup([QUICK], QUICK.points[0]) is None


def test_answers_may_differ_by_what_the_precision_allows() -> None:
    config = ParityConfig(fp32=0.001, int8=0.1, metric=0.01)
    same = (0.9, 0.9)
    assert judged(Arm("openvino", "int8"), 0.05, same, 1, config).faults == ()
    [fault] = judged(Arm("openvino", "fp32"), 0.05, same, 1, config).faults
    assert fault == "answers differ by 0.05, at most 0.001 is let pass"
    assert judged(Arm("openvino", "int8"), float("nan"), same, 1, config).faults != ()


def test_a_metric_may_be_better_but_not_much_worse() -> None:
    config = ParityConfig(metric=0.01)
    found = {
        metric: judged(REFERENCE, 0.0, (metric, 0.9), 1, config).faults
        for metric in (0.95, 0.895, 0.88, float("nan"))
    }
    assert [bool(faults) for faults in found.values()] == [False, False, True, True]
    # Of a loss less is better.
    assert judged(REFERENCE, 0.0, (0.95, 0.9), -1, config).faults != ()


def test_a_result_is_plain_values() -> None:
    assert BROKEN.to_json() == {"engine": "tvm", "precision": "fp32", "reason": "its process died"}
    told = QUICK.to_json()
    assert told["points"][0] == {
        "batch_size": 1,
        "median_ms": 10.0,
        "p99_ms": 10.0,
        "rows_per_s": 100.0,
        "passes": 10,
    }
    assert WRONG.to_json()["faults"] == ["answers differ by 0.4"]


def test_an_arm_is_given_up_where_it_is_far_slower_and_would_take_long() -> None:
    told = "takes 900 ms for a row, 20 times as long as torch: given up"
    assert hopeless(900.0, 45.0, 256) == told
    # Slow, but soon done; and long, but torch takes long itself.
    assert hopeless(2.0, 0.1, 256) is None
    assert hopeless(900.0, 100.0, 256) is None
