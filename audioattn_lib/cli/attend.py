"""``audioattn attend``: attention of a pretrained network over sounds.

Book page: commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audioattn_lib.cli.output import end_with_failures

__all__ = ["attend"]


@click.command()
@click.argument("model")
@click.argument("sounds", nargs=-1, required=True, metavar="SOUND...")
@click.option("--model-type", default="auto", help="Type of the network; auto reads it from its configuration.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("attended"),
    help="Folder to write a page a sound to.",
)
@click.option("--heads", is_flag=True, show_default=False, help="Choose layer and head with sliders.")
@click.option(
    "--words",
    is_flag=True,
    show_default=False,
    help="Words over the sound, in the times of the cross attention of a whole Whisper; with --labels its words.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True),
    help="Words or events with times over the sound: a TextGrid, RTTM, CSV or Audacity file, or a folder of such.",
)
@click.option("--device", default="cpu", help="Where to compute: cpu, cuda, or cuda:0 and so on.")
def attend(
    model: str,
    sounds: tuple[str, ...],
    model_type: str,
    output: Path,
    heads: bool,
    words: bool,
    labels: Path | None,
    device: str,
) -> None:
    """Show where a pretrained network of transformers attends in sounds.

    MODEL is a local folder, or an identifier on the hub of Hugging Face:
    wav2vec 2.0, HuBERT, WavLM, the encoder of Whisper, or the audio
    spectrogram transformer. SOUND is a file or a folder of sounds. A page a
    sound has each layer and the rollout of all; sinks, which take attention
    whatever is in the clip, are named. Sounds that cannot be used are named
    at the end, and the exit code is 1.

    A whole Whisper, with decoder and tokenizer, also gives the times of words:
    those that it writes, or with --labels those of a file. They are drawn over
    the sound and written beside the page, as an Audacity label track.

    \b
    Examples:
      audioattn attend facebook/wav2vec2-base speech.wav
      audioattn attend my_whisper/ recordings/ -o attended --heads
      audioattn attend openai/whisper-tiny.en speech.wav --words
      audioattn attend openai/whisper-tiny.en speech.wav --words --labels speech.TextGrid
    """
    from audioattn_lib.attention.record.segment_lists import list_segments, save_segments
    from audioattn_lib.core.errors import AudioError, ConfigError
    from audioattn_lib.inference.outputs import STANDARD_INPUT, FileNames, find_sounds
    from audioattn_lib.inference.pretrained.attention import load_pretrained_attention
    from audioattn_lib.inference.pretrained.words import compare_times, find_labels, load_aligner

    if STANDARD_INPUT in sounds:
        raise ConfigError("- is no sound here; name files or folders")
    names = find_sounds(sounds)
    listed = find_labels(labels, names) if labels is not None else {}
    loaded = load_pretrained_attention(model, model_type, device)
    aligner = load_aligner(loaded) if words else None
    files = FileNames()
    failed: list[str] = []
    for name in names:
        drawn: Any = [(each.start, each.stop, each.label) for each in listed.get(name, ())] or None
        summary = ""
        try:
            attended = loaded.attend(name)
            if aligner is not None:
                aligned = aligner.align(name, text=" ".join(each.label for each in listed.get(name, ())))
                drawn = None if aligned.is_empty else aligned
                summary = compare_times(aligned, listed.get(name))
        except AudioError as error:
            failed.append(str(error))
            continue
        stem = files.of(name)
        path = attended.player(heads, labels=drawn).save(output / f"{stem}.html")
        if aligner is not None:
            save_segments([] if drawn is None else list_segments(drawn), output / f"{stem}.txt", "audacity")
        sinks = f"  sinks in {', '.join(attended.sinks)}" if attended.sinks else ""
        most = attended.peak
        click.echo(f"{name}  {attended.duration:.2f} s  attends most at {most:.2f} s{sinks}{summary}  {path}")
    end_with_failures(failed, len(names), "used")
