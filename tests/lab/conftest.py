"""One small study for the tests of explorers: two mechanisms, trained in seconds."""

import pytest

from audioattn_lib.experiments import urban_sound


@pytest.fixture(scope="session")
def city(tmp_path_factory):
    """A study of sparse weights and of a density, and its corpus."""
    runs = tmp_path_factory.mktemp("runs")
    config = urban_sound.Config.smoke(data="city?clips_per_class=4&n_folds=3&duration=2")
    return urban_sound.study(config, "sparsemax, triweight", "1", runs), urban_sound.prepare(config)
