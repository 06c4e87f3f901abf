"""``audioattn attend``: attention of a pretrained network over sounds.

Book page: commands.
"""

from __future__ import annotations

from pathlib import Path

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
@click.option("--device", default="cpu", help="Where to compute: cpu, cuda, or cuda:0 and so on.")
def attend(model: str, sounds: tuple[str, ...], model_type: str, output: Path, heads: bool, device: str) -> None:
    """Show where a pretrained network of transformers attends in sounds.

    MODEL is a local folder, or an identifier on the hub of Hugging Face:
    wav2vec 2.0, HuBERT, WavLM, the encoder of Whisper, or the audio
    spectrogram transformer. SOUND is a file or a folder of sounds. A page a
    sound has each layer and the roll-out of all; sinks, which take attention
    whatever is in the clip, are named. Sounds that cannot be used are named
    at the end, and the exit code is 1.

    \b
    Examples:
      audioattn attend facebook/wav2vec2-base speech.wav
      audioattn attend my_whisper/ recordings/ -o attended --heads
    """
    from audioattn_lib.core.errors import AudioError, ConfigError
    from audioattn_lib.inference.outputs import STANDARD_INPUT, FileNames, find_sounds
    from audioattn_lib.inference.pretrained_attention import load_pretrained_attention

    if STANDARD_INPUT in sounds:
        raise ConfigError("- is no sound here; name files or folders")
    names = find_sounds(sounds)
    loaded = load_pretrained_attention(model, model_type, device)
    files = FileNames()
    failed: list[str] = []
    for name in names:
        try:
            attended = loaded.attend(name)
        except AudioError as error:
            failed.append(str(error))
            continue
        path = attended.player(heads).save(output / f"{files.of(name)}.html")
        sinks = f"  sinks in {', '.join(attended.sinks)}" if attended.sinks else ""
        most = attended.rollout.frame_times()[attended.rollout.frame_attention().argmax()]
        click.echo(f"{name}  {attended.duration:.2f} s  attends most at {most:.2f} s{sinks}  {path}")
    end_with_failures(failed, len(names), "used")
