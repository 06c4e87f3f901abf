"""A cell names the runs that it read, those behind the values that it uses, and never fewer."""

from types import SimpleNamespace

import pandas as pd
import pytest

from audioattn_lib.display.cell_runs import CellRuns
from audioattn_lib.training.run_directory import Run


class Shell:
    """A shell without a kernel, which runs cells and calls what asked to be called."""

    def __init__(self):
        self.user_ns, self.called, self.shown = {"__name__": "__main__"}, {}, []
        self.events = SimpleNamespace(register=self.called.__setitem__)
        self.display_pub = SimpleNamespace(publish=lambda data: self.shown.append(data["text/html"]))

    def run(self, code):
        """Execute a cell: the runs that it is marked with."""
        self.shown.clear()
        self.called["pre_run_cell"](None)
        exec(code, self.user_ns)
        self.called["post_run_cell"](SimpleNamespace(info=SimpleNamespace(raw_cell=code)))
        return self.shown[0].split('"')[3].split() if self.shown else []


@pytest.fixture
def shell(tmp_path):
    table = pd.DataFrame({"clip": ["a"], "label": ["x"]})
    made = [Run(tmp_path / "urban_sound" / key, {"seed": 0}, {}, {"accuracy": 1}, table, table) for key in ("k1", "k2")]
    shell = Shell()
    CellRuns(shell)
    shell.user_ns["made"] = tuple(made)
    return shell


def test_a_cell_that_reads_one_run_names_it(shell):
    assert shell.run("first, second = made") == []
    assert shell.run("first.predictions") == ["urban_sound/k1"]
    assert shell.run("second['accuracy']") == ["urban_sound/k2"]
    assert shell.run("[run.attention for run in made]") == ["urban_sound/k1", "urban_sound/k2"]


def test_settings_and_names_of_a_run_are_no_results(shell):
    assert shell.run("[(run.config, run.key, run.experiment) for run in made]") == []


def test_values_bring_their_runs_along_and_runs_do_not(shell):
    shell.run("run = made[0]; table = run.history; title = str(len(table))")
    assert shell.run("table.head(1)") == ["urban_sound/k1"]
    assert shell.run("both = table, made[1].history") == ["urban_sound/k1", "urban_sound/k2"]
    assert shell.run("both[0]") == ["urban_sound/k1", "urban_sound/k2"]
    assert shell.run("title, run.key") == []
    assert shell.run("def show():\n    return table") == ["urban_sound/k1"]
    assert shell.run("show()") == ["urban_sound/k1"]


def test_a_cell_with_an_object_that_keeps_results_names_none(shell):
    kept = type("Comparison", (), {"__module__": "audioattn_lib.experiments.comparison.study"})
    shell.user_ns["kept"] = kept
    shell.run("comparison = kept()")
    assert shell.run("comparison, made[0].history") == []
    shell.run("table = comparison")
    assert shell.run("table, made[0].history") == []
