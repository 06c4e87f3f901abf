"""Figures with a light and a dark theme, alternative text and a caption.

The book's reader switches between a light and a dark page at will, so each
picture is rendered once for either and a few lines of CSS show the right one.
Compared with one picture in middling greys this keeps full contrast in both;
as WebP of few colours the two together are smaller than the one PNG that Matplotlib writes.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from audioattn_lib.core.files import write_whole

from .assets import style_tag
from .deferred import csv_address
from .drawn import drawn_values
from .style import DARK, LIGHT, THEMES, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure
    from PIL.Image import Image

__all__ = ["Figure", "for_files", "render"]

Drawing = Callable[[Theme], "MatplotlibFigure"]
PIXELS_PER_INCH = 180  # about two device pixels for each CSS pixel of a book page
PAGE_PIXELS_PER_INCH = 105  # at which a picture as wide as a page fills it, and its text is as large as it was drawn
FORMATS = (".webp", ".png", ".svg", ".pdf")
_themes: ContextVar[tuple[Theme, ...]] = ContextVar("themes", default=THEMES)


@contextmanager
def for_files() -> Iterator[None]:
    """Draw the figures of this block when they are saved, in that theme alone; on a page they show nothing.

    A picture for a page is drawn in every theme when it is made; files by the hundred need a third of that.
    """
    token = _themes.set(())
    try:
        yield
    finally:
        _themes.reset(token)


@dataclass(frozen=True, repr=False)
class Figure:
    """A rendered picture with alternative text.

    In a notebook it shows itself; elsewhere use :meth:`html` or :meth:`save`.

    Parameters
    ----------
    images
        The picture as WebP for ``"light"`` and ``"dark"`` pages; empty where there is nothing to draw, and then the
        words of ``alt`` stand in its place.
    alt
        What the picture shows, in words, for those who do not see it.
    caption
        Text below the picture.
    draw
        Draws the picture anew in a theme; used for files of other formats.
    narrow
        The same picture for a phone, as ``images``; empty where one picture does for both.
    data
        What is drawn, as CSV for the reader to take; empty where nothing has a number.
    """

    images: Mapping[str, bytes]
    alt: str
    caption: str = ""
    draw: Drawing | None = field(default=None, compare=False)
    narrow: Mapping[str, bytes] = field(default_factory=dict)
    data: str = field(default="", compare=False)

    def html(self) -> str:
        """Return the picture as self-contained HTML."""
        if not self.images:
            return f'{style_tag("figure")}<p class="audioattn aa-missing mathjax_ignore">{html.escape(self.alt)}</p>'
        from PIL import Image

        width = Image.open(io.BytesIO(self.images[LIGHT.name])).width / PIXELS_PER_INCH * PAGE_PIXELS_PER_INCH
        data = f' <a class="aa-data" download="figure.csv" href="{csv_address(self.data)}">Data (CSV)</a>'
        content = html.escape(self.caption) + (data if self.data else "")
        caption = f"<figcaption>{content}</figcaption>" if content else ""
        wide = " aa-wide" if self.narrow else ""
        small = f'<div class="aa-narrow">{themed_images(self.narrow, self.alt)}</div>' if self.narrow else ""
        return (
            f'{style_tag("figure")}<figure class="audioattn aa-figure mathjax_ignore">'
            f'<div class="aa-scroll{wide}" style="max-width:{width:.0f}px;--aa-width:{width:.0f}px">'
            f"{themed_images(self.images, self.alt)}</div>{small}"
            f"{caption}</figure>"
        )

    def save(self, path: str | Path, theme: str = "light") -> Path:
        """Write the picture to a ``.webp``, ``.png``, ``.svg`` or ``.pdf`` file and return its path.

        Parameters
        ----------
        path
            File to write; its folder is made when missing.
        theme
            ``"light"`` or ``"dark"``.
        """
        if not self.images and self.draw is None:
            raise ValueError(f"{path}: there is no picture to write. {self.alt}")
        path = Path(path)
        selected = {each.name: each for each in THEMES}.get(theme)
        if selected is None:
            raise ValueError(f'theme is {theme!r}; it must be "light" or "dark"')
        if path.suffix.lower() not in FORMATS:
            raise ValueError(f"{path}: figures are written as {', '.join(FORMATS)}; choose one of these endings")
        with write_whole(path) as temporary:
            if self.draw is None or (path.suffix.lower() == ".webp" and theme in self.images):
                temporary.write_bytes(self.images[theme])
                return path
            if path.suffix.lower() == ".webp":
                temporary.write_bytes(_draw(self.draw, selected))
                return path
            import matplotlib

            with matplotlib.rc_context(selected.settings):
                # The file may be opened on any background, so it brings its own.
                self.draw(selected).savefig(temporary, dpi=PIXELS_PER_INCH, facecolor=selected.page)
        return path

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


def render(draw: Drawing, alt: str, caption: str = "", *, narrow: Drawing | None = None) -> Figure:
    """Draw a picture in every theme.

    Parameters
    ----------
    draw
        Takes a :class:`~audioattn_lib.display.style.Theme` and returns a
        Matplotlib figure that was made without ``pyplot`` (so nothing stays open).
    alt
        What the picture shows, in words; not empty.
    caption
        Text below the picture.
    narrow
        Draws the same for a phone, 3.5 inches wide; without it the picture scrolls there.
    """
    if not alt.strip():
        raise ValueError("alt is empty; say in words what the picture shows")
    small = {} if narrow is None else {theme.name: _draw(narrow, theme) for theme in _themes.get()}
    data: list[str] = []
    images = {theme.name: _draw(draw, theme, data) for theme in _themes.get()}
    return Figure(images, alt, caption, draw, small, data[0] if data else "")


def _draw(draw: Drawing, theme: Theme, data: list[str] | None = None) -> bytes:
    """A drawing in one theme, as WebP; what it draws as CSV goes into an empty list."""
    import matplotlib
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    with matplotlib.rc_context(theme.settings):
        figure = draw(theme)
        figure.set_dpi(PIXELS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        if data is not None and not data:
            data.append(drawn_values(figure))
        return encode(Image.fromarray(np.asarray(canvas.buffer_rgba())))


def encode(image: Image) -> bytes:
    """A drawing as lossless WebP of at most 256 colours.

    Noise in a spectrogram is what costs; fewer shades of blue, which no eye
    tells apart, make it three times smaller than all of them would.
    """
    from PIL import Image as Images

    buffer = io.BytesIO()
    few = image.quantize(256, method=Images.Quantize.FASTOCTREE).convert("RGBA")
    few.save(buffer, "WEBP", lossless=True, quality=60, method=4)
    return buffer.getvalue()


def themed_images(images: Mapping[str, bytes], alt: str) -> str:
    """Both renderings as ``img`` elements of which the style sheet shows one.

    Without the style sheet (a notebook that is not trusted) only the light one
    shows, on a background of its own.
    """
    text = html.escape(alt, quote=True)
    parts = []
    for theme, extra in ((LIGHT, f'style="background-color:{LIGHT.page}"'), (DARK, 'style="display:none"')):
        data = base64.b64encode(images[theme.name]).decode()
        parts.append(
            f'<img class="aa-{theme.name} dark-light" alt="{text}" {extra} src="data:image/webp;base64,{data}">'
        )
    return "".join(parts)
