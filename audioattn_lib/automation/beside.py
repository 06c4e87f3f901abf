"""Content of built pages that is loaded when it is wanted, or downloaded: in files beside the page.

An executed notebook holds such content as ``data:`` addresses and stands alone. A page of the book would be read whole
before anything is shown.

Book page: architecture.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from pathlib import Path
from typing import Final

from audioattn_lib.core.files import write_whole

__all__ = ["put_beside"]

_ADDRESS: Final = re.compile(r"data:text/(javascript|csv);base64,([A-Za-z0-9+/]+=*)")
_ENDINGS: Final = {"javascript": ".js", "csv": ".csv"}


def put_beside(markup: str, folder: str | Path) -> str:
    """Write scripts and tables in ``data:`` addresses of a page into files, and return the page with their addresses.

    Parameters
    ----------
    markup
        HTML.
    folder
        Where to write, beside the page: the addresses are relative to its parent. It holds what this page needs and
        nothing else afterwards.

    Notes
    -----
    A file is named by its content, so equal content is one file. Book page: architecture.
    """
    folder = Path(folder)
    written: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        try:
            content = base64.b64decode(match[2], validate=True)
        except binascii.Error:
            return match[0]
        name = hashlib.sha256(content).hexdigest()[:16] + _ENDINGS[match[1]]
        if name not in written and not (folder / name).is_file():
            with write_whole(folder / name, durable=False) as temporary:
                temporary.write_bytes(content)
        written.add(name)
        return f"{folder.name}/{name}"

    page = _ADDRESS.sub(replace, markup)
    if folder.is_dir():
        for left in folder.iterdir():
            if left.name not in written:
                left.unlink()
        if not written:
            folder.rmdir()
    return page
