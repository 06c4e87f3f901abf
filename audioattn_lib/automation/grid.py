"""A sweep as a file: one notebook, fixed parameters, and a grid of those that vary.

.. code-block:: yaml

    notebook: ../urban_sound.ipynb   # relative to this file
    parameters:                      # the same for every job
      epochs: 20
    grid:                            # every combination, the last name fastest
      attention: [softmax, triweight]
      fold: ["1", "2"]
    exclude:                         # leave out what matches all of an entry
      - {attention: softmax, fold: "2"}
    include:                         # and add single jobs
      - {attention: gaussian, fold: "1"}

Book page: batch.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.automation.strict_yaml import Document, read_yaml
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import ConfigError

__all__ = ["Grid"]

_MOST_JOBS = 10_000
_MOST_EXCLUDED = 1_000
_FIELDS = ("notebook", "parameters", "grid", "exclude", "include")


@dataclass(frozen=True)
class Grid:
    """A sweep: a notebook and the parameters of each job.

    Parameters
    ----------
    name
        Name of the sweep, that of its file.
    notebook
        The notebook that each job executes.
    jobs
        Parameters of each job, in the order of the file; no two are the same.
    varying
        Names of the parameters that differ between jobs.

    Notes
    -----
    Book page: batch.
    """

    name: str
    notebook: Notebook
    jobs: tuple[dict[str, Any], ...]
    varying: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> Grid:
        """Read a sweep file.

        Raises
        ------
        ConfigError
            If the file cannot be read, has unknown or missing fields, or
            names parameters that the notebook does not take; the message
            names the line and what is allowed.
        """
        document = read_yaml(path)
        fields = _fields(document)
        notebook = _notebook(document, fields["notebook"])
        fixed, grid = fields["parameters"], fields["grid"]
        _check_size(document, fields)
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise document.error(
                    f"grid.{name} is {shorten(values)}; give a list of at least one value", "grid", name
                )
            if name in fixed:
                raise document.error(
                    f"{name} stands under parameters too; a parameter is fixed or varies", "grid", name
                )
            for index, value in enumerate(values):
                _check(document, notebook, {name: value}, "grid", name, index)
            for index in _repeated(values):
                raise document.error(f"grid.{name} holds {shorten(values[index])} twice", "grid", name, index)
        for name, value in fixed.items():
            _check(document, notebook, {name: value}, "parameters", name)
        for section in ("exclude", "include"):
            for index, entry in enumerate(fields[section]):
                if not isinstance(entry, dict) or not entry:
                    raise document.error(f"{shorten(entry)} is no mapping of parameters to values", section, index)
                _check(document, notebook, entry, section, index)
        points = [{**fixed, **point} for point in _points(grid)]
        excluded: set[int] = set()
        for index, entry in enumerate(fields["exclude"]):
            matching = {i for i, point in enumerate(points) if _matches(point, entry)}
            if not matching:
                message = f"{shorten(entry)} excludes nothing; no job of the grid is like that"
                raise document.error(message, "exclude", index)
            excluded |= matching

        jobs = [job for i, job in enumerate(points) if i not in excluded] if grid or not fields["include"] else []
        identities = {_identity(job) for job in jobs}
        for index, entry in enumerate(fields["include"]):
            job = {**fixed, **entry}
            if _identity(job) in identities:
                raise document.error(f"{shorten(entry)} is a job already", "include", index)
            identities.add(_identity(job))
            jobs.append(job)
        if not jobs:
            raise document.error("every job of the grid is excluded", "exclude")
        names = dict.fromkeys(name for job in jobs for name in job)
        varying = tuple(name for name in names if any(job.get(name) != jobs[0].get(name) for job in jobs))
        return cls(document.path.stem, notebook, tuple(jobs), varying)


def _notebook(document: Document, name: str) -> Notebook:
    notebook = Notebook(document.path.parent / name)
    try:
        is_there = notebook.path.is_file()
    except OSError:  # of a name that is too long
        is_there = False
    if not is_there:
        raise document.error(f"notebook {notebook.path} does not exist; paths are relative to the file", "notebook")
    if notebook.path.suffix != ".ipynb":
        raise document.error(f"notebook {notebook.path} is no notebook; its name must end in .ipynb", "notebook")
    try:
        _ = notebook.parameters, notebook.options
    except ConfigError as error:
        raise document.error(str(error), "notebook") from None
    return notebook


def _check_size(document: Document, fields: dict[str, Any]) -> None:
    count = math.prod(len(values) for values in fields["grid"].values() if isinstance(values, list) and values)
    for name, number in (("grid", count), ("include", len(fields["include"])), ("exclude", len(fields["exclude"]))):
        most = _MOST_EXCLUDED if name == "exclude" else _MOST_JOBS
        if number > most:
            unit = "entries" if name == "exclude" else "jobs"
            raise document.error(f"{name} makes {number} {unit}; at most {most} are allowed, make several sweeps", name)


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _repeated(values: list[Any]) -> Iterator[int]:
    """Places of values that stand before already; 1, 1.0 and True are equal."""
    identities: set[Any] = set()
    for index, value in enumerate(values):
        same = value if isinstance(value, Hashable) else _identity(value)
        if same in identities:
            yield index
        identities.add(same)


def _fields(document: Document) -> dict[str, Any]:
    if not isinstance(document.data, dict):
        raise document.error(f"not a sweep; its fields are {', '.join(_FIELDS)}")
    for name in document.data:
        if name not in _FIELDS:
            raise document.error(f"{name!r} is no field of a sweep; its fields are {', '.join(_FIELDS)}", name)
    fields = {"parameters": {}, "grid": {}, "exclude": [], "include": [], **document.data}
    if not isinstance(fields.get("notebook"), str):
        raise document.error("the field notebook is missing; give the path of a notebook", "notebook")
    for name, kind in {"parameters": dict, "grid": dict, "exclude": list, "include": list}.items():
        if fields[name] is None:
            fields[name] = kind()
        if not isinstance(fields[name], kind):
            raise document.error(f"{name} is {shorten(fields[name])}; it must be a {_KINDS[kind]}", name)
        if kind is dict and not all(isinstance(key, str) for key in fields[name]):
            raise document.error(f"{name} has a name that is no text; quote it", name)
    return fields


_KINDS: dict[type, str] = {dict: "mapping of parameters", list: "list of mappings of parameters"}


def _points(grid: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _matches(job: dict[str, Any], entry: dict[str, Any]) -> bool:
    return all(name in job and job[name] == value for name, value in entry.items())


def _check(document: Document, notebook: Notebook, parameters: dict[str, Any], *way: Any) -> None:
    try:
        notebook.checked(parameters)
    except ConfigError as error:
        raise document.error(str(error), *way) from None
