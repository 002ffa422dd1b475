"""Grafana asks for metrics that there are."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy/compose/grafana"
DASHBOARD = json.loads((GRAFANA / "aiplat.json").read_text())
SUFFIXES = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}


def ours() -> dict[str, list[str]]:
    """What Prometheus calls each metric of aiplat's, by the name it has in the code."""
    tree = ast.parse((ROOT / "aiplat/cluster/metrics.py").read_text())
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for suffix in SUFFIXES.get(node.func.id, []):
                name = ast.literal_eval(node.args[0])
                found.setdefault(name, []).append(f"ray_{name}{suffix}")
    return found


def rays() -> set[str]:
    """The metrics that the dashboards ask for that Ray itself ships."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "dashboard/modules/metrics/dashboards"
    texts = [file.read_text() for file in folder.glob("*_panels.py")]
    assert texts
    return {name for text in texts for name in re.findall(r"\bray_\w+", text)}


def asked() -> set[str]:
    targets = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    without_labels = [re.sub(r"by \([^)]*\)", "", target["expr"]) for target in targets]
    return {name for expression in without_labels for name in re.findall(r"ray_\w+", expression)}


def test_every_metric_is_one_that_is_told() -> None:
    known = {name for names in ours().values() for name in names} | rays()
    assert len(asked()) > 10
    assert asked() - known == set()


def test_every_metric_of_ours_is_shown() -> None:
    assert len(ours()) >= 9
    assert [name for name, told in ours().items() if not set(told) & asked()] == []


def test_every_metric_of_ours_is_told_in_the_guide() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs/guide").glob("*.md"))
    assert [name for name in ours() if f"ray_{name}" not in pages] == []


def test_the_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_dashboards_are_read_from_where_they_are() -> None:
    compose = yaml.safe_load((GRAFANA.parent / "compose.yaml").read_text())
    mounted = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    providers = yaml.safe_load((GRAFANA / "dashboards.yaml").read_text())["providers"]
    for provider in providers:
        path = provider["options"]["path"]
        assert [place for place in mounted if place.startswith(path) or path.startswith(place)]
    (source,) = yaml.safe_load((GRAFANA / "datasources.yaml").read_text())["datasources"]
    # Ray's own dashboards and its head go by this name.
    assert source["name"] == "Prometheus"
