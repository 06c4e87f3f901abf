"""The page of a recording: an overview that holds no sound, and parts that are loaded when they are chosen."""

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import LabelledSegment
from audioattn_lib.inference.listening import Listening, Prediction
from audioattn_lib.inference.recording_page import cut_record
from audioattn_lib.inference.sources import as_source

RATE, SECONDS = 8000, 130


@pytest.fixture(scope="module")
def heard():
    """A recording that is attended to from 50 to 60 s, where a siren sounds."""
    times = np.arange(RATE * SECONDS) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 900 * times) * ((times >= 50) & (times < 60))
    sound += 0.01 * np.random.default_rng(0).standard_normal(len(times))
    weights = np.zeros(SECONDS * 10)
    weights[500:600] = 0.01
    record = AttentionRecord.from_weights(weights, FrameClock(0.1), durations=[SECONDS], mechanism="sparsemax")
    starts = np.arange(0, SECONDS, 2.0)
    siren = ((starts >= 50) & (starts < 60)).astype(float)
    timeline = pd.DataFrame({"start": starts, "stop": starts + 2, "siren": siren, "rain": 1 - siren})
    answer = Prediction("rain", {"siren": 0.08, "rain": 0.92})
    events = (LabelledSegment("sound", "siren", 50.0, 60.0),)
    return Listening(as_source(sound, RATE), RATE, answer, record, None, timeline, events)


@pytest.fixture(scope="module")
def page(heard, tmp_path_factory):
    return heard.save(tmp_path_factory.mktemp("page") / "street.html")


def test_the_overview_holds_no_sound_and_every_part_has_some(page):
    assert "audio/mpeg" not in page.read_text()
    parts = sorted(page.with_name("street_parts").iterdir())
    assert [page.name for page in parts] == [f"{number:04}.html" for number in range(7)]
    assert all("audio/mpeg" in page.read_text() for page in parts)
    assert f"{page.stem}_parts/0006.html" in page.read_text()


def test_a_part_has_the_attention_and_the_events_of_its_time(heard, page):
    inside, outside = (page.with_name("street_parts") / name for name in ("0002.html", "0005.html"))
    assert "siren" in inside.read_text()
    assert "sparsemax" in inside.read_text().lower()
    assert "siren" not in outside.read_text()
    assert cut_record(heard.record, 0.0, 40.0).is_empty
    excerpt = cut_record(heard.record, 40.0, 60.0)
    assert excerpt.support() == [(10.0, 20.0)]
    assert excerpt.frame_attention().sum() == pytest.approx(1)


def test_segments_are_cut_at_the_ends_of_a_part():
    record = AttentionRecord("slots", FrameClock(0.1), n_frames=np.array([100]), segments=np.array([[[1, 3], [6, 9]]]))
    excerpt = cut_record(record, 2.0, 7.0)
    np.testing.assert_allclose(excerpt.segments, [[[0, 1], [4, 5]]])
    assert cut_record(record, 4.0, 5.0).is_empty


@pytest.mark.browser
def test_a_click_opens_the_part_at_that_time_and_zoom_keeps_the_time_in_place(page, browser):
    tab = browser.new_page(viewport={"width": 900, "height": 900})
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(page.as_uri())
    assert len(tab.frames) == 1
    width = tab.evaluate("document.querySelector('.aa-strip').clientWidth")
    tab.locator(".aa-strip").click(position={"x": width * 55 / SECONDS, "y": 40})
    player = tab.frame_locator("iframe").locator(".aa-player.aa-awake")
    player.wait_for(timeout=10_000)
    assert tab.frames[-1].url.endswith("street_parts/0002.html")
    tab.locator("button", has_text="Next part").click()
    tab.wait_for_function("document.querySelector('iframe').src.endsWith('0003.html')")
    seconds = (
        "() => { const s = document.querySelector('.aa-scroll'), t = document.querySelector('.aa-strip');"
        "return 130 * (s.scrollLeft + s.clientWidth / 2) / t.clientWidth; }"
    )
    before = tab.evaluate(seconds)
    tab.evaluate(
        "const scroll = document.querySelector('.aa-scroll');"
        "document.querySelector('.aa-overview').audioattn.zoomTo(4, scroll.clientWidth / 2)"
    )
    assert tab.evaluate("document.querySelector('.aa-strip').clientWidth") == pytest.approx(16 * width, rel=0.01)
    assert tab.evaluate(seconds) == pytest.approx(before, abs=0.2)
    assert not complaints
    tab.close()
