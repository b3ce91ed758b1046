"""The tables of the documentation are those of the results beside them."""

import importlib
import json
import re
from pathlib import Path

import pytest
from benchmarks import common, elbo, run, tables

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", sorted(set(tables.PAGES.values())))
def test_tables_are_those_of_the_results(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert tables.rewritten(text, page) == text, "run python -m benchmarks.tables"


@pytest.mark.parametrize("page", sorted(set(tables.PAGES.values())))
def test_a_changed_table_is_put_right(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    changed = re.sub(r"(?s)(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)", r"\1\3", text)
    assert changed != text and tables.rewritten(changed, page) == text


def test_a_page_without_the_marks_of_a_table_is_refused():
    with pytest.raises(AssertionError, match="no <!-- floors -->"):
        tables.between("no marks", "floors", "")


def test_every_benchmark_that_is_run_is_there():
    for name in run.BENCHMARKS:
        assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_runs_of_another_machine_say_which(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    common.write("mine", {"raw": [{"seed": 0}]})
    assert common.kept("mine") == [{"seed": 0}] and common.kept("none") == []
    found = json.loads((tmp_path / "mine.json").read_text()) | {"machine": {"cores": 1000}}
    (tmp_path / "mine.json").write_text(json.dumps(found))
    assert common.kept("mine") == [{"seed": 0, "machine": {"cores": 1000}}]


def test_results_of_speed_are_kept_apart_by_the_precision_of_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "machine", lambda: {"processor": "one", "cores": 2, "bfloat16": native})
    for native in (True, False):
        common.write("overhead", {"runs": 2 + native, "summary": {}})
        assert common.kept("elbo") == []
        common.write("elbo", {"raw": [{"seed": native}]})
        assert common.kept("elbo") == [{"seed": native}]
    found = [json.loads(common.place("overhead", precision).read_text()) for precision in common.PRECISIONS]
    assert [tables.title(result) for result in found] == [
        "one, 2 cores, matrix products in bfloat16, 3 runs:",
        "one, 2 cores, matrix products in float32, 2 runs:",
    ]
    text = "<!-- overhead -->\n<!-- end of overhead -->"
    monkeypatch.setattr(tables, "TABLES", (tables.overhead,))
    assert tables.rewritten(text, "benchmarks").count("|  | median (range) |") == 2


def test_the_best_setting_of_a_peer_is_that_of_each_run():
    def fit(seconds, cost):
        return {"curve": [{"seconds": 1.0, "elbo": 200.0}, {"seconds": seconds, "elbo": cost}]}

    ours = [
        {"compile": how, "epochs": epochs, "seconds": 10.0, "elbo": elbo.TARGET}
        for how in ("eager", "compiled")
        for epochs in elbo.OUR_EPOCHS
    ]
    below, above = elbo.TARGET, elbo.TARGET + 1
    first = [fit(100.0, below), fit(60.0, below), fit(60.0, above), fit(60.0, above)]
    second = [fit(80.0, below), fit(80.0, above), fit(40.0, below), fit(40.0, above)]
    found = elbo.summary([{"ours": ours, "pythae": first}, {"ours": ours, "pythae": second}])
    assert found["ratios"]["eager to its default"]["median"] == 9.0
    assert found["ratios"]["eager to its best setting"] == {"median": 5.0, "low": 4.0, "high": 6.0, "runs": 2}
    assert found["short of it"]["3e-3, 512"] == "2 epochs, 40 s"
    assert found["short of it"]["1e-3, 512"] == "2 epochs, 80 s, in 1 of 2"
