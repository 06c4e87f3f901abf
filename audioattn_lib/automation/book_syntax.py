"""Syntax that the book alone resolves, as text of a page that stands alone: links to pages, citations, boxes.

Book page: batch.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from audioattn_lib.core.errors import AudioAttnError

from .notebooks import Notebook

__all__ = ["BookSyntax"]

_LINK: Final = re.compile(r"(?<!!)\[(?P<text>[^\]\n]*)\]\((?P<path>[^)\s:#]+\.(?:md|ipynb))(?P<anchor>#[^)\s]*)?\)")
_CITATION: Final = re.compile(r"\{footcite:(?P<kind>\w+)\}`(?P<keys>[^`]*)`")
_REFERENCES: Final = re.compile(r"^## Sources of this page\s*\n+(`{3,}|:{3,})\{footbibliography\}\s*\n\1[ \t]*$", re.M)
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)
_BOXES: Final = ("admonition", "note", "tip", "warning", "important", "hint", "dropdown")


class BookSyntax:
    """Markdown of a chapter, made readable without the book.

    Parameters
    ----------
    folder
        Folder of the page: a link to a chapter whose page lies there leads to it.
    chapters
        Folder of the notebooks of the book, beside which its other pages lie in ``book``; None where there is no book.
        A link to a page that does not lie in ``folder`` becomes its title.

    Attributes
    ----------
    named
        Titles of pages that were named without a link, in order.

    Notes
    -----
    Book page: batch.
    """

    def __init__(self, folder: str | Path, chapters: str | Path | None = None) -> None:
        self._folder = Path(folder)
        self._chapters = None if chapters is None else Path(chapters)
        self._cited: list[str] = []
        self.named: list[str] = []

    def resolve(self, source: str) -> str:
        """Replace labels, roles, citations, links to pages, and boxes."""
        source = re.sub(r"^\([\w-]+\)=\n", "", source, flags=re.MULTILINE)
        source = re.sub(r"\((\{footcite:)t(\}`[^`]*`)\)", r"\1p\2", source)  # no brackets in brackets
        source = _CITATION.sub(self._cite, source)
        source = re.sub(r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", source)
        source = _LINK.sub(self._name, source)
        source = _REFERENCES.sub(lambda _: self._references(), source)
        return re.sub(r"^(```+|:::+)\{([\w-]+)\} *(.*)\n((?:.*\n)*?)\1 *$", _box, source, flags=re.MULTILINE)

    def _name(self, match: re.Match[str]) -> str:
        """A link where its page is there, else what is linked to, in italics."""
        path = match["path"]
        beside, stem = self._folder / path, Path(path).stem
        if beside.is_file() and beside.suffix != ".ipynb":
            return match[0]
        title = self._title(path)
        if (self._folder / f"{stem}.html").is_file():
            return f"[{match['text'] or title}]({stem}.html{match['anchor'] or ''})"
        if title not in self.named:
            self.named.append(title)
        if not match["text"]:
            return f"*{title}*"
        return match["text"] if match["text"].lower() == title.lower() else f"{match['text']} (*{title}*)"

    def _title(self, path: str) -> str:
        """First heading of a page of the book, as chapters name it; its file name where it cannot be read."""
        name = Path(path)
        if self._chapters is not None:
            file = self._chapters / name
            if name.suffix != ".ipynb":  # chapters are executed in book/chapters, and name pages from there
                file = self._chapters.parent / os.path.normpath(Path("book/chapters") / name)
            try:
                text = _markdown_of(file)
            except (OSError, ValueError, AudioAttnError):
                text = ""
            if title := _TITLE.search(text):
                return title[1].strip()
        return name.stem.replace("_", " ").capitalize()

    def _cite(self, match: re.Match[str]) -> str:
        keys = [key.strip() for key in match["keys"].split(",")]
        self._cited += [key for key in keys if key not in self._cited]
        is_textual = match["kind"] == "t"
        parts = []
        for key in keys:
            who, year, _ = self._library.get(key) or _named_by(key)
            parts.append(f"{who} ({year})" if is_textual else f"{who}, {year}")
        return "; ".join(parts) if is_textual else f"({'; '.join(parts)})"

    def _references(self) -> str:
        """References cited so far, as a list under its heading; nothing where no references can be read."""
        entries = [self._library[key] for key in self._cited if key in self._library]
        if not entries:
            return ""
        lines = sorted(f"- {who} ({year}). *{title}*." for who, year, title in entries)
        return "\n".join(["## Sources of this page", "", *lines])

    @cached_property
    def _library(self) -> Mapping[str, tuple[str, str, str]]:
        """Author, year and title of each reference of the book, by key."""
        path = None if self._chapters is None else self._chapters.parent / "book" / "references.bib"
        if path is None or not path.is_file():
            return {}
        from pybtex.database import parse_file
        from pybtex.richtext import Text

        def plain(text: str) -> str:
            return html.escape(str(Text.from_latex(text)), quote=False)

        return {
            key: (
                _authors([plain(" ".join(person.last_names)) for person in entry.persons.get("author", [])]),
                entry.fields.get("year", ""),
                plain(entry.fields.get("title", "")),
            )
            for key, entry in parse_file(str(path), bib_format="bibtex").entries.items()
        }


def _authors(names: Iterable[str]) -> str:
    names = list(names)
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _named_by(key: str) -> tuple[str, str, str]:
    """Author and year out of a key such as ``martins2022sparse``."""
    match = re.match(r"([a-z]+)(\d{4})", key)
    return (match[1].capitalize(), match[2], "") if match else (key, "", "")


def _markdown_of(file: Path) -> str:
    if file.suffix != ".ipynb":
        return file.read_text(encoding="utf-8")
    cells = Notebook(file).source
    return "\n".join(cell["source"] for cell in cells if cell["kind"] == "markdown")


def _box(match: re.Match[str]) -> str:
    kind, title, body = match[2], match[3], match[4]
    if kind == "chapter-cards":  # a list, which reads as one without the book
        return body
    if kind not in _BOXES:
        return ""
    lines = body.splitlines()
    options = [line for line in lines if re.match(r":\w+:", line)]
    text = "\n".join(line for line in lines if line not in options).strip()
    title = title or kind.capitalize()
    if kind == "dropdown" or any("dropdown" in line for line in options):
        return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"
    return f"> **{title}**\n>\n" + "\n".join(f"> {line}" for line in text.splitlines())
