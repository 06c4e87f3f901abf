"""Ties the book and the library together.

A docstring names the page that explains it (``Book page: urban_sound``). From
that, the reference links to the page, and the page ends with a list of what
the library offers on its subject. ``{library} package`` documents every public
module of a package, ``{library-modules} package`` those that lie in no package
inside, which have pages of their own, ``{command-line}`` shows the help of every command.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "audioattn_lib"
BOOK_PAGE = re.compile(r"Book\s+page:\s+`{0,2}(?P<page>[\w-]+)`{0,2}")


@functools.cache  # a build reads it once, for it asks with every docstring
def pages_of_contents(toc: Path = ROOT / "_toc.yml") -> dict[str, str]:
    """Documents of the book by the last part of their name, the name that docstrings use.

    Several are called ``index``: the name stands for the first one in the contents, the root.
    """

    def entries(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (node[name] for name in ("root", "file") if name in node)
            for value in node.values():
                yield from entries(value)
        elif isinstance(node, list):
            for item in node:
                yield from entries(item)

    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    pages: dict[str, str] = {}
    for document in entries(content):
        pages.setdefault(document.rpartition("/")[2], document)
    return pages


@functools.cache  # every page asks
def documented(package: Path = PACKAGE) -> tuple[tuple[str, str, str, Path], ...]:
    """Public objects whose docstrings name a page: page, dotted name, kind, file; read without importing."""
    return tuple(_documented(package))


def _documented(package: Path) -> Iterator[tuple[str, str, str, Path]]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_bytes())
        match = BOOK_PAGE.search(ast.get_docstring(tree) or "")
        of_module = match["page"] if match else None
        if of_module is not None:
            yield of_module, module, "mod", path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                match = BOOK_PAGE.search(ast.get_docstring(node) or "")
                if match:
                    yield (
                        match["page"],
                        f"{module}.{node.name}",
                        "class" if isinstance(node, ast.ClassDef) else "func",
                        path,
                    )


class LibraryOfThisPage(SphinxTransform):
    """Ends a page with what the library offers on its subject."""

    default_priority = 1

    def apply(self, **_: Any) -> None:
        pages = pages_of_contents()
        name = self.env.docname.rpartition("/")[2]
        if pages.get(name) != self.env.docname:
            return
        offered: dict[str, list[tuple[str, str]]] = {}
        for page, target, kind, path in documented():
            if page == name and kind != "mod":
                offered.setdefault(target.rpartition(".")[0], []).append((target, kind))
                self.env.note_dependency(str(path))
        if not offered:
            return
        section = nodes.section(ids=["in-the-library"], names=["in-the-library"])
        section += nodes.title("", "In the library")
        listing = nodes.definition_list()
        for module, members in offered.items():
            term = nodes.term("", "", nodes.literal("", module))
            line = nodes.paragraph()
            for index, (target, kind) in enumerate(members):
                reference = addnodes.pending_xref(
                    "",
                    nodes.literal("", target.rpartition(".")[2]),
                    refdomain="py",
                    reftype=kind,
                    reftarget=target,
                    refexplicit=True,
                    refdoc=self.env.docname,
                )
                line += [nodes.Text(", "), reference] if index else [reference]
            listing += nodes.definition_list_item("", term, nodes.definition("", line))
        section += listing
        top = next(iter(self.document.findall(nodes.section)), self.document)
        top += section


def public_modules(package: str, *, is_deep: bool = True) -> list[str]:
    """A package and its modules, without private ones, in alphabetical order; with or without packages inside."""
    folder = ROOT.joinpath(*package.split("."))
    results = [package]
    for path in sorted(folder.rglob("*.py") if is_deep else folder.glob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and not any(name.startswith("_") for name in parts):
            results.append(".".join((package, *parts)))
    return results


class Library(SphinxDirective):
    """``{library} audioattn_lib.audio``: the reference of a package, from its docstrings."""

    required_arguments = 1
    is_deep = True

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for module in public_modules(self.arguments[0], is_deep=self.is_deep):
            is_package = ROOT.joinpath(*module.split("."), "__init__.py").is_file()
            # what a package passes on from its modules is documented there
            only_own = ["   :ignore-module-all:"] if is_package else []
            if module != self.arguments[0]:
                lines += [f"## `{module.removeprefix('audioattn_lib.')}`", ""]
            lines += ["```{eval-rst}", f".. automodule:: {module}", "   :members:", *only_own, "```", ""]
        return parse_markdown(self, lines)


class LibraryModules(Library):
    """``{library-modules} audioattn_lib.data``: the same without the packages inside, which have their own pages."""

    is_deep = False


class CommandLine(SphinxDirective):
    """``{command-line}``: the help of every command, read from the commands themselves."""

    def run(self) -> list[nodes.Node]:
        import click

        from audioattn_lib.cli import audioattn

        for path in (PACKAGE / "cli").rglob("*.py"):
            self.env.note_dependency(str(path))
        lines: list[str] = []

        def show(command: click.Command, context: click.Context) -> None:
            name = context.command_path
            text = command.get_help(context)
            lines.extend(
                [f"({name.replace(' ', '-')})=", f"### `{name}`", "", "```text", *text.splitlines(), "```", ""]
            )
            if isinstance(command, click.Group):
                for child in command.list_commands(context):
                    result = command.get_command(context, child)
                    if result is not None and not result.hidden:
                        show(result, click.Context(result, info_name=child, parent=context, max_content_width=100))

        show(audioattn, click.Context(audioattn, info_name="audioattn", max_content_width=100))
        return parse_markdown(self, lines)


CHAPTERS = {
    "urban_sound": "Urban sounds",
    "sleepiness": "Sleepiness",
    "accents": "Accents and speakers",
    "scenes_and_instruments": "Scenes and instruments",
    "playback": "Play it back",
    "comparison": "All mechanisms, all tasks",
    "mixtures": "Attention and the share of the clip that an event fills",
}
"""Titles of the pages of experiments, in the order of the book."""


class Configurations(SphinxDirective):
    """``{configurations}``: the fields of every experiment, from their declarations."""

    def run(self) -> list[nodes.Node]:
        from audioattn_lib.experiments import EXPERIMENTS

        for path in (PACKAGE / "experiments").rglob("config.py"):
            self.env.note_dependency(str(path))
        lines: list[str] = []
        modules = {name: f"audioattn_lib.experiments.{name}" for name in CHAPTERS} | dict(EXPERIMENTS)
        for name, module in modules.items():
            title = CHAPTERS.get(name, name.replace("_", " ").capitalize())
            lines += [f"## {title}", "", *_fields(importlib.import_module(module).Config)]
        return parse_markdown(self, lines)


_LONG_WORD = re.compile(r"\S{16}")
"""Such a word is code in a table, which may break it; as text it would widen its column out of sight."""


def _fields(config: Any) -> Iterator[str]:
    """A table of the fields of a configuration: meaning, allowed values, default of each preset."""
    from audioattn_lib.core.declarations import declared_fields

    presets = {name: config.preset(name) for name in sorted(config.PRESETS, key="default".__ne__)}
    yield f"`audioattn_lib.{config.__module__.partition('.')[2]}.Config`; presets: {', '.join(presets)}."
    yield from ("", "| field | meaning | allowed | default |", "|---|---|---|---|")
    for field in declared_fields(config).values():
        values = {preset: _value(getattr(made, field.name)) for preset, made in presets.items()}
        first = values["default"]
        shown = [first, *(f"{preset}: {value}" for preset, value in values.items() if value != first)]
        allowed = field.allowed or field.type_name
        yield f"| `{field.name}` | {field.help} | {allowed} | {'; '.join(shown)} |"
    yield ""


def _value(value: Any) -> str:
    text = (", ".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "empty"
    return f"`{text}`" if _LONG_WORD.search(text) else text


def parse_markdown(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Nodes of generated Markdown, headings included."""
    node = nodes.section()
    node.document = directive.state.document
    source = StringList(lines, source=directive.get_source_info()[0])
    directive.state.nested_parse(source, directive.content_offset, node, match_titles=True)
    return node.children


def link_book_pages(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn the page that a docstring names into a link."""
    pages = pages_of_contents()

    def link(match: re.Match[str]) -> str:
        page = pages.get(match["page"])
        return f"Book page: :doc:`/{page}`" if page else match[0]

    lines[:] = BOOK_PAGE.sub(link, "\n".join(lines)).split("\n")


def sign_configurations(
    app: Sphinx, what: str, name: str, obj: Any, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave the fields of a configuration to the page that has a table of them."""
    return ("(**fields)", "") if what == "class" and hasattr(obj, "PRESETS") else None


def skip_passed_on(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: object) -> bool | None:
    """Document what a module passes on from another where it is defined, and only there."""
    module = app.env.temp_data.get("autodoc:module")
    home = getattr(obj, "__module__", None)
    elsewhere = what == "module" and module and isinstance(home, str) and home != module
    return True if elsewhere and home.startswith("audioattn_lib") else None


def find_passed_on(app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.TextElement) -> Any:
    """Lead a name that a package passes on to where it is documented; leave one that is not documented as text.

    A name that does not exist stays an error.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("audioattn_lib."):
        return None
    module, _, name = target.rpartition(".")
    try:
        exists = hasattr(importlib.import_module(module), name)
    except ImportError:
        return None
    if not exists:
        return None
    results = [entry for full, entry in env.domaindata["py"]["objects"].items() if full.rpartition(".")[2] == name]
    if len(results) != 1:
        return content
    return make_refnode(app.builder, node["refdoc"], results[0].docname, results[0].node_id, content, target)


def leave_out_thebe(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove the settings for running cells in the page, and the addresses in them: there is no server to run them."""
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext():
            node.parent.remove(node)


def leave_out_thebe_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Remove its scripts too."""
    files = context.get("script_files", [])
    files[:] = [f for f in files if "thebe" not in f"{getattr(f, 'filename', '')} {f.attributes.get('body')}".lower()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    sys.path.insert(0, str(ROOT))
    app.add_transform(LibraryOfThisPage)
    app.add_directive("library", Library)
    app.add_directive("library-modules", LibraryModules)
    app.add_directive("command-line", CommandLine)
    app.add_directive("configurations", Configurations)
    app.connect("autodoc-process-docstring", link_book_pages, priority=100)
    app.connect("autodoc-process-signature", sign_configurations)
    app.connect("autodoc-skip-member", skip_passed_on)
    app.connect("missing-reference", find_passed_on)
    app.connect("doctree-resolved", leave_out_thebe, priority=900)
    app.connect("html-page-context", leave_out_thebe_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
