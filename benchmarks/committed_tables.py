"""Options and origin that the programs share whose results are a table in a folder of ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import ast
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audioattn_lib.training.run_directory import Run

from .harness import environment


def parser_of(module: str, description: str | None, *, seeds: int, needs_data: bool = True) -> argparse.ArgumentParser:
    """Parser of ``python -m benchmarks.MODULE`` with the options that all tables have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("name", help="name of the table")
    parser.add_argument("--data", required=needs_data, help="corpus, as the experiment takes it")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"how many networks of each ({seeds})")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="of the configuration")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    folder = Path(__file__).parent / "results" / module
    parser.add_argument("--output", type=Path, default=folder, help="folder of the tables")
    return parser


def fields_of(options: argparse.Namespace) -> dict[str, Any]:
    """Fields given as ``--set field=value``: literals where they can be read as such, else text."""
    fields = {}
    for text in options.set:
        name, _, value = text.partition("=")
        try:
            fields[name] = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
        except (ValueError, SyntaxError):
            fields[name] = value
    return fields


def preset_of(options: argparse.Namespace, fields: Mapping[str, Any]) -> str:
    """The preset with the fields that differ from it in words, as tables keep them."""
    return "".join(
        [f"those of the preset {options.preset}", *(f", {name} = {value}" for name, value in fields.items())]
    )


def settings_of(fields: Mapping[str, Any]) -> str:
    """Fields that differ from the preset in words, as tables keep them."""
    return ", ".join(f"{name} = {value}" for name, value in fields.items()) or "those of the preset default"


def origin(options: argparse.Namespace) -> dict[str, str]:
    """Seeds, date and processor, as tables keep them."""
    return {
        "seeds": str(options.seeds),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": str(environment("cpu")["device"]),
    }


def versions(run: Run) -> dict[str, str]:
    """Versions and commit that the runs of a table were made with, as tables keep them."""
    machine, commit = environment("cpu"), run.environment.get("git_commit")
    made_by = {"python": str(machine["python"]), "torch": str(machine["versions"]["torch"])}
    return made_by | ({"git_commit": str(commit)} if commit else {})
