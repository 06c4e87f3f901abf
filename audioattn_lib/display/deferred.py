"""Content of a page that is loaded when it is wanted: a script, which a page from a disk may load too.

A page holds the address of the script alone. In a notebook the address is the script itself (``data:``); the build of
the book puts such scripts, and tables to download, into files beside the page
(:func:`audioattn_lib.automation.beside.put_beside`).
"""

from __future__ import annotations

import base64
import gzip
import json

__all__ = ["csv_address", "packed", "script_address"]


def script_address(content: str) -> str:
    """Address of a script that hands ``content`` over, in the property ``audioattnContent`` of its element."""
    # no markup of the content may end the element of a page that holds the script itself
    text = f"document.currentScript.audioattnContent = {json.dumps(content)};\n".replace("</", "<\\/")
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def packed(content: bytes) -> str:
    """Bytes as text, compressed (gzip, then base64)."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def csv_address(text: str) -> str:
    """Address of a table in CSV."""
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"
