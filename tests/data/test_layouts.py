"""Every corpus as distributed is read, whole and without a finding that is none."""

import pytest
from layouts import CLASSES, LAYOUTS, NUMBERS, SEVERAL

from audioattn_lib.experiments.corpus import load_corpus

READABLE = [name for name, layout in LAYOUTS.items() if layout.experiments and name != "vggsound_converted"]


@pytest.mark.parametrize("name", READABLE)
def test_a_corpus_as_distributed_passes_its_check(tmp_path, name):
    manifest = load_corpus(LAYOUTS[name](tmp_path / name))
    report = manifest.check()
    assert report.passed, str(report)
    kinds = {CLASSES: "class", SEVERAL: "multilabel", NUMBERS: "number"}
    assert manifest.kind == kinds.get(LAYOUTS[name].experiments, "class")
