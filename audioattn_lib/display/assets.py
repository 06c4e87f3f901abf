"""Style sheets and scripts that the pictures and players bring with them.

Every output brings what it needs, so it works alone: in a cell, in a saved
page, from ``file://``. A script that finds itself already loaded only starts
the new players; one that finds another version takes its place.
"""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources

__all__ = ["module_text", "script_tag", "style_tag", "style_text"]


def style_tag(name: str) -> str:
    """The style sheet ``assets/<name>.css`` as an element."""
    return _tag("style", f"{name}.css")


def script_tag(name: str) -> str:
    """The script ``assets/<name>.js`` as an element, after ``awaken.js``, with which it starts its players."""
    return _tag("script", "awaken.js", f"{name}.js")


def style_text(*names: str) -> str:
    """Several style sheets, one after the other."""
    return "\n".join(_text(f"{name}.css") for name in names)


def module_text(*names: str) -> str:
    """Several scripts, one after the other: a module whose last one exports what the module is for."""
    return "\n".join(_text(f"{name}.js") for name in names)


@functools.cache
def _text(file: str) -> str:
    text = resources.files(__package__).joinpath("assets", file).read_text(encoding="utf-8")
    # Comments and indentation are for whoever reads the source, not for every page.
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = text.replace("@VERSION@", hashlib.sha256(text.encode()).hexdigest()[:8])
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@functools.cache
def _tag(kind: str, *files: str) -> str:
    text = "\n".join(map(_text, files))
    stamp = f"{files[-1]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f'<{kind} data-audioattn="{stamp}">{text}</{kind}>'
