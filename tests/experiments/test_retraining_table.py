"""The table of retraining: made by its benchmark, told in words by the page."""

import importlib

import numpy as np
import pandas as pd


def test_differences_are_to_random_frames_and_the_words_follow_the_intervals(root, monkeypatch):
    monkeypatch.syspath_prepend(root)
    monkeypatch.syspath_prepend(root / "book" / "_ext")
    retraining, page = importlib.import_module("benchmarks.retraining"), importlib.import_module("retraining_table")
    rng = np.random.default_rng(0)
    shares = {("attention", "as trained"): 0.2, ("attention", "trained again"): 0.8, ("none", "as trained"): 0.8}
    rows = [
        {
            "seed": seed,
            "attribution": name,
            "fraction": 0.5 * (name != "none"),
            "network": network,
            "clip": f"{clip}",
            "right": right,
        }
        for name, network in [*shares, ("random", "as trained"), ("random", "trained again")]
        for seed in range(3)
        for clip, right in enumerate(rng.random(60) < shares.get((name, network), 0.8))
    ]  # fmt: skip
    table = retraining.compare(pd.DataFrame(rows).astype({"right": int}), {str(clip): str(clip) for clip in range(60)})
    told = page.verdict(table)
    assert told[0] == (
        "Attention, against random frames: reliably worse for the trained network at 50 %; "
        "not shown to differ for networks that were trained again."
    )
    assert told[1].startswith("The loss stays after training again in 0 of the 1 comparisons in which")
    scores = table.set_index(["attribution", "network"])["score"]
    difference = table.set_index(["attribution", "network"])["difference"]["attention", "as trained"]
    np.testing.assert_allclose(difference, scores["attention", "as trained"] - scores["random", "as trained"])
    assert list(page.accuracies(table).index) == ["Attention, 50 % deleted", "Nothing deleted", "Random, 50 % deleted"]
