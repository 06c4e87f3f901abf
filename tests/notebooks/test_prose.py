"""Numbers in the prose of the chapters come from the runs of the page, or have their source beside them.

A decimal or a percentage that somebody typed is true of one run on one day; the page shows other runs the next day. So
the prose of a chapter has none, save beside a source: a citation, a link, or the command that makes the number.
"""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = ("urban_sound", "sleepiness", "accents", "scenes_and_instruments", "playback")
PAGES = (*CHAPTERS, "comparison", "urban_sound_results", "sleepiness_results", "accents_results", "index")
PAGES += ("bring_your_own_model",)
_NUMBER = re.compile(r"(?<![\w.,/])[-+−]?(?:\d*\.?\d+\s?%|\d*\.\d+)(?![\w/]|\.\d)")
_CODE = re.compile(r"`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
_SOURCE = re.compile(r"\{footcite|\]\([^)]+\)|https?://|audioattn (?:run|sweep|train)")
_GIVEN = re.compile(r"95 %\s+intervals?|[\d.]+ (?:ms|k?Hz)\b|Python [\d.]+")
"""Settings, which are not measured: the level of an interval, hops and rates, versions."""


def typed_numbers(markdown: str) -> list[str]:
    """Decimals and percentages of prose without a source beside them."""
    blocks = re.split(r"\n\s*\n", markdown)
    results = []
    for number, block in enumerate(blocks):
        beside = "\n\n".join(blocks[max(number - 1, 0) : number + 2])
        if block.lstrip().startswith("```") or _SOURCE.search(beside):
            continue
        results += _NUMBER.findall(_GIVEN.sub("", _CODE.sub("", block)))
    return results


@pytest.mark.parametrize("page", PAGES)
def test_no_number_of_the_prose_was_typed(page):
    cells = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    results = {text.splitlines()[0]: numbers for text in prose if (numbers := typed_numbers(text))}
    assert not results, "substitute numbers from the runs of the page, or name their source in the same paragraph"


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_begins_with_its_findings_and_has_a_drawing_and_its_paper(page):
    cells = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert f"findings(*{page}.findings(study))" in code[2], "the box comes first, behind parameters and study"
    assert any(f'network_diagram("{page}")' in text for text in code)
    assert any(f'published.papers("{page}"' in text for text in code)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It names 75.9 % of the clips.", ["75.9 %"]),
        ("A correlation of .56, and -0.12 without.", [".56", "-0.12"]),
        ("It names 41 % of the clips.", ["41 %"]),
        ("With $\\alpha = 1.5$ and `top_db=40.0`, eight mechanisms and 95 % intervals.", []),
        ("The paper has .311 {footcite:p}`one2020`.", []),
        ("Made by `audioattn sweep a.yml`:\n\n| a | b |\n|---|---|\n| 1.5 | 2.5 |", []),
        ("In section 3.2.1 of version 1.0.4 nothing was found.", []),
    ],
)
def test_typed_numbers_are_found(text, numbers):
    assert typed_numbers(text) == numbers
