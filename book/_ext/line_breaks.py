"""Lines of a page break where a reader expects it, and a minus is a minus.

In code a short name stays on one line: an option is not parted behind its dashes, a field not before its last letter. A
long one would be wider than a phone: it breaks behind a dot, a line or a slash, and elsewhere only where that is not
enough. In text a number keeps its unit, a date and a name such as 1.5-entmax their parts, a formula and a short name of
code the sign behind them; a short name of a row of a table stays whole. Code has its own characters, so that it can be
copied.
"""

from __future__ import annotations

import html
import re
from typing import Any

from page_bodies import change_bodies
from sphinx.application import Sphinx

WHOLE = "aa-whole"
"""Class of what stays on one line; the style sheet knows it."""
LONGEST = 22
"""Letters of a word of code that is not broken."""
LONGEST_ROW_NAME = 16
"""Letters of the name of a row of a table that is not broken."""

_CODE = re.compile(r'<code class="[^"]*\bliteral\b[^"]*"[^>]*>.*?</code>', re.DOTALL)
_WORD = re.compile(r'<span class="pre">([^<\s]+)</span>')
_JOINT = re.compile(r"(?<=[^\W_])((?:&amp;|[_/=,]|\.(?!\d))+)(?=\w)|(?<=[a-z])(?=[A-Z])")
_OPTION = re.compile(r"^--\w+")
_NAME = re.compile(r'((?:<a [^>]*>)?<code [^>]*><span class="pre aa-whole">[^<]*</span></code>(?:</a>)?)([,.;:!?)\]]+)')
_FORMULA = re.compile(r'([(\[]?)(<span class="math notranslate nohighlight">[^<]*</span>)([,.;:!?)\]]*)')

_ROW_NAME = re.compile(rf"(<tr>\s*)<th>([^<]{{1,{LONGEST_ROW_NAME}}})</th>(?=\s*<td)")
_NOT_TEXT = re.compile(
    r"<(script|style|pre|code|svg|textarea|select|button)\b.*?</\1>|<(span|div) class=\"math\b[^>]*>.*?</\2>|<[^>]*>",
    re.DOTALL,
)
_UNIT = re.compile(r"(?<=\d)[ \n](?=(?:%|ms|µs|s|h|Hz|kHz|dB|MB|GB|×|points?|hertz|seconds?|minutes?|hours?)(?![\w-]))")
_TIMES = re.compile(r"(?<=\d) [x×][ \n](?=\d)")
_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\d)")
_PARTED = re.compile(r"\b(?:\d{4}-\d\d-\d\d|[\d.]+e[-−]\d+|[\d./]+-entmax)\b")


def break_well(body: str) -> str:
    """Say where the lines of a page may break: in code, behind formulas, and in its text."""
    body = _CODE.sub(lambda code: _WORD.sub(_short, code[0]), body)
    body = _WORD.sub(_at_joints, body)  # what is left are long words, and those of signatures
    body = _NAME.sub(rf'<span class="{WHOLE}">\1\2</span>', body)
    body = _FORMULA.sub(_with_signs, body)
    body = _ROW_NAME.sub(rf'\1<th class="{WHOLE}">\2</th>', body)
    parts, end = [], 0
    for tag in _NOT_TEXT.finditer(body):
        parts += [_in_text(body[end : tag.start()]), tag[0]]
        end = tag.end()
    return "".join([*parts, _in_text(body[end:])])


def _is_short(word: str) -> bool:
    return len(html.unescape(word)) <= LONGEST


def _short(word: re.Match[str]) -> str:
    return f'<span class="pre {WHOLE}">{word[1]}</span>' if _is_short(word[1]) else word[0]


def _at_joints(word: re.Match[str]) -> str:
    if _is_short(word[1]):
        return word[0]
    parts = _OPTION.sub(rf'<span class="{WHOLE}">\g<0></span>', _JOINT.sub(r"\1<wbr>", word[1]))
    return f'<span class="pre">{parts}</span>'


def _with_signs(formula: re.Match[str]) -> str:
    return f'<span class="{WHOLE}">{formula[0]}</span>' if formula[1] or formula[3] else formula[0]


def _in_text(text: str) -> str:
    if not any(letter.isdigit() for letter in text):
        return text
    text = _TIMES.sub("\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}", text)
    text = _UNIT.sub("\N{NO-BREAK SPACE}", text)
    text = _MINUS.sub("\N{MINUS SIGN}", text)
    return _PARTED.sub(rf'<span class="{WHOLE}">\g<0></span>', text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    return change_bodies(app, break_well)
