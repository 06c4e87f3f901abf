"""The player in a real browser, from a file, without a network."""

import re

import numpy as np
import pytest

from audioattn_lib.attention.record.density import Density
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.display import player, scrubber
from audioattn_lib.display.assets import script_tag
from audioattn_lib.display.page import page as whole_page
from audioattn_lib.display.players.player import attention_of
from audioattn_lib.display.players.sound import attended_cells

pytestmark = pytest.mark.browser

PASSED = "player.graph.master.context.currentTime - player.graph.since"

RATE = 16000
SECONDS = 4.0
TONE = (1.0, 2.6)
CLOCK = FrameClock(0.01, -0.005)
FRAMES = 401
PLAYER = "document.querySelectorAll('.aa-player')[{}].audioattn"


def _record(mechanism: str, **fields) -> AttentionRecord:
    return AttentionRecord(mechanism, CLOCK, ("street",), np.array([FRAMES]), **fields)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of two players: one with two mechanisms, both of which attend to the tone, and one with one."""
    times = np.arange(round(SECONDS * RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times) * ((times >= TONE[0]) & (times < TONE[1]))
    sound = tone + 0.02 * np.random.default_rng(0).standard_normal(len(times))
    features = np.random.default_rng(1).normal(-60, 4, (FRAMES, 40))
    features[100:260, 15:18] = -5
    centres = CLOCK.centres(FRAMES)
    inside = ((centres >= TONE[0]) & (centres < TONE[1])).astype(float)
    records = {
        "Sparsemax": _record("sparsemax", weights=(inside / inside.sum())[None, None]),
        "Parabola": _record("parabola", density=Density(*(np.array([[v]]) for v in (1.25, 0.01, 2.0, 1.0)))),
    }
    options = {"features": features, "clock": CLOCK, "frequencies": np.geomspace(60, 7800, 40)}
    events = [("beep", *TONE), ("a very long name of a sound", 3.7, 3.9)]
    first = player(sound, RATE, records=records, events=events, title="Two mechanisms", **options)
    second = player(sound, RATE, record=records["Parabola"], title="One mechanism", **options)
    frames = [np.full((20, 30, 3), 60 * i, dtype=np.uint8) for i in range(4)]
    slider = scrubber(frames, [1, 2, 3, 4], label="alpha", alt="A grey field", start=1)
    folder = tmp_path_factory.mktemp("pages")
    places = {
        f"{place}, {width}": _record(
            "density", density=Density(*(np.array([[v]]) for v in (place, width**2, 2.0, 1.0)))
        )
        for place in (1.0, 2.0)
        for width in (0.1, 0.2, 0.3)
    }
    sliders = {"Location (s)": [1, 2], "Width (s)": [0.1, 0.2, 0.3]}
    grid = player(sound, RATE, records=places, sliders=sliders, start=4, title="A grid", **options)
    far = _record("softmax", weights=(inside / inside.sum())[None, None])
    loud = np.random.default_rng(2).uniform(-0.9, 0.9, 45 * RATE)
    (folder / "parts.html").write_text(
        whole_page(player(loud, RATE, record=far, title="Long", **options).html(), "Long")
    )
    both = tone + 0.3 * np.sin(2 * np.pi * 3500 * times)
    cells = np.zeros((1, 1, 1, 2, 40))
    cells[..., 0, 10:26] = 1.0  # the tone of 1 kHz while it sounds
    record = AttentionRecord(
        "patches", FrameClock(0.1), ("a",), np.array([40]), maps=cells, frequencies=np.array([1000.0, 3500.0])
    )
    (folder / "cells.html").write_text(
        whole_page(player(both, RATE, record=record, cells=True, title="Cells", **options).html(), "Cells")
    )
    kept, _ = attended_cells(both, RATE, record)
    np.save(folder / "cells.npy", kept)
    (folder / "grid.html").write_text(whole_page(grid.html(), "Grid"))
    (folder / "page.html").write_text(whole_page(first.html() + second.html() + slider.html(), "Players"))
    return folder


@pytest.fixture
def opened(browser, pages):
    """Opens the page and fails on any request beyond it and on any error of a script."""
    contexts, problems = [], []

    def open_page(name="page.html", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        address = (pages / name).as_uri()

        def judge(route):
            if route.request.url == address:
                route.continue_()
            else:
                problems.append(f"request of {route.request.url}")
                route.abort()

        tab.route("**/*", judge)
        tab.goto(address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _position(tab, number=0):
    return tab.evaluate(f"parseFloat(document.querySelectorAll('.aa-playhead')[{number}].style.left)")


def _wait_until(tab, condition, number=0):
    """Asks again and again (a waiting function would need the page to allow eval)."""
    expression = f"((player) => Boolean({condition}))({PLAYER.format(number)})"
    for _ in range(300):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"never happened: {condition}")


def test_playhead_moves_while_it_plays_and_stops_at_the_end(opened):
    tab = opened()
    play = tab.get_by_role("button", name="Play").first
    assert _position(tab) == 0
    play.click()
    _wait_until(tab, "parseFloat(player.head.style.left) > 5")
    earlier = _position(tab)
    _wait_until(tab, f"parseFloat(player.head.style.left) > {earlier + 5}")
    _wait_until(tab, "parseFloat(player.clock.textContent) > 0")
    _wait_until(tab, "!player.playing && player.offset === player.duration")
    assert _position(tab) == pytest.approx(100)
    assert tab.get_by_role("button", name="Play").count() == 2
    play.click()  # and again from the start
    _wait_until(tab, "player.playing && player.graph && player.position() < 2")
    tab.get_by_role("button", name="Pause").click()
    _wait_until(tab, "!player.playing")


def test_sound_starts_where_the_picture_says(opened):
    """The decoded sound has its tone within a millisecond of where it was put."""
    tab = opened()
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, "player.whole")
    onset = tab.evaluate(
        f"(() => {{ const whole = {PLAYER.format(0)}.whole; "
        "return whole.getChannelData(0).findIndex((x) => Math.abs(x) > 0.25) / whole.sampleRate; })()"
    )
    assert onset == pytest.approx(TONE[0], abs=1e-3)


# Loudness of a stretch of each part, and how far both parts together are from the whole.
LEVELS = """
(([player, [start, stop]]) => {
  const level = (data, rate) => {
    const part = data.slice(start * rate, stop * rate);
    return Math.sqrt(part.reduce((sum, x) => sum + x * x, 0) / part.length);
  };
  const [attended, rest] = player.parts().map((buffer) => buffer.getChannelData(0));
  const whole = player.whole.getChannelData(0);
  const rate = player.whole.sampleRate;
  let apart = 0;
  for (let i = 0; i < whole.length; i++) apart = Math.max(apart, Math.abs(whole[i] - attended[i] - rest[i]));
  return { attended: level(attended, rate), rest: level(rest, rate), whole: level(whole, rate), apart };
})
"""


def _levels(tab, stretch):
    return tab.evaluate(f"({LEVELS})([{PLAYER.format(0)}, {list(stretch)}])")


def test_parts_are_honest(opened):
    tab = opened()
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, "player.whole")
    inside, outside = _levels(tab, (1.05, 1.45)), _levels(tab, (2.7, 3.9))
    assert inside["apart"] < 1e-6
    assert inside["attended"] == pytest.approx(inside["whole"], rel=1e-3)
    assert inside["rest"] < 1e-3
    assert outside["attended"] == 0
    assert outside["rest"] == pytest.approx(outside["whole"])
    tab.get_by_role("radio", name="Parabola").check(force=True)
    parabola = _levels(tab, (1.05, 1.45))
    assert parabola["apart"] < 1e-6
    assert 0 < parabola["attended"] < parabola["whole"]


# Listens to what leaves the player for a while and gives the loudest moment.
HEARD = """
(async (player) => {
  const analyser = player.graph.master.context.createAnalyser();
  player.graph.master.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  for (let i = 0; i < 8; i++) {
    await new Promise((done) => setTimeout(done, 25));
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }
  return loudest;
})
"""


@pytest.mark.parametrize(
    ("mode", "gains", "hears_tone"),
    [
        ("Play everything", [1, 1], True),
        ("Play only what it attends to", [1, 0], True),
        ("Play what it does not attend to", [0, 1], False),
    ],
)
def test_modes_change_what_is_heard(opened, mode, gains, hears_tone):
    tab = opened()
    tab.evaluate(f"{PLAYER.format(0)}.seek(1.1)")
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, "player.graph")
    tab.get_by_role("radio", name=mode).first.check(force=True)
    tab.evaluate(f"{PLAYER.format(0)}.seek(1.1)")
    _wait_until(tab, f"player.graph && player.graph.gains.every((gain, i) => gain.value === {gains}[i])")
    loudest = tab.evaluate(f"({HEARD})({PLAYER.format(0)})")
    assert (loudest > 0.3) == hears_tone
    veil = tab.locator(".aa-veil").first
    assert veil.evaluate("e => e.style.opacity || '0'") == ("0" if gains == [1, 1] else "1")


def test_a_click_on_a_way_of_listening_plays(opened):
    tab = opened()
    tab.get_by_role("radio", name="Play only what it attends to").first.click()
    _wait_until(tab, "player.playing && player.mode === 'attended' && player.graph")


def test_attention_can_be_hidden(opened):
    tab = opened()
    curves = tab.locator(".aa-curves").first
    assert curves.is_visible()
    show = tab.get_by_role("checkbox", name="Show attention").first
    show.uncheck()
    assert not curves.is_visible()
    show.check()
    assert curves.is_visible()


def test_mechanisms_can_be_switched_while_it_plays(opened):
    tab = opened()
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, "player.graph && player.position() > 0.2")
    shown = tab.locator(".aa-curves g[data-mechanism]:not([hidden])")
    assert shown.first.get_attribute("data-mechanism") == "0"
    assert "Sparsemax" in tab.locator(".aa-reading").first.inner_text()
    tab.get_by_role("radio", name="Parabola").check(force=True)
    assert shown.first.get_attribute("data-mechanism") == "1"
    assert "Parabola: mean 1.25 s" in tab.locator(".aa-reading").first.inner_text()
    _wait_until(tab, "player.playing && player.graph && player.position() > 0.2")


def test_one_player_at_a_time(opened):
    tab = opened()
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, "player.graph")
    tab.get_by_role("button", name="Play").last.click()
    _wait_until(tab, "player.graph", 1)
    assert tab.evaluate(f"{PLAYER.format(0)}.playing") is False
    _wait_until(tab, "parseFloat(player.head.style.left) > 1", 1)


def test_seeking_by_mouse_and_keyboard(opened):
    tab = opened()
    bar = tab.get_by_role("slider", name="Position in the sound").first
    box = bar.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert _position(tab) == pytest.approx(50, abs=0.5)
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20, steps=4)
    tab.mouse.up()
    assert _position(tab) == pytest.approx(25, abs=0.5)
    bar.focus()
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowRight")
    assert float(bar.get_attribute("aria-valuenow")) == pytest.approx(0.1)
    tab.keyboard.press("Shift+ArrowRight")
    assert float(bar.get_attribute("aria-valuenow")) == pytest.approx(0.6)
    tab.keyboard.press("End")
    assert _position(tab) == 100
    tab.keyboard.press("Home")
    tab.keyboard.press("Space")
    _wait_until(tab, "player.playing && player.graph")
    tab.keyboard.press("Space")
    _wait_until(tab, "!player.playing")


def test_without_javascript_picture_and_sound_remain(opened):
    tab = opened(java_script_enabled=False)
    for number in range(2):
        root = tab.locator(".aa-player").nth(number)
        image = root.locator("img.aa-light").first
        assert image.is_visible()
        assert image.bounding_box()["height"] > 100
        assert root.locator("audio").is_visible()
        assert root.locator(".aa-curves").is_visible()
        assert root.locator("button").count() == 0
    assert tab.locator(".aa-frame:visible").count() == 4


@pytest.mark.parametrize(("scheme", "shown", "hidden"), [("light", "light", "dark"), ("dark", "dark", "light")])
def test_picture_fits_the_theme(opened, scheme, shown, hidden):
    tab = opened(color_scheme=scheme)
    assert tab.locator(f"img.aa-{shown}").first.is_visible()
    assert not tab.locator(f"img.aa-{hidden}").first.is_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(opened, width):
    tab = opened(viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for name in tab.locator(".aa-name").all():
        box, stage = name.bounding_box(), tab.locator(".aa-events").first.bounding_box()
        assert box["x"] >= stage["x"] - 1
        assert box["x"] + box["width"] <= stage["x"] + stage["width"] + 1
    for control in tab.locator("button:visible, .aa-group label").all():
        assert min(control.bounding_box()[side] for side in ("width", "height")) >= 24  # WCAG 2.2, target size


def test_scrubber_shows_the_frame_of_its_slider(opened):
    tab = opened()
    slider = tab.get_by_role("slider", name="alpha")
    assert tab.locator(".aa-scrub output").inner_text() == "2"
    slider.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".aa-scrub output").inner_text() == "4"
    assert tab.locator(".aa-frame:visible").count() == 1
    assert tab.locator(".aa-frame").nth(3).is_visible()


def test_sliders_choose_a_curve_by_place_and_width(opened):
    tab = opened("grid.html")
    shown = tab.locator(".aa-curves g[data-mechanism]:not([hidden])")
    assert shown.first.get_attribute("data-mechanism") == "4"
    place, width = tab.get_by_role("slider", name="Location").first, tab.get_by_role("slider", name="Width").first
    assert (place.get_attribute("aria-valuetext"), width.get_attribute("aria-valuetext")) == ("2", "0.2")
    width.focus()
    tab.keyboard.press("ArrowRight")
    assert shown.first.get_attribute("data-mechanism") == "5"
    assert "mean 2.00 s ± 0.30 s" in tab.locator(".aa-reading").inner_text()
    place.focus()
    tab.keyboard.press("ArrowLeft")
    assert shown.first.get_attribute("data-mechanism") == "2"
    assert tab.locator(".aa-mechanisms").count() == 0
    tab.get_by_role("button", name="Play").click()
    _wait_until(tab, "player.whole")
    assert _levels(tab, (1.0, 1.2))["attended"] > 0
    assert _levels(tab, (2.0, 2.2))["attended"] == 0


def test_a_part_of_a_long_sound_tells_the_time_of_the_whole(opened):
    tab = opened("parts.html")
    tab.locator("summary").nth(1).click()
    assert tab.locator(".aa-clock").nth(1).inner_text() == "15.00 / 30.00 s"
    tab.locator(".aa-play").nth(1).click()
    _wait_until(tab, "parseFloat(player.clock.textContent) > 15.1", 1)  # drawn with the frames, so after it is heard
    tab.locator(".aa-play").nth(1).click()


def test_a_selection_is_heard_again_and_again(opened):
    tab = opened()
    tab.evaluate(f"{PLAYER.format(0)}.set('selection', [1.2, 1.6])")
    assert tab.locator(".aa-chip").first.inner_text().startswith("Loop 1.20 to 1.60 s")
    tab.get_by_role("button", name="Play").first.click()
    _wait_until(tab, f"player.graph && {PASSED} > 0.6")
    assert 1.2 <= tab.evaluate(f"{PLAYER.format(0)}.position()") <= 1.6
    tab.locator(".aa-chip").first.click()
    _wait_until(tab, "player.selection === null && player.position() > 1.7")


def test_keyboard_and_mouse_select(opened):
    tab = opened()
    bar = tab.get_by_role("slider", name="Position in the sound").first
    box = bar.bounding_box()
    tab.keyboard.down("Shift")
    tab.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20, steps=3)
    tab.mouse.up()
    tab.keyboard.up("Shift")
    state = tab.evaluate(f"{PLAYER.format(0)}.state()")
    assert state["selection"] == pytest.approx([1.0, 2.0], abs=0.02)
    bar.focus()
    tab.keyboard.press("Escape")
    tab.keyboard.press("Home")
    tab.keyboard.press("PageUp")
    tab.keyboard.press("]")
    assert tab.evaluate(f"{PLAYER.format(0)}.state().selection") == pytest.approx([0.0, 1.0], abs=0.01)


def test_a_page_reads_and_sets_the_state_and_is_told_of_changes(opened):
    tab = opened()
    tab.evaluate(
        "window.heard = []; document.addEventListener('audioattn:change', (event) => window.heard.push(event.detail))"
    )
    wanted = {"playhead": 1.5, "mode": "rest", "mechanism": "Parabola", "layer": "none"}
    for name, value in wanted.items():
        tab.evaluate(f"([name, value]) => {PLAYER.format(0)}.set(name, value)", [name, value])
    state = tab.evaluate(f"{PLAYER.format(0)}.state()")
    assert {name: state[name] for name in wanted} == wanted
    assert tab.evaluate("window.heard.at(-1)") == state
    assert tab.get_by_role("radio", name="Parabola").is_checked()
    assert not tab.get_by_role("checkbox", name="Show attention").first.is_checked()


def test_attention_is_replaced_while_the_sound_stays(opened):
    tab = opened()
    before = tab.evaluate("document.querySelector('.aa-player audio').src.length")
    moved = _record("parabola", density=Density(*(np.array([[v]]) for v in (3.0, 0.01, 2.0, 1.0))))
    attention = attention_of({"Moved": moved, "Parabola": moved}, SECONDS)
    tab.evaluate(f"(given) => {PLAYER.format(0)}.replace(given)", attention)
    assert "mean 3.00 s" in tab.locator(".aa-reading").first.inner_text()
    assert tab.locator(".aa-player").first.locator(".aa-curves").count() == 1
    assert tab.evaluate(f"{PLAYER.format(0)}.gainAt(3.0)") > 0.9
    assert tab.evaluate(f"{PLAYER.format(0)}.gainAt(1.0)") == 0
    assert tab.evaluate("document.querySelector('.aa-player audio').src.length") == before


def test_cells_of_time_and_frequency_are_heard_as_the_library_computes_them(opened, pages):
    """Up to MP3, whose sound the page filters; levels of both tones, in and outside of the cells."""
    page = opened("cells.html")
    made = page.evaluate(
        f"""async () => {{
            const player = {PLAYER.format(0)};
            player.hear("attended");
            await player.play();
            const [attended, rest] = player.parts().map((buffer) => [...buffer.getChannelData(0)]);
            player.pause();
            return [attended, rest, player.whole.sampleRate];
        }}"""
    )
    expected = np.load(pages / "cells.npy")
    rate = made[2]

    def level(samples, its_rate, hertz, start, stop):
        times = np.arange(round(start * its_rate), round(stop * its_rate)) / its_rate
        window = np.hanning(len(times))
        wave = np.exp(-2j * np.pi * hertz * times) * window
        inside = np.asarray(samples)[round(start * its_rate) : round(stop * its_rate)]
        return 20 * np.log10(2 * abs(inside @ wave) / window.sum() + 1e-5)

    for hertz, start, stop in ((1000, 1.2, 2.4), (3500, 1.2, 2.4), (3500, 0.1, 0.9), (3500, 2.8, 3.9)):
        loudness = level(made[0], rate, hertz, start, stop)
        wanted = level(expected, RATE, hertz, start, stop)
        assert loudness == pytest.approx(wanted, abs=1) or max(loudness, wanted) < -60
    assert level(made[1], rate, 3500, 1.2, 2.4) == pytest.approx(20 * np.log10(0.3), abs=1)
    assert page.evaluate("getComputedStyle(document.querySelector('.aa-veil')).maskImage").startswith("url(")


def test_a_script_of_another_version_takes_over_and_the_same_one_does_not(opened):
    page = opened()
    script = re.sub(r"</?script[^>]*>", "", script_tag("player"))
    page.evaluate("window.kept = window.audioattnPlayer")
    page.evaluate(script)
    assert page.evaluate("window.kept === window.audioattnPlayer")
    page.evaluate("window.kept.version = 'older'")
    page.evaluate("window.kept.end = () => { window.hasEnded = true; }")
    page.evaluate(script)
    assert page.evaluate("window.kept !== window.audioattnPlayer && window.hasEnded")
    page.evaluate("""() => {
      const copy = document.querySelector(".aa-player").cloneNode(true);
      copy.classList.add("aa-waiting");
      document.body.append(copy);
    }""")
    page.wait_for_function("document.body.lastElementChild.audioattn !== undefined")
