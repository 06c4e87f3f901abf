"""Networks from elsewhere learn from any corpus with the loop of this library."""

import numpy as np
import pytest
import torch
from torch import nn

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.experiments import own_model, urban_sound
from audioattn_lib.inference.pretrained.attention import load_pretrained_attention
from audioattn_lib.models.attentive_head import AttentiveHead

CPU = {"device": "cpu"}


def loud_frames(clips=48, frames=20):
    """Clips of several lengths, in each one loud frame whose sign is the class."""
    generator = torch.Generator().manual_seed(0)
    features = 0.3 * torch.randn(clips, frames, 4, generator=generator)
    lengths = torch.randint(8, frames + 1, (clips,), generator=generator)
    targets = torch.arange(clips) % 2
    features[torch.arange(clips), torch.arange(clips) % 8, 0] += 8.0 * targets - 4
    features[torch.arange(frames) >= lengths[:, None]] = 9  # what padding holds must not matter
    store = ArrayStore(features, lengths.numpy())
    return tuple(BatchLoader(store, targets, rows, 8) for rows in (np.arange(32), np.arange(32, clips)))


def head():
    torch.manual_seed(0)
    return AttentiveHead(nn.Linear(4, 8), "softmax", 8, 2, clock=FrameClock(0.1))


def test_a_pooling_behind_an_encoder_learns_and_goes_on_where_it_stopped(tmp_path):
    train, valid = loud_frames()
    options = {"epochs": 6, "learning_rate": 0.05, **CPU}
    whole = head()
    history = own_model.fit_classifier(whole, train, valid, tmp_path / "whole", **options)
    assert own_model.score_classifier(whole, valid)["accuracy"] == 1
    assert len(history) == 6
    assert history["valid_loss"].iloc[-1] < 0.5 * history["valid_loss"].iloc[0]
    again = head()
    read_back = own_model.fit_classifier(again, train, valid, tmp_path / "whole", **options)
    assert read_back["train_loss"].tolist() == history["train_loss"].tolist()
    assert all(map(torch.equal, whole.state_dict().values(), again.state_dict().values()))


def test_any_output_with_scores_is_learned_from(tmp_path):
    train, valid = loud_frames()
    plain = nn.Sequential(nn.AdaptiveAvgPool2d((1, 4)), nn.Flatten(1), nn.Linear(4, 2))
    own_model.fit_classifier(plain, train, valid, tmp_path / "plain", epochs=1, **CPU)
    frozen = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter that is trained"):
        own_model.fit_classifier(frozen, train, valid, tmp_path / "frozen", epochs=1, **CPU)
    with pytest.raises(ConfigError, match=r"Linear gave \(8, \d+, 2\) and no scores"):
        own_model.fit_classifier(nn.Linear(4, 2), train, valid, tmp_path / "frames", epochs=1, **CPU)
    model = nn.Linear(4, 2)
    made = {"forward": lambda network, batch: network(batch.features).amax(1)}
    own_model.fit_classifier(model, train, valid, tmp_path / "made", epochs=1, **made, **CPU)
    assert own_model.score_classifier(model, valid, **made)["error"] <= 1


def test_a_spectrogram_transformer_is_trained_saved_and_heard(tmp_path):
    torchaudio()
    pytest.importorskip("transformers")
    config = urban_sound.Config.smoke(device="cpu")
    corpus, split = own_model.prepare(config)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    made = own_model.train_spectrogram_transformer(corpus, split, tmp_path, epochs=1, **sizes, **CPU)
    assert len(made.history) == 1
    network = load_pretrained_attention(made.path)
    assert network.classes == corpus.classes
    clips = [corpus.clip(corpus.manifest.ids[row]) for row in split.test]
    inputs = network.inputs([(clip.samples, clip.sample_rate) for clip in clips])
    with torch.no_grad():
        right = network.encoder(inputs).logits.argmax(1) == corpus.targets[torch.as_tensor(split.test)]
    assert right.double().mean() == pytest.approx(made.scores["accuracy"])
    answers = network.answers([(clip.samples, clip.sample_rate) for clip in clips])
    assert [name == clip.label for (name, _), clip in zip(answers, clips, strict=True)] == right.tolist()
    assert all(1 / len(corpus.classes) <= probability <= 1 for _, probability in answers)
    standardised = network.inputs([(clip.samples, clip.sample_rate) for clip in clips])
    assert 0.2 < standardised.std() < 0.8, "half a deviation, as the published network has it"
    reduced = network.reduce(clips[0].samples, clips[0].sample_rate, query=0)
    assert list(reduced) == ["query", "received", "value_norm", "rollout", "gradient", "relevance"]
    assert all(record.maps.sum() == pytest.approx(record.maps.shape[2]) for record in reduced.values())
    page = network.attend(clips[0].samples, clips[0].sample_rate).player(heads=True).html()
    assert "rollout" in page
    assert "&quot;cells&quot;" in page


def test_stores_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="give \\(clips, frames, features\\)"):
        ArrayStore(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="give 1 to 3 for each of 2 clips"):
        ArrayStore(torch.zeros(2, 3, 4), np.array([1, 4]))
    features, lengths = ArrayStore(torch.zeros(2, 3, 4), np.array([1, 2])).batch([0, 1])
    assert (features.shape, lengths.tolist()) == ((2, 2, 4), [1, 2])
