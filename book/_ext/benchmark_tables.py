"""``{benchmark-tables}``: the latest committed results of ``benchmarks/``, as tables; of one module where it is named.

``{benchmark-findings}``: targets that they reach and miss, in a box.
``{scale-table}``: those of ``benchmarks/scale.py``, tables of very many clips.

Numbers on the page are those of the JSON files and no others; the page is
built again when a file changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from committed_results import NOTHING, RESULTS, as_nodes, depend_on
from docutils import nodes
from docutils.statemachine import StringList
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SPACE = "\N{NO-BREAK SPACE}"
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
TITLES = {"cpu": "On a processor", "cuda": "On a CUDA device"}


class BenchmarkTables(SphinxDirective):
    """A section a device, a part a module, a table a case; without headings where one module is named."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(RESULTS))
        lines: list[str] = []
        for path in sorted(RESULTS.glob("*.json")):
            self.env.note_dependency(str(path))
            modules = json.loads(path.read_text(encoding="utf-8"))
            lines += _module(modules.get(self.arguments[0])) if self.arguments else _device(path.stem, modules)
        if not lines:
            lines = ["No results are committed yet. `make bench` writes them."]
        node = nodes.section()
        node.document = self.state.document
        source = StringList(lines, source=self.get_source_info()[0])
        self.state.nested_parse(source, self.content_offset, node, match_titles=True)
        return list(node.children)


class BenchmarkFindings(SphinxDirective):
    """How many targets are reached, part by part, and each that is missed."""

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        shown, missed = [], []
        for path in sorted(RESULTS.glob("*.json")):
            if not depend_on(self, path):
                continue
            modules = json.loads(path.read_text(encoding="utf-8"))
            judged = {
                name: [target["met"] for result in entry["results"] for target in result["targets"]]
                for name, entry in sorted(modules.items())
            }
            counts = [f"{name.replace('_', ' ')} {sum(met)} of {len(met)}" for name, met in judged.items() if met]
            total = [met for of_module in judged.values() for met in of_module]
            title = TITLES.get(path.stem, path.stem)
            shown.append(f"**{title}**, {sum(total)} of {len(total)} targets are reached: {', '.join(counts)}.")
            for result in (result for entry in modules.values() for result in entry["results"]):
                missed += [_missed(result, target) for target in result["targets"] if not target["met"]]
        return as_nodes(display.findings(shown, missed)) if shown else []


class ScaleTable(SphinxDirective):
    """A row a step: clips, processor time, and peak memory of the process."""

    def run(self) -> list[nodes.Node]:
        path = RESULTS / "scale" / "audioset.json"
        if not depend_on(self, path):
            return parse_markdown(self, [NOTHING])
        entry = json.loads(path.read_text(encoding="utf-8"))
        lines = [_made_with(entry), "", "| table | step | processor time | peak memory |", "|---|---|---|---|"]
        for name, measured in entry["results"].items():
            for i, (step, seconds) in enumerate(measured["processor_seconds"].items()):
                title = f"{measured['rows']:,} {name}" if i == 0 else ""
                memory = f"{measured['peak_megabytes']:,}{SPACE}MB" if i == 0 else ""
                lines.append(f"| {title} | {step} | {_time(seconds)} | {memory} |")
        return parse_markdown(self, lines)


def _device(name: str, modules: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {TITLES.get(name, name)}", "")
    for module, entry in sorted(modules.items()):
        yield from (f"### {module.replace('_', ' ').capitalize()}", "")
        yield from _module(entry)


def _module(entry: Mapping[str, Any] | None) -> Iterator[str]:
    if entry is not None:
        yield from (_made_with(entry), "")
        for result in entry["results"]:
            yield from _case(result)


def _made_with(entry: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in entry["versions"].items())
    cores, threads = (f"{entry[name]} {name[:-1]}{'' if entry[name] == 1 else 's'}" for name in ("cores", "threads"))
    return (
        f"Measured on {entry['date']} on {entry['device']} ({cores}, {threads}) with "
        f"Python {entry['python']}, {versions}."
    )


def _case(result: Mapping[str, Any]) -> Iterator[str]:
    reference = result["reference"]
    judged: dict[str, list[str]] = {}
    for target in result["targets"]:
        mark = "reached" if target["met"] else "**missed**"
        judged.setdefault(target["candidate"], []).append(f"at most {_quantity(target)}: {mark}")
    yield from (f"**{_plain(result['case'])}**", "")
    candidates = result["candidates"]
    is_of_memory = any(measured.get("megabytes") is not None for measured in candidates.values())
    amount = "size" if str(result["case"]).startswith("size") else "memory"
    heads = ["candidate", *([amount] if is_of_memory else ["median", "lowest to highest"]), "of the reference"]
    heads += ["asked for"] if judged else []
    yield from (f"| {' | '.join(heads)} |", "|---" * len(heads) + "|")
    for name, measured in candidates.items():
        shown = f"{_plain(name)} (reference)" if name == reference != "reference" else _plain(name)
        asked = f" {'; '.join(judged.get(name, []))} |" if judged else ""
        if measured.get("megabytes") is not None:
            base = candidates.get(reference, {}).get("megabytes")
            ratio = f"{measured['megabytes'] / base:.2f}{SPACE}×" if base else ""
            yield f"| {shown} | {measured['megabytes']:.1f}{SPACE}MB | {ratio} |{asked}"
        else:
            median, low, high = (_time(measured[key], "#") for key in ("median", "minimum", "maximum"))
            yield f"| {shown} | {median} | {_span(low, high)} | {_ratio(measured['ratio'])} |{asked}"
    yield ""


def _ratio(ratio: float) -> str:
    return f"{ratio:{'.2f' if ratio >= 0.05 else '.1g'}}{SPACE}×"


def _span(low: str, high: str) -> str:
    """Two times, with one unit where it is the same: short enough for a phone."""
    number, _, unit = low.partition(SPACE)
    return f"{number}–{high}" if high.endswith(SPACE + unit) else f"{low} to {high}"


def _missed(result: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """A target that is missed, with what was measured."""
    value = {**target, "limit": target["measured"]}
    return (
        f"Missed: {result['case']}, {target['candidate']}: {_quantity(value)}, asked for at most {_quantity(target)}."
    )


def _quantity(target: Mapping[str, Any]) -> str:
    limit = target["limit"]
    return {"ratio": f"{limit:.3g}{SPACE}×", "megabytes": f"{limit:g}{SPACE}MB"}.get(target["quantity"]) or _time(limit)


def _time(seconds: float, keep: str = "") -> str:
    """Seconds to three digits; with ``keep="#"`` zeros at the end are kept, for times that are compared."""
    unit, scale = next(((u, s) for u, s in UNITS if seconds >= s), UNITS[-1])
    return f"{format(seconds / scale, f'{keep}.3g').rstrip('.')}{SPACE}{unit}"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("benchmark-findings", BenchmarkFindings)
    app.add_directive("benchmark-tables", BenchmarkTables)
    app.add_directive("scale-table", ScaleTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
