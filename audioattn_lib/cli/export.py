"""``audioattn export``: a trained model for other machines, other programs and the hub.

Book page: commands.
"""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["export"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write to."
)
@click.option("--onnx", is_flag=True, show_default=False, help="Write model.onnx too, checked in onnxruntime.")
@click.option(
    "--input",
    "reads",
    type=click.Choice(["auto", "waveform", "features"]),
    default="auto",
    help="What the ONNX file reads; auto is sound where the front end can be exported.",
)
@click.option("--licence", default="", metavar="NAME", help="Licence of the weights, for the card, such as mit.")
@click.option("--data-licence", default="", metavar="TEXT", help="Licence of the recordings, for the card.")
@click.option("--push-to-hub", "repo", default="", metavar="OWNER/NAME", help="Upload to the hub of Hugging Face.")
@click.option("--private", is_flag=True, show_default=False, help="Let only its owner see a new repository.")
def export(
    model: Path, output: Path, onnx: bool, reads: str, licence: str, data_licence: str, repo: str, private: bool
) -> None:
    """Write a copy of MODEL that stands alone, with a model card.

    MODEL is a run directory, its folder model, or a copy of that. The folder
    has model.json, model.safetensors and README.md: training, scores with
    intervals beside the baseline, use, limits, licence, how to load it.

    \b
    Examples:
      audioattn export runs/urban_sound/<key> -o my_model
      audioattn export runs/urban_sound/<key> -o my_model --onnx
      audioattn export runs/accents/<key> -o my_model --push-to-hub me/accents
    """
    from audioattn_lib.inference.export.hub import export_model, push_to_hub

    from_waveform = {"auto": None, "waveform": True, "features": False}[reads]
    done = export_model(
        model, output, onnx=onnx, from_waveform=from_waveform, licence=licence, data_licence=data_licence
    )
    click.echo(f"{done.path}: model.json, model.safetensors, README.md")
    if done.onnx is not None:
        click.echo(str(done.onnx))
    if repo:
        click.echo(push_to_hub(done.path, repo, private=private))
