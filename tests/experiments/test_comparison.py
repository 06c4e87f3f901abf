"""Every mechanism on every task: what takes part, one protocol, resume, and no claim that the table does not hold."""

import dataclasses
import inspect
import re
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from audioattn_lib.attention import pooling
from audioattn_lib.attention.pooling import registry
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import comparison
from audioattn_lib.experiments.comparison.network import PooledNetwork, count_memory
from audioattn_lib.experiments.comparison.slot_pooling import SlotPooling
from audioattn_lib.experiments.comparison.tasks import tasks_of
from audioattn_lib.experiments.comparison.trial import Trial

DATA = "city?clips_per_class=6&n_folds=3&duration=2"
WIDTH = 8


@pytest.fixture(scope="module")
def config():
    return comparison.Config.smoke(data=DATA)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return root, comparison.study(comparison.Config.smoke(data=DATA), DATA, "all", "softmax, sparsemax_heads", root)


def test_every_mechanism_of_the_registry_takes_part_in_every_form():
    names = set(comparison.MECHANISMS)
    assert names >= {"mean", *registry.MECHANISMS, *(f"{name}_heads" for name in registry.MECHANISMS)}
    densities = [name for name, variant in registry.MECHANISMS.items() if variant.domain == "continuous"]
    assert names >= {f"{name}_{form}" for name in densities for form in ("mixture", "fused")}
    assert next(iter(comparison.MECHANISMS)) == comparison.CONTROL
    assert {each.family for each in comparison.MECHANISMS.values()} == set(comparison.FAMILIES)


def test_every_attention_of_the_library_takes_part_or_is_refused_with_a_reason():
    offered = set()
    for module in iter_modules(pooling.__path__):
        for name, kind in vars(import_module(f"{pooling.__name__}.{module.name}")).items():
            if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__.startswith(pooling.__name__):
                takes = list(inspect.signature(kind.forward).parameters)[1:3]
                offered |= {name} if takes == ["values", "lengths"] else set()
    used = {type(module).__name__ for each in comparison.MECHANISMS.values() for module in each.build(WIDTH).modules()}
    assert offered - used == offered & set(comparison.REFUSED)
    assert all(reason and not reason.endswith(".") for reason in comparison.REFUSED.values())


@pytest.mark.parametrize("name", comparison.MECHANISMS)
def test_padding_and_company_change_nothing_and_the_mass_is_one(name):
    torch.manual_seed(0)
    clock = FrameClock(0.05)
    network = PooledNetwork(5, comparison.MECHANISMS[name], WIDTH, 3, clock).eval()
    clip = torch.randn(1, 7, 5)
    padded = torch.cat([torch.cat([clip, torch.full((1, 4, 5), 9.0)], dim=1), torch.randn(1, 11, 5)])
    with torch.no_grad():
        alone, _ = network(clip, torch.tensor([7]))
        together, record = network(padded, torch.tensor([7, 11]), record=True)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
    for index, frames in enumerate((7, 11)):
        attention = record.frame_attention(index)
        assert attention.shape == (frames,)
        assert attention.sum() == pytest.approx(1)
    if name != "mean":
        assert count_memory(network, padded, torch.tensor([7, 11])) > 0


def test_the_memory_of_a_known_function_is_counted():
    class Squared(nn.Module):
        out_features = 4

        def forward(self, values, lengths=None, *, clock=None, record=False):
            doubled = 2 * values  # keeps nothing: its gradient is a constant
            return (doubled * doubled).sum(1), None  # keeps `doubled`, once

    mechanism = dataclasses.replace(comparison.MECHANISMS["mean"], build=lambda features: Squared())
    network = PooledNetwork(2, mechanism, 4, 3, FrameClock(0.1))
    assert count_memory(network, torch.randn(6, 10, 2), torch.full((6,), 10)) == 10 * 4 * 4


def test_a_table_has_every_mechanism_with_baseline_and_chance(small):
    _, study = small
    table = study.table().set_index("name")
    assert list(table.index) == ["mean", "softmax", "sparsemax_heads", "linear", "chance"]
    networks = table.iloc[:3]
    assert networks["score"].between(0, 1).all()
    assert (networks["low"] <= networks["score"]).all()
    assert (networks["score"] <= networks["high"]).all()
    assert table.loc["chance", "score"] == pytest.approx(0.1)
    assert np.isnan(table.loc["mean", "difference"])
    assert table.loc["mean", "parameters"] == 0
    assert (networks["milliseconds"] > 0).all()
    assert networks["attended"].between(0, 1 + 1e-9).all()
    assert table.loc["mean", "attended"] == pytest.approx(1, abs=0.02)
    assert table.loc["mean", "pointing_gain"] == pytest.approx(0, abs=1e-6)
    assert study.n_networks == 3 * study.n_seeds == 6


def test_a_table_in_a_file_says_what_its_runs_say(small, tmp_path):
    _, study = small
    results = comparison.ComparisonResults.of_comparison(study, {"settings": "small"})
    results.write(tmp_path / "tiny.csv")
    read = comparison.ComparisonResults.read(tmp_path / "tiny.csv")
    assert [(task.title, task.is_control) for task in read.tasks] == [("Urban sounds", False)]
    assert read.n_seeds == study.n_seeds
    assert read.made_with == {"settings": "small"}
    assert comparison.findings(read) == comparison.findings(study)
    assert comparison.uses(read) == comparison.uses(study)
    for column in comparison.COLUMNS:
        assert {column.name, column.low, column.high} - {""} <= set(read.table())


def test_committed_tables_have_every_mechanism_and_say_where_they_come_from(root):
    for path in (root / "benchmarks" / "results" / "comparison").glob("*.csv"):
        results = comparison.ComparisonResults.read(path)
        assert {"corpus", "settings", "seeds", "date", "processor", "git_commit", "torch"} <= set(results.made_with)
        assert results.n_seeds >= 5
        named = set(results.table()["name"])
        assert named == {*comparison.MECHANISMS, "linear", "chance"}
        assert f"{{comparison-findings}} {path.stem}\n" in (root / "book" / "comparison_seeds.md").read_text()


def test_attention_is_measured_on_some_clips_and_missing_elsewhere(tmp_path):
    config = comparison.Config.smoke(data=DATA, n_measured=5, n_seeds=1)
    study = comparison.study(config, DATA, "all", "softmax", tmp_path)
    clips = study.results[0].clips
    assert clips.groupby("mechanism")["attended"].count().to_dict() == {"mean": 5, "softmax": 5}
    assert clips["right"].notna().all()
    assert "test clips (5 for pointing and deletion)" in study.describe()
    assert study.table()["attended"].notna().sum() == 2


def test_scores_and_costs_are_those_of_the_files_of_the_run(small):
    _, study = small
    (result,) = study.results
    table = study.table().set_index("name")
    own = result.run.predictions[result.run.predictions["split"].str.startswith("softmax,")]
    assert table.loc["softmax", "score"] == pytest.approx((own["label"] == own["predicted"]).mean())
    costs = pd.read_csv(result.run.path / "networks.csv").set_index(["mechanism", "seed"])
    assert table.loc["softmax", "parameters"] == costs.loc[("softmax", 0), "parameters"]
    compared = study.compare(result.task.title, "Softmax", "Mean")
    assert compared["difference"] == pytest.approx(table.loc["softmax", "score"] - table.loc["mean", "score"])


def test_a_run_that_was_killed_goes_on_with_the_next_network(tmp_path, config, monkeypatch):
    config_of_two = dataclasses.replace(config, mechanisms=("mean", "softmax"))
    whole = comparison.run(config_of_two, tmp_path / "whole")
    trained, original = [], Trial.test

    def stop_at_third(self, mechanism, seed):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append((mechanism, seed))
        return original(self, mechanism, seed)

    monkeypatch.setattr(Trial, "test", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        comparison.run(config_of_two, tmp_path / "killed")
    trained.clear()
    again = comparison.run(config_of_two, tmp_path / "killed")
    assert trained == [("softmax", 0), ("softmax", 1)]
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)
    trained.extend([(), ()])  # any training from here on would stop
    comparison.run(config_of_two, tmp_path / "killed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mechanisms": ("softmax",)}, "at least mean"),
        ({"mechanisms": ("mean", "hardmax")}, "names out of mean, max"),
        ({"mechanisms": ("mean", "mean")}, "each name once"),
        ({"hidden_size": 6}, "a multiple of 4"),
    ],
)
def test_impossible_configurations_say_what_is_allowed(changes, words):
    with pytest.raises(ConfigError, match=words):
        comparison.Config.smoke(**changes)


def test_a_task_is_one_of_the_book_or_one_corpus():
    assert [task.name for task in tasks_of(None)] == list(comparison.TASKS)
    (city,) = tasks_of("city?duration=2")
    assert (city.name, city.data) == ("urban_sound", "city?duration=2")
    own, other = tasks_of("/sounds/my_birds/ + esc10?classes=dog,rain")
    assert (other.name, other.data) == ("esc10", "esc10?classes=dog,rain")
    assert (own.name, own.title, own.fold) == ("my_birds", "my birds", "first")


def invented(difference, task="A"):
    """Rows of a table in which each mechanism differs from the mean by a number plus or minus a twentieth."""
    rows = []
    for name, gain in {"mean": np.nan, **difference}.items():
        each = comparison.MECHANISMS[name]
        row = {"task": task, "mechanism": each.title, "family": each.family_title, "name": name, "score": 0.5}
        row |= {"low": 0.4, "high": 0.6, "difference": gain, "difference_low": gain - 0.05}
        row |= {"difference_high": gain + 0.05, "detectable": 0.1, "milliseconds": 1.0, "attended": 0.5}
        row |= dict.fromkeys(("pointing_gain", "pointing_gain_low", "deletion_gain", "deletion_gain_low"), np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


class Invented:
    n_seeds = 2

    def __init__(self, table, *tasks):
        self.tasks, self._table = tasks, table

    def table(self):
        return self._table


def test_the_recommendations_claim_no_more_than_the_table():
    task = dataclasses.replace(comparison.TASKS["urban_sound"], title="A")
    told = comparison.uses(Invented(invented({"softmax": 0.1, "sparsemax": 0.04, "parabola": -0.2}), task))
    first = told.splitlines()[0]
    assert "Softmax" in first
    assert "Sparsemax" not in told
    assert "parabola" not in told.lower()
    nothing = comparison.uses(Invented(invented({"softmax": 0.04}), task))
    assert "No mechanism is reliably better" in nothing
    assert "Softmax" not in nothing


def test_a_control_counts_what_differs_and_recommends_nothing():
    control = dataclasses.replace(comparison.TASKS["playback"], title="A")
    study = Invented(invented({"softmax": 0.1, "sparsemax": 0.01}), control)
    shown, _ = comparison.findings(study)
    assert re.search(r"1 of 2 differ", shown[0])
    assert "Softmax" not in comparison.uses(study)


def test_a_control_has_no_say_on_what_a_network_needs():
    gains = {"pointing_gain": 0.2, "pointing_gain_low": 0.1, "deletion_gain": 0.2, "deletion_gain_low": 0.1}
    solved = invented({"softmax": 0.0}).assign(**gains)
    lost = invented({"softmax": 0.0}, "B").assign(**{**gains, "deletion_gain_low": -0.1})
    task, control = (
        dataclasses.replace(comparison.TASKS[name], title=title)
        for name, title in (("urban_sound", "A"), ("playback", "B"))
    )
    study = Invented(pd.concat([solved, lost], ignore_index=True), task, control)
    shown, _ = comparison.findings(study)
    assert re.search(r"1 of 1 pairs of mechanism and task, the control left out.*not corrected", shown[-1])
    assert re.search(r"2 of 2 pairs of mechanism and task .*not corrected", shown[-2])
    assert re.search(r"what the network needs\*\*: Softmax has .*the control left out", comparison.uses(study))


@pytest.mark.data
@pytest.mark.long
def test_recordings_are_a_task(tmp_path, data_root):
    config = comparison.Config.preset("recordings", data="esc10", epochs=2, n_seeds=1)
    study = comparison.study(config, "esc10", "all", "softmax", tmp_path)
    assert study.table()["pointing_gain"].isna().all()


def test_slots_that_lost_every_frame_have_a_record_without_preference(monkeypatch):
    slots = SlotPooling(4)
    monkeypatch.setattr(slots.slots, "forward", lambda values, lengths: (values[:, :2], torch.zeros(2, 2, 3)))
    _, record = slots(torch.randn(2, 3, 4), torch.tensor([3, 2]), record=True)
    np.testing.assert_allclose(record.frame_attention(0), 1 / 3)
    np.testing.assert_allclose(record.frame_attention(1)[:2], 1 / 2)
