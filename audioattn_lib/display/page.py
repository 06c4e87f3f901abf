"""Standalone HTML pages."""

from __future__ import annotations

import html
from pathlib import Path

from audioattn_lib.core.files import write_text

__all__ = ["page", "save_page"]

# Nothing may be asked of any network, not even by a mistake of ours.
_POLICY = (
    "default-src 'none'; img-src data:; media-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


def page(body: str, title: str, *, has_frames: bool = False) -> str:
    """Make a complete page that follows the system's theme and loads nothing from a network.

    Parameters
    ----------
    body
        HTML to show, taken as it is.
    title
        Title of the page, taken as text.
    has_frames
        Let it open pages that lie beside it in frames.
    """
    policy = f"{_POLICY}; frame-src 'self' file:" if has_frames else _POLICY
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{html.escape(title)}</title>
<style>
:root {{ color-scheme: light; }}
html[data-theme="dark"] {{ color-scheme: dark; }}
body {{
  margin: 0 auto; max-width: 52rem; padding: 1rem; background: #ffffff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}}
html[data-theme="dark"] body {{ background: #14181e; color: #e3e8ee; }}
</style>
<script>
(() => {{
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
follow();
dark.addEventListener("change", follow);
}})();
</script>
</head>
<body>
{body}
</body>
</html>
"""


def save_page(path: str | Path, body: str, title: str, *, has_frames: bool = False) -> Path:
    """Write a page that opens from a disk without a network, whole or not at all, and return its path.

    Parameters
    ----------
    path
        File to write; its folder is made when missing.
    body, title, has_frames
        See :func:`page`.
    """
    write_text(path, page(body, title, has_frames=has_frames))
    return Path(path)
