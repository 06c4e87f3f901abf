"""``audioattn attend --words``: words over a sound in the times of the cross attention of a whole Whisper."""

import numpy as np
import pytest
import soundfile
import torch
from command_line import call

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.attention.record.segment_lists import LabelledSegment, read_segments, save_segments
from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inference.pretrained.attention import load_pretrained_attention
from audioattn_lib.inference.pretrained.words import compare_times, find_labels, join_tokens, load_aligner
from audioattn_lib.inspection.alignment import align_record


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A small random Whisper with a tokenizer of bytes, and the same without its decoder, as folders."""
    torchaudio()
    library = pytest.importorskip("transformers")
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers.models.whisper.tokenization_whisper import WhisperTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    pieces = [*sorted(ByteLevel.alphabet()), "Ġt", "wo"]
    tokenizer = WhisperTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[("Ġ", "t"), ("w", "o")]
    )
    special = ["<|startoftranscript|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    end, begin, _ = tokenizer.convert_tokens_to_ids(["<|endoftext|>", *special])
    sizes = {f"{section}_{what}": 2 for section in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = library.WhisperConfig(
        **sizes, d_model=24, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=len(tokenizer),
        max_source_positions=100, max_target_positions=24, decoder_start_token_id=begin, eos_token_id=end,
        pad_token_id=end, bos_token_id=end, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    whole = library.WhisperForConditionalGeneration(config)
    whole.generation_config.is_multilingual = False
    extractor = library.WhisperFeatureExtractor(chunk_length=2)
    for name, network in (("whole", whole), ("encoder", library.WhisperForAudioClassification(config))):
        network.save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "whole")
    whole.save_pretrained(folder / "silent")
    extractor.save_pretrained(folder / "silent")
    return folder


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    return path


def test_times_are_those_of_eager_attention(networks, sound):
    """The alignment is that of the cross attention which the network itself returns, read row by row."""
    loaded = load_pretrained_attention(networks / "whole")
    aligner = load_aligner(loaded)
    record = aligner.align(sound, text="two three")
    assert record.rows == (("two", "three"),)
    assert aligner.heads == ((1, 0), (1, 1))  # the upper half of the layers: the folder names no heads

    network = loaded.whole
    network.set_attn_implementation("eager")
    tokens = aligner.tokenizer.encode(" two three", add_special_tokens=False)
    assert aligner.tokenizer.convert_ids_to_tokens(tokens[:3]) == ["Ġt", "wo", "Ġt"]
    prefix = aligner.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|notimestamps|>"])
    read = torch.tensor([[*prefix, *tokens]])
    with torch.no_grad():
        output = network(loaded.inputs([sound]), decoder_input_ids=read, output_attentions=True)
    # the row of <|notimestamps|> predicts the first token
    weights = output.cross_attentions[1][0, :, 1:]
    by_hand = align_record(weights, [*map(str, tokens), "end"], loaded.tokens.clock, duration=1.0)
    starts, stops = by_hand.segments[0, :, 0], by_hand.segments[0, :, 1]
    np.testing.assert_allclose(record.segments[0], [(starts[0], stops[1]), (starts[2], stops[-2])], atol=1e-9)
    np.testing.assert_allclose(record.alignment[0, 0], by_hand.alignment[0, :2].mean(0), atol=1e-6)


def test_tokens_of_a_word_are_joined():
    weights = torch.eye(4).repeat_interleave(2, dim=1)[None]
    record = align_record(weights, ["to", "day", "we", ""], FrameClock(0.5), median=1)
    joined = join_tokens(record, [("today", 2), ("we", 1)])
    assert joined.rows == (("today", "we"),)
    assert joined.segments[0].tolist() == [[0.0, 2.0], [2.0, 3.0]]  # the last row ends the words
    np.testing.assert_allclose(joined.alignment[0, 0], [0.25] * 4 + [0] * 4)
    labels = [LabelledSegment("", "today", 0.5, 1.0), LabelledSegment("", "we", 2.1, 3.0)]
    assert compare_times(joined, labels) == "  2 words, on average 0.30 s from the file"
    assert compare_times(joined, labels[:1]) == "  2 words"


def test_words_that_the_model_writes(networks, sound, tmp_path):
    said = call("attend", networks / "whole", sound, "--words", "-o", tmp_path / "out").stdout
    assert " words" in said
    written = read_segments(tmp_path / "out" / "speech.txt", "audacity")
    times = [time for each in written for time in (each.start, each.stop)]
    assert written
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 1
    assert (tmp_path / "out" / "speech.html").is_file()


@pytest.mark.parametrize("as_folder", [False, True])
def test_words_of_a_file(networks, sound, tmp_path, as_folder):
    listed = tmp_path / "labels"
    listed.mkdir()
    words = [LabelledSegment("", "two", 0.1, 0.4), LabelledSegment("", "three", 0.4, 0.9)]
    save_segments(words, listed / "speech.txt", "audacity")
    labels = listed if as_folder else listed / "speech.txt"
    said = call("attend", networks / "whole", sound, "--words", "--labels", labels, "-o", tmp_path / "out").stdout
    assert "2 words, on average 0." in said
    aligned = read_segments(tmp_path / "out" / "speech.txt", "audacity")
    assert [each.label for each in aligned] == ["two", "three"]
    # without a decoder the words of the file are drawn in their own times
    call("attend", networks / "encoder", sound, "--labels", labels, "-o", tmp_path / "own")
    assert "three" in (tmp_path / "own" / "speech.html").read_text()
    assert not (tmp_path / "own" / "speech.txt").exists()


def test_what_gives_no_words_is_named(networks, sound, tmp_path):
    with pytest.raises(ConfigError, match=r"WhisperForAudioClassification has no decoder.*--labels"):
        load_aligner(load_pretrained_attention(networks / "encoder"))
    with pytest.raises(ConfigError, match="the tokenizer has 1 tokens, the decoder writes 261"):
        load_aligner(load_pretrained_attention(networks / "silent"))
    aligner = load_aligner(load_pretrained_attention(networks / "whole"))
    with pytest.raises(ConfigError, match=r"30 tokens of text; the decoder takes 22: cut the sound"):
        aligner.align(sound, text="a b c d e f g h i j k l m n o")
    (tmp_path / "words.txt").write_text("0\t1\tword\n")
    with pytest.raises(ConfigError, match="one file of labels for 2 sounds"):
        find_labels(tmp_path / "words.txt", ["speech.wav", "second.wav"])
    with pytest.raises(ConfigError, match="holds 0 files of labels for speech.wav; give one, speech with the ending"):
        find_labels(tmp_path, ["speech.wav"])
