"""``audioattn runs``: the runs that there are, their models and scores.

Book page: commands.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["runs"]


@click.command()
@click.argument("conditions", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--runs", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of all runs.")
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print one JSON object a run.")
def runs(conditions: tuple[str, ...], root: Path, as_json: bool) -> None:
    """List the runs: model, main score with its interval, data, fold, seed, path.

    The latest is last. FIELD=VALUE keeps those runs alone for which it holds:
    experiment, model, status (finished, unfinished, damaged), key (its
    beginning), or any field of the configuration.

    \b
    Examples:
      audioattn runs
      audioattn runs experiment=urban_sound attention=softmax fold=2
      audioattn runs status=finished --json
    """
    from audioattn_lib.training.run_list import list_runs

    listed = list_runs(root, conditions)
    if as_json:
        for run in listed:
            click.echo(json.dumps(run.to_json(), ensure_ascii=False))
        return
    if not listed:
        click.echo(f"{root}: no run" + (f" with {' '.join(conditions)}" if conditions else ""), err=True)
        return
    rows = [("experiment", "model", "score", "fold", "seed", "data", "run")]
    for run in listed:
        score = run.status if run.score is None else str(run.score)
        rows.append((run.experiment, run.model, score, run.fold, run.seed, run.data, str(run.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    for run in listed:
        if run.error:
            click.echo(f"damaged: {run.error}", err=True)
