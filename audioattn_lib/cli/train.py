"""``audioattn train``: one run of an experiment from the command line.

Book page: commands.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from audioattn_lib.cli.fields import given
from audioattn_lib.cli.lazy import LazyOptions

__all__ = ["train"]


class _Experiments(click.Group):
    """Group of commands, one an experiment, made on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from audioattn_lib.experiments import EXPERIMENTS

        return list(EXPERIMENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from audioattn_lib.experiments import EXPERIMENTS

        if cmd_name not in EXPERIMENTS:
            return None
        return _command(cmd_name, EXPERIMENTS[cmd_name])


@click.group(cls=_Experiments, no_args_is_help=True)
def train() -> None:
    """Train and test one model of an experiment.

    \b
    Examples:
      audioattn train urban_sound --preset smoke
      audioattn train urban_sound --data path/to/my_sounds --attention triweight
      audioattn train urban_sound --preset paper --device cuda
      torchrun --nproc-per-node 2 -m audioattn_lib train urban_sound
    """


def _command(name: str, module: str) -> click.Command:
    def load() -> Any:
        return importlib.import_module(module)

    def config() -> type:
        return load().Config  # type: ignore[no-any-return]

    def run(preset: str, runs: Path, print_config: bool, **options: Any) -> None:
        from audioattn_lib.cli.output import show_encoder, show_progress, show_run

        experiment = load()
        options = given(options)
        if several := _several(experiment.Config, options):
            _run_several(experiment, preset, options, several, runs, print_config)
            return
        configuration = _configure(experiment, preset, options)
        if print_config:
            click.echo(json.dumps(dataclasses.asdict(configuration), indent=1))
            return
        show_progress()
        result = experiment.run(configuration, runs)
        show_run(result)
        for encoder in result.config.get("encoders", ()):  # what `features extract` needs
            show_encoder(result.path.parent / encoder)

    command = LazyOptions(
        name,
        config=config,
        has_presets=True,
        callback=_documented(run, name),
        help=run.__doc__,
        short_help=f"Experiment of the chapter {name}.",
        params=[
            click.Option(["--preset"], default="default"),  # the experiment names them when it has no such preset
            click.Option(["--runs"], type=click.Path(path_type=Path), default=Path("runs"), help="Folder of all runs."),
            click.Option(["--print-config"], is_flag=True, help="Print the whole configuration as JSON and stop."),
        ],
    )
    command.context_settings = {"show_default": True, "max_content_width": 100}
    return command


def _configure(experiment: Any, preset: str, options: dict[str, Any]) -> Any:
    """The configuration: of a preset, or where none is named, of the run whose weights are."""
    from audioattn_lib.experiments.common.initial_weights import configure_like

    named = click.get_current_context().get_parameter_source("preset") is not click.core.ParameterSource.DEFAULT
    if not named and options.get("pretrained"):
        config = configure_like(experiment.Config, experiment.NAME, **options)
        if config is not None:
            return config
    return experiment.Config.preset(preset, **options)


def _several(config: Any, options: dict[str, Any]) -> dict[str, list[str]]:
    """Values of the fields of which several are named, ``"all"`` or joined by commas."""
    several = {}
    for name in ("fold", *config.COMPARED):
        texts = [text.strip() for text in str(options.get(name, "")).split(",") if text.strip()]
        if len(texts) > 1 or texts == ["all"]:
            several[name] = texts
    return several


def _run_several(
    experiment: Any, preset: str, options: dict[str, Any], several: dict[str, list[str]], runs: Path, print_config: bool
) -> None:
    """Make every combination, and print each run, and mean and deviation over folds."""
    from itertools import product

    from audioattn_lib.cli.output import show_progress, show_runs
    from audioattn_lib.data.splits import fold_names
    from audioattn_lib.experiments.common.parallel import run_all

    config = experiment.Config
    for name, choices in config.COMPARED.items():
        if several.get(name) == ["all"]:
            several[name] = list(choices)
    first = {name: values[0] for name, values in several.items() if name != "fold"}
    first_config = _configure(
        experiment, preset, {**options, **first, **({"fold": "first"} if "fold" in several else {})}
    )
    show_progress()
    if several.get("fold") == ["all"]:
        several["fold"] = fold_names(experiment.prepare(first_config).manifest)
    combinations = [dict(zip(several, values, strict=True)) for values in product(*several.values())]
    configs = [_configure(experiment, preset, {**options, **combination}) for combination in combinations]
    if print_config:
        click.echo(json.dumps([dataclasses.asdict(each) for each in configs], indent=1))
        return
    shown = tuple(name for name in ("fold", *config.COMPARED) if name in several or hasattr(first_config, name))
    show_runs(run_all(experiment.run, configs, runs, shown=shown), configs, shown)


# Examples of several runs.
_SEVERAL = {
    "urban_sound": """
      audioattn train urban_sound --fold all --attention softmax,triweight
      audioattn train urban_sound --train-folds 2,3 --valid-folds 1 --test-folds 4""",
    "accents": "\n      audioattn train accents --fold all --pooling mean,double_multi_head",
    "playback": "\n      audioattn train playback --selection none,slots",
    "sleepiness": "\n      audioattn train sleepiness --network seq2seq_bi_bi_fc,attention_bi_bi_hidden",
}


# Paragraphs on several runs, of the chapters that have folds, and of those with a field that may name several. The
# configurations say both, but a list of commands must not import them; a test compares the two.
_FOLDS = """

    Where --fold is all, or names several joined by commas, each is made, and
    mean and standard deviation over the folds are printed."""
_WITH_FOLDS = ("urban_sound", "accents", "playback")
_COMPARED = {
    "urban_sound": "attention",
    "accents": "pooling",
    "playback": "selection",
    "sleepiness": "network",
}


def _documented(run: Callable[..., None], name: str) -> Callable[..., None]:
    several = _FOLDS if name in _WITH_FOLDS else ""
    if name in _COMPARED:
        several += f"""

    --{_COMPARED[name]} may name several too, joined by commas; each is made."""
    run.__doc__ = f"""Train and test one model of the chapter {name}.

    A run that exists already, with the same settings, source and data, is read
    back instead; one that was interrupted continues. Options start from the
    preset: smoke takes seconds, default a minute, paper has the published
    settings. Where --pretrained names a run and no preset is given, they start
    from the settings of that run; with --epochs 0 it is only evaluated.{several}

    \b
    Examples:
      audioattn train {name} --preset smoke
      audioattn train {name} --seed 3 --epochs 20 --print-config{_SEVERAL.get(name, "")}
      audioattn train {name} --pretrained runs/{name}/<key> --data other/ --epochs 0
    """
    return run
