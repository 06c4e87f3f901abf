"""Words over a sound, in the times that the cross attention of a Whisper with its decoder gives them.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.attention.record.segment_lists import LabelledSegment
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.display.show import LABEL_FILES, read_intervals
from audioattn_lib.inspection.alignment import align_record
from audioattn_lib.inspection.capture import capture
from audioattn_lib.inspection.libraries import import_transformers
from audioattn_lib.inspection.pretrained import WHISPER
from audioattn_lib.inspection.tokens import TimeTokens

from ..sources import Sound
from .attention import PretrainedAttention

__all__ = ["WordAligner", "compare_times", "find_labels", "join_tokens", "load_aligner"]

_CROSS_ATTENTION = "encoder_attn"
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages that are written without spaces between words: each character is one."""


@dataclass(frozen=True)
class WordAligner:
    """A Whisper with decoder and tokenizer.

    Attributes
    ----------
    loaded
        Encoder, feature extractor and clock.
    tokenizer
        Of ``transformers``.
    heads
        Layer and head of the decoder whose cross attention follows time: those that the folder names
        (``alignment_heads`` of its generation configuration), and otherwise all heads of the upper half of the layers.
    """

    loaded: PretrainedAttention
    tokenizer: Any
    heads: tuple[tuple[int, int], ...]

    def align(self, sound: Sound, sample_rate: int | None = None, *, text: str = "") -> AttentionRecord:
        """Align words with a sound.

        Parameters
        ----------
        sound, sample_rate
            As in :meth:`.PretrainedAttention.attend`.
        text
            Words that are spoken, separated by spaces; by default those that the model writes.

        Returns
        -------
        AttentionRecord
            ``rows`` holds the words, ``segments`` their times in seconds, and ``alignment`` the mean cross attention
            of each word, for ``show(sound, labels=record)``. It is empty where the model writes no word.

        Raises
        ------
        AudioError
            As :meth:`.PretrainedAttention.attend`.
        ConfigError
            When the text has more tokens than the decoder takes.

        Notes
        -----
        A row of cross attention belongs to the token that is read, and so to the word that it predicts. The row that
        predicts the end of the text ends the last word. Words that the model does not hear get times all the same.
        Book page: ``your_sounds``.
        """
        name, samples = self.loaded._heard(sound, sample_rate)
        inputs = self.loaded._prepared([samples])
        network: Any = self.loaded.whole
        end = int(network.generation_config.eos_token_id)
        with torch.no_grad():
            encoded = network.get_encoder()(inputs)
            prefix, language = self._prefix(encoded)
            if text:
                tokens = [int(token) for token in self.tokenizer.encode(" " + text.strip(), add_special_tokens=False)]
            else:
                written = network.generate(inputs)[0].tolist()
                tokens = [token for token in written if token < end]  # special tokens and times are behind the end
            room = int(network.config.max_target_positions) - len(prefix)
            if len(tokens) > room:
                raise ConfigError(f"{name}: {len(tokens)} tokens of text; the decoder takes {room}: cut the sound")
            if not tokens:
                return AttentionRecord()
            read = torch.tensor([[*prefix, *tokens]], device=inputs.device)
            with capture(network) as captured:
                network(encoder_outputs=encoded, decoder_input_ids=read)
        weights = self._weights(captured.calls, first=len(prefix) - 1)
        clock = self._tokens.clock
        seconds = len(samples) / int(self.loaded.extractor.sampling_rate)
        # the token behind the words ends the last one
        record = align_record(weights, [*map(str, tokens), ""], clock, duration=seconds, clip=name)
        return join_tokens(record, self._words(tokens, language))

    @property
    def _tokens(self) -> TimeTokens:
        assert isinstance(self.loaded.tokens, TimeTokens)
        return self.loaded.tokens

    def _prefix(self, encoded: Any) -> tuple[list[int], str]:
        """Tokens in front of the text, as of a transcription without times, and the language of the sound."""
        network: Any = self.loaded.whole
        config = network.generation_config
        prefix, language = [int(config.decoder_start_token_id)], ""
        if getattr(config, "is_multilingual", False):
            detected = int(network.detect_language(encoder_outputs=encoded)[0])
            language = str(self.tokenizer.convert_ids_to_tokens(detected)).strip("<|>")
            prefix += [detected, int(config.task_to_id["transcribe"])]
        if (silent := self.tokenizer.get_vocab().get("<|notimestamps|>")) is not None:
            prefix.append(int(silent))
        return prefix, language

    def _weights(self, calls: dict[str, list[Tensor]], first: int) -> Tensor:
        """Cross attention of the chosen heads from row ``first`` on, shape (heads, tokens + 1, frames)."""
        layers = [each[-1][0] for name, each in calls.items() if name.endswith(_CROSS_ATTENTION)]
        return torch.stack([layers[layer][head, first:] for layer, head in self.heads])

    def _words(self, tokens: Sequence[int], language: str) -> list[tuple[str, int]]:
        """Text of each word and how many tokens it has."""
        words: list[tuple[str, int]] = []
        pending: list[int] = []
        for token in tokens:
            pending.append(token)
            text = self.tokenizer.decode(pending)
            if _UNFINISHED in text and len(pending) < 4:  # bytes of a character that goes on
                continue
            if words and not text.startswith(" ") and language not in _WITHOUT_SPACES:
                words[-1] = (words[-1][0] + text, words[-1][1] + len(pending))
            else:
                words.append((text, len(pending)))
            pending = []
        if pending:
            words.append((self.tokenizer.decode(pending), len(pending)))
        return [(text.strip(), count) for text, count in words]


def join_tokens(record: AttentionRecord, words: Sequence[tuple[str, int]]) -> AttentionRecord:
    """Join the rows of an alignment that belong to one word; rows behind the last word are left out.

    Parameters
    ----------
    record
        One clip of :func:`~audioattn_lib.inspection.alignment.align_record`, a row a token.
    words
        Text of each word, and how many rows it has.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    assert record.alignment is not None
    assert record.segments is not None
    stops = np.cumsum([count for _, count in words])
    starts = stops - [count for _, count in words]
    times = np.stack([record.segments[0, starts, 0], record.segments[0, stops - 1, 1]], axis=1)
    joined = np.stack([record.alignment[0, a:b].mean(axis=0) for a, b in zip(starts, stops, strict=True)])
    return dataclasses.replace(
        record, alignment=joined[None], segments=times[None], rows=(tuple(text for text, _ in words),)
    )


def load_aligner(loaded: PretrainedAttention) -> WordAligner:
    """Take the decoder and the tokenizer of a loaded network.

    Parameters
    ----------
    loaded
        Of :func:`~audioattn_lib.inference.pretrained.attention.load_pretrained_attention`.

    Raises
    ------
    ConfigError
        When the network has no decoder, or its folder no tokenizer.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    network: Any = loaded.whole
    if loaded.kind != WHISPER or not hasattr(network, "proj_out"):
        raise ConfigError(
            f"{loaded.name}: {type(network).__name__} has no decoder, so it writes no words and has no cross attention "
            "that gives them times; give a whole Whisper, such as openai/whisper-tiny.en, or a file that lists the "
            "words, with --labels"
        )
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(loaded.name)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{loaded.name}: no tokenizer could be read ({str(error).splitlines()[0]}); words need tokenizer.json or "
            "vocab.json and merges.txt in the folder"
        ) from error
    if len(tokenizer) <= int(network.generation_config.eos_token_id):  # made up, where the folder holds no file of it
        raise ConfigError(
            f"{loaded.name}: the tokenizer has {len(tokenizer)} tokens, the decoder writes "
            f"{network.config.vocab_size}; words need tokenizer.json, or vocab.json and merges.txt, in the folder"
        )
    layers, heads = int(network.config.decoder_layers), int(network.config.decoder_attention_heads)
    named = getattr(network.generation_config, "alignment_heads", None)
    pairs = named or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    wrong = [pair for pair in pairs if not (0 <= pair[0] < layers and 0 <= pair[1] < heads)]
    if wrong:
        raise ConfigError(
            f"{loaded.name}: alignment_heads of generation_config.json names {wrong[0]}; the decoder has {layers} "
            f"layers of {heads} heads"
        )
    return WordAligner(loaded, tokenizer, tuple((int(layer), int(head)) for layer, head in pairs))


def find_labels(path: Path, sounds: Sequence[str]) -> dict[str, list[LabelledSegment]]:
    """Labels of sounds: those of a file for one sound, or those of the files of the same names in a folder.

    Parameters
    ----------
    path
        A file that :func:`~audioattn_lib.display.show.read_intervals` reads, or a folder.
    sounds
        Paths of the sounds.

    Raises
    ------
    ConfigError
        When there are several sounds for one file, a sound has no file of labels or several, or a file cannot be read.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if not path.is_dir() and len(sounds) != 1:
        raise ConfigError(f"{path}: one file of labels for {len(sounds)} sounds; name a folder with a file a sound")
    listed = {}
    for sound in sounds:
        file = path
        if path.is_dir():
            stem = Path(sound).stem
            files = [
                each for each in sorted(path.iterdir()) if each.stem == stem and each.suffix.lower() in LABEL_FILES
            ]
            if len(files) != 1:
                raise ConfigError(
                    f"{path}: holds {len(files)} files of labels for {sound}; give one, {stem} with the ending "
                    f"{', '.join(LABEL_FILES)}"
                )
            file = files[0]
        listed[sound] = read_intervals(file)
    return listed


def compare_times(record: AttentionRecord, labels: Sequence[LabelledSegment] | None) -> str:
    """Say how many words were aligned, and how far their beginnings lie from those of the same words in a file.

    Parameters
    ----------
    record
        Of :meth:`WordAligner.align`.
    labels
        The words with their times; None where they are not known.

    Returns
    -------
    str
        Empty where nothing was aligned and nothing is known.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if record.is_empty:
        return "  no words"
    assert record.segments is not None
    counted = f"  {len(record.rows[0])} words"
    spoken = [each for each in labels or () for _ in each.label.split()[:1]]
    if len(spoken) != len(record.rows[0]):  # a label of several words says nothing of where they begin
        return counted
    distance = np.abs(record.segments[0, :, 0] - [each.start for each in spoken]).mean()
    return f"{counted}, on average {distance:.2f} s from the file"
