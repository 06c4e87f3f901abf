"""Laws of a page: everything that it needs is beside it, and every link inside the book leads somewhere."""

import base64

import pytest

from audioattn_lib.automation import pages
from audioattn_lib.automation.pages import check_pages


@pytest.fixture
def built(tmp_path):
    def build(body, name="page"):
        (tmp_path / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
        return check_pages(tmp_path, [name])

    return build


GOOD = """
<script src="data:text/javascript,1"></script><img src="data:image/png;base64,AA" alt="A picture">
<h2 id="here">x</h2><a href="#here">in the page</a><a href="https://example.org/x">elsewhere</a>
<a href="mailto:a@example.org">mail</a><style>p { background: url(data:image/png;base64,AA) }</style>
<script>const text = "Traceback (most recent call last)"; fetch_later("https://example.org")</script>
<img src="" aria-hidden="true"><p>A traceback is a list of calls.</p>
"""


def test_a_page_that_stands_alone_has_no_problem(built):
    assert built(GOOD) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<script src="https://cdn.example.org/a.js"></script>', "a.js, which is not beside the page"),
        ('<img src="//example.org/a.png" alt="x">', "needs //example.org/a.png"),
        ('<link rel="stylesheet" href="http://example.org/a.css">', "needs http://example.org/a.css"),
        ('<link rel="stylesheet" href="missing.css">', "needs missing.css, which does not exist"),
        ("<style>@import 'https://example.org/a.css'</style>", "needs https://example.org/a.css"),
        ('<p style="background: url(https://example.org/a.png)">', "needs https://example.org/a.png"),
        ('<img srcset="a.png 1x, https://example.org/b.png 2x" alt="x">', "needs https://example.org/b.png"),
        ('<img src="data:image/png;base64,AA">', "1 picture(s) without a description"),
        ('<a href="other.html">x</a>', "link to other.html, which does not exist"),
        ('<a href="#there">x</a>', "link to #there, which has no such anchor"),
        ("<pre>Traceback (most recent call last)</pre>", "shows a traceback"),
        ('<div class="output traceback highlight">E</div>', "shows a traceback"),
        ('<iframe srcdoc="&lt;script src=&quot;https://example.org/a.js&quot;&gt;"></iframe>', "needs https://example.org/a.js"),
        ('<iframe srcdoc="&lt;img src=&quot;data:,&quot;&gt;"></iframe>', "without a description"),
    ],
)  # fmt: skip
def test_each_problem_is_named_with_its_page(built, body, problem):
    problems = built(body)
    assert any(line.startswith("page: ") and problem in line for line in problems), problems


def test_links_are_followed_to_pages_and_anchors(built, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.html").write_text('<h1 id="top">x</h1>')
    assert built('<a href="sub/other.html#top">x</a>') == []
    assert built('<a href="sub/other.html#bottom">x</a>') == [
        "page: link to sub/other.html#bottom, which has no such anchor"
    ]


def test_sizes_have_limits(built, tmp_path, monkeypatch):
    sound = base64.b64encode(bytes(pages.LARGEST_CLIP)).decode()
    assert built(f'<audio src="data:audio/mpeg;base64,{sound}"></audio>') == []
    sound = base64.b64encode(bytes(pages.LARGEST_CLIP + 3)).decode()
    assert "a sound of 100 KB" in built(f'<audio src="data:audio/mpeg;base64,{sound}"></audio>')[0]
    (tmp_path / "a.png").write_bytes(bytes(pages.LARGEST_PAGE))
    assert "2.0 MB with its pictures" in built('<img src="a.png" alt="x"><img src="a.png" alt="x">')[0]


def test_a_missing_page_and_an_outside_font_are_named(tmp_path):
    (tmp_path / "style.css").write_text("@font-face { src: url('https://fonts.example.org/a.woff2') }")
    assert check_pages(tmp_path, ["page"]) == [
        "page: the page is missing",
        "style.css: needs https://fonts.example.org/a.woff2, which is not beside the page",
    ]
