"""Checks of built pages: whole, self-contained, without a broken link or a traceback.

Book page: architecture.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["LARGEST_CLIP", "LARGEST_PAGE", "check_pages"]

LARGEST_PAGE: Final = 2_000_000
"""Bytes of a page with the pictures and sounds that it shows."""
LARGEST_CLIP: Final = 100_000
"""Bytes of one sound in a page."""

_LOADED: Final = {
    "script": "src",
    "img": "src",
    "source": "src",
    "audio": "src",
    "video": "src",
    "iframe": "src",
    "embed": "src",
    "object": "data",
    "input": "src",
}
"""Attributes with an address that a browser loads by itself."""
_LOADED_LINKS: Final = {"stylesheet", "icon", "shortcut icon", "preload", "modulepreload", "prefetch", "preconnect"}
_CSS_ADDRESS: Final = re.compile(r"url\(\s*['\"]?(?P<address>[^'\")]+)|@import\s+['\"](?P<imported>[^'\"]+)")
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\)")


@dataclass
class _Page(HTMLParser):
    """Parser of an HTML page: resources that it loads, links and anchors."""

    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    styles: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    without_alt: int = 0
    failed: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        address = attributes.get(_LOADED.get(tag, ""), "")
        if tag == "link" and attributes.get("rel", "").lower() in _LOADED_LINKS:
            address = attributes.get("href", "")
        if address:
            self.loads.append(address)
        for candidate in attributes.get("srcset", "").split(","):
            if candidate.strip():
                self.loads.append(candidate.split()[0])
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img" and not attributes.get("alt", "").strip() and attributes.get("aria-hidden") != "true":
            self.without_alt += attributes.get("role") != "presentation"
        if attributes.get("style"):
            self.styles.append(attributes["style"])
        if tag == "iframe" and attributes.get("srcdoc"):
            self.frames.append(attributes["srcdoc"])
        self.failed |= "traceback" in attributes.get("class", "").split()
        self._inside = [tag] if tag in ("style", "script") else []

    def handle_data(self, data: str) -> None:
        if self._inside == ["style"]:
            self.styles.append(data)
        elif not self._inside:
            self.failed |= bool(_TRACEBACK.search(data))

    def handle_endtag(self, tag: str) -> None:
        self._inside = []

    @property
    def asked(self) -> Iterator[str]:
        """Every address that the page asks for by itself."""
        yield from self.loads
        for style in self.styles:
            yield from _addresses(style)


def check_pages(folder: str | Path, documents: Iterable[str]) -> list[str]:
    """Check the pages of a built book.

    Parameters
    ----------
    folder
        Folder of the built book.
    documents
        Pages that must be there, without ending, relative to ``folder``.

    Returns
    -------
    list of str
        One line a problem, with the page; empty when there is none. A problem
        is: a page that is missing, a traceback, a link or anchor inside the
        book that leads nowhere, a picture, script, style, font or sound that
        is not beside the page, a picture without description, a page over
        :data:`LARGEST_PAGE` or a sound over :data:`LARGEST_CLIP`. Links that
        a reader may follow to other sites are no problem.

    Notes
    -----
    Book page: architecture.
    """
    root = Path(folder).resolve()
    problems: list[str] = []

    @cache
    def parsed(path: Path) -> _Page:
        return _parse(path.read_text(encoding="utf-8"))

    for document in documents:
        path = root / f"{document}.html"
        if not path.is_file():
            problems.append(f"{document}: the page is missing")
            continue
        page = parsed(path)
        page_problems = list(_problems_of(page, path.parent, root))
        for link in page.links:
            target, anchor = _target(link, path)
            if target is None:
                continue
            if not target.exists():
                page_problems.append(f"link to {link}, which does not exist")
            elif anchor and target.suffix == ".html" and anchor not in parsed(target).anchors:
                page_problems.append(f"link to {link}, which has no such anchor")
        media = {(path.parent / _path(address)).resolve() for address in _media(page)}
        size = sum(file.stat().st_size for file in (path, *media) if file.is_file())
        if size > LARGEST_PAGE:
            page_problems.append(
                f"{size / 1e6:.1f} MB with its pictures and sounds; at most {LARGEST_PAGE / 1e6:.0f} MB"
            )
        problems += [f"{document}: {problem}" for problem in dict.fromkeys(page_problems)]
    problems += [f"{problem}" for problem in _outside_in_styles(root)]
    return problems


def _parse(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    page.close()
    return page


def _problems_of(page: _Page, folder: Path, root: Path) -> Iterator[str]:
    if page.failed:
        yield "shows a traceback"
    if page.without_alt:
        yield f"{page.without_alt} picture(s) without a description (alt)"
    for address in page.asked:
        if address.startswith("data:audio"):
            size = _decoded_size(address)
            if size > LARGEST_CLIP:
                yield f"a sound of {size / 1e3:.0f} KB; at most {LARGEST_CLIP / 1e3:.0f} KB"
        elif _is_outside(address):
            yield f"needs {address[:120]}, which is not beside the page"
        elif _is_file(address) and not (folder / _path(address)).resolve().exists():
            yield f"needs {address}, which does not exist"
    for frame in page.frames:
        yield from _problems_of(_parse(frame), folder, root)


def _media(page: _Page) -> Iterator[str]:
    """Pictures and sounds in files of their own."""
    for address in page.loads:
        if _is_file(address) and not address.split("?")[0].endswith((".js", ".css", ".html")):
            yield address
    for frame in page.frames:
        yield from _media(_parse(frame))


def _outside_in_styles(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.css")):
        for address in _addresses(path.read_text(encoding="utf-8", errors="replace")):
            if _is_outside(address):
                yield f"{path.relative_to(root)}: needs {address[:120]}, which is not beside the page"


def _addresses(style: str) -> Iterator[str]:
    for match in _CSS_ADDRESS.finditer(style):
        yield match["address"] or match["imported"]


def _is_outside(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp", "ws", "wss")


def _is_file(address: str) -> bool:
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc and bool(parts.path)


def _path(address: str) -> str:
    return unquote(urlsplit(address).path)


def _target(link: str, page: Path) -> tuple[Path | None, str]:
    """File and anchor that a link inside the book leads to; no file for a link to elsewhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None, ""
    if not parts.path:
        return page, unquote(parts.fragment)
    return (page.parent / unquote(parts.path)).resolve(), unquote(parts.fragment)


def _decoded_size(address: str) -> int:
    content = address.partition(",")[2]
    if ";base64" in address[:80]:
        return len(base64.b64decode(content + "=" * (-len(content) % 4)))
    return len(unquote(content))
