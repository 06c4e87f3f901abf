"""``audioattn listen`` and ``audioattn verify``: a trained model on new sounds.

Book page: commands.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.cli.output import end_with_failures
from audioattn_lib.core.imports import without_collection

if TYPE_CHECKING:
    from audioattn_lib.core.errors import AudioError
    from audioattn_lib.inference.listening import Listening

__all__ = ["listen", "verify"]

_MODEL = click.Path(path_type=Path)
# Literal, so that `--help` imports nothing; a test compares them with the library.
_FORMATS = ("page", "csv", "json", "npz", "audacity", "rttm", "embeddings")
_DEVICE = click.option("--device", default="auto", help="Where to compute: auto, cpu, cuda, or cuda:0 and so on.")
_JSON = click.option("--json", "as_json", is_flag=True, show_default=False, help="Print a line of JSON a result.")


@click.command()
@click.argument("model", type=_MODEL)
@click.argument("sounds", nargs=-1, required=True, metavar="SOUND...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    show_default=False,
    help="Folder to write to.  [default: heard, where a format is named; without both nothing is written]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(_FORMATS),
    multiple=True,
    show_default=False,
    help="What to write; may be given again.  [default: page, with -o]",
)
@click.option("--window", type=float, show_default=False, help="Seconds of a window.  [default: a clip of its corpus]")
@click.option("--overlap", type=float, default=0.5, help="Share of a window that the next one hears again.")
@_JSON
@_DEVICE
def listen(
    model: Path,
    sounds: tuple[str, ...],
    output: Path | None,
    formats: tuple[str, ...],
    window: float | None,
    overlap: float,
    as_json: bool,
    device: str,
) -> None:
    """Let a trained model hear any sounds: what it predicts, what it attends to.

    MODEL is a run directory, its folder model, or a copy of that. SOUND is a
    file, a folder of sounds, or - for standard input. page is a player, npz
    the attention, audacity and rttm list what is attended to, or the events
    of a recording that is longer than a window. Sounds that cannot be used
    are named at the end, and the exit code is 1.

    \b
    Examples:
      audioattn listen runs/urban_sound/<key> street.wav
      audioattn listen runs/urban_sound/<key> recordings/ -o heard --format page --format csv
      ffmpeg -i film.mp4 -f wav - | audioattn listen my_model - --json
    """
    with without_collection():
        import audioattn_lib
        from audioattn_lib.inference.outputs import Outputs, describe, find_sounds, hear_all

        names = find_sounds(sounds)
        loaded = audioattn_lib.load(model, device)
    files = None
    if output is not None or formats:
        files = Outputs(output or Path("heard"), formats or ("page",))
    failed: list[str] = []

    def fail(name: str, error: AudioError) -> None:
        reason = str(error)
        failed.append(reason if name in reason else f"{name}: {reason}")
        if as_json:
            click.echo(json.dumps({"sound": name, "error": reason}, ensure_ascii=False))

    def progress(done: float, whole: float) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:.0f} of {whole:.0f} s", err=True, nl=done >= whole)

    options: dict[str, Any] = {"window": window, "overlap": overlap, "progress": progress}
    width = min(max(len(name) for name in names), 60)
    try:
        for listening in hear_all(loaded, names, sys.stdin.buffer.read, fail, **options):
            click.echo(json.dumps(describe(listening), ensure_ascii=False) if as_json else _line(listening, width))
            if files is not None:
                files.add(listening)
    finally:
        if files is not None:
            files.save()
    if files is not None and files.written and not as_json:
        click.echo(f"{files.folder}: {', '.join(files.formats)} of {files.written} sounds")
    end_with_failures(failed, len(names), "heard")


def _line(listening: Listening, width: int) -> str:
    """One row of the table: sound, seconds, prediction, and when it attends most."""
    from audioattn_lib.inference.outputs import strongest

    most = strongest(listening)
    attends = "" if most is None else f"  attends most at {most:.2f} s"
    return f"{listening.name:{width}}  {listening.duration:8.2f} s  {listening.prediction}{attends}"


@click.command()
@click.argument("model", type=_MODEL)
@click.argument("first")
@click.argument("second")
@click.option(
    "--threshold", type=float, show_default=False, help="Lowest score of a same speaker.  [default: of the model]"
)
@_JSON
@_DEVICE
def verify(model: Path, first: str, second: str, threshold: float | None, as_json: bool, device: str) -> None:
    """Tell whether two sounds are of the same speaker.

    The score is the cosine of the two embeddings; at the threshold of the
    model both errors were as frequent in its test. FIRST and SECOND are files
    of sound, MODEL is a network of the chapter on accents.

    \b
    Examples:
      audioattn verify runs/accents/<key> a.wav b.wav
      audioattn verify runs/accents/<key> a.wav b.wav --threshold 0.5 --json
    """
    with without_collection():
        import audioattn_lib
        from audioattn_lib.inference.verification import verify_speaker

    result = verify_speaker(audioattn_lib.load(model, device), first, second, threshold)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    verdict = "same speaker" if result["same"] else "different speakers"
    click.echo(f"{verdict}: score {result['score']:.3f}, threshold {result['threshold']:.3f}")
