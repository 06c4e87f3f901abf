"""The built pages in a real browser, without a network, in light and dark, on a desk and on a phone."""

import functools
import http.server
import importlib.util
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from reader_questions import CHAPTERS, QUESTIONS

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.automation.book import documents
from audioattn_lib.inference.model import load

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.notebook]


@pytest.fixture(scope="module")
def address(built_book):
    """The book, served from this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=built_book / "_build" / "html")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def visit(browser, address, document, script="", **options):
    """Open a page with the world outside cut off: the page, and what it asked for in vain.

    A script runs before those of the page do.
    """
    page = browser.new_page(**options)
    page.add_init_script(script)
    asked, failed, errors = watch(page, address)
    page.goto(f"{address}/{document}.html", wait_until="load")
    return page, asked, failed, errors


def watch(page, address):
    """Cut the world outside off: lists that fill with requests to it, with failed ones, and with errors."""
    asked, failed, errors = [], [], []
    inside = (address, "data:", "blob:", "about:")
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith(inside) else None)
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(lambda url: not url.startswith(inside), lambda route: route.abort())
    return asked, failed, errors


SEEN = """([selector, words, height]) => [...document.querySelectorAll(selector)].some((e) => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.top >= 0 && box.top < height && e.textContent.replace(/\\s+/g, " ").includes(words);
})"""
"""Whether an element with these words begins in the first screen of a page."""
AUDITED = ("index", "primer", "playback", "urban_sound_results", "comparison")
AUDIT = """async () => {
  const asked = { preload: false, resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] };
  const serious = (await axe.run(document, asked)).violations.filter((v) => ["serious", "critical"].includes(v.impact));
  return serious.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join(" | "));
}"""


def unanswered(page, document, *, on_a_phone):
    """Questions of a reader that the first screen of a page does not answer; of a phone, those of chapters."""
    name = document.removeprefix("book/")
    asked = [row for row in QUESTIONS if row[1] == name]
    if on_a_phone and name.removeprefix("chapters/") not in CHAPTERS:
        return []
    return [row[0] for row in asked if not page.evaluate(SEEN, [*row[2:], 844 if on_a_phone else 800])]


def axe_core(package="axe_playwright_python"):
    """Script of axe-core; a failure where it cannot be read, since an audit that did not run finds nothing."""
    spec = importlib.util.find_spec(package)
    script = Path(spec.origin).with_name("axe.min.js") if spec else None
    if script is None or not script.is_file():
        pytest.fail(f"axe-core cannot be loaded from {script or package}; install the extra test: make environment")
    return script.read_text(encoding="utf-8")


def test_an_audit_without_axe_core_fails():
    assert "axe" in axe_core()
    with pytest.raises(pytest.fail.Exception, match="install"):
        axe_core("axe_that_is_not_installed")
    with pytest.raises(pytest.fail.Exception, match=r"axe\.min\.js"):
        axe_core("json")  # a package without the script


@pytest.fixture(scope="module")
def audit():
    """Run axe-core on a page that is audited: its serious findings."""
    script = axe_core()

    def run(page, document):
        if document.removeprefix("book/chapters/") not in AUDITED:
            return []
        page.evaluate(script)
        return page.evaluate(AUDIT)  # without axe-core an error, which is no audit without findings

    return run


def different(names):
    """All pages, but of the API and of the decisions, which are alike, each eighth; ``long``: all."""
    if "AUDIOATTN_LONG" in os.environ:
        return names
    alike = [[name for name in names if folder in name] for folder in ("/api/", "/decisions/")]
    left_out = {name for group in alike for i, name in enumerate(group) if i % 8}
    return [name for name in names if name not in left_out]


def test_pages_follow_the_theme_fit_need_no_network_and_can_be_read_by_all(browser, address, built_book, audit):
    cut = "[...document.querySelectorAll('.aa-scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    page = browser.new_page()
    problems = watch(page, address)
    wrong = []
    for document in different(documents(built_book)):
        for scheme, width in (("light", 1280), ("dark", 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 800})
            if scheme == "light":
                page.goto(f"{address}/{document}.html", wait_until="load")
            page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
            taken = page.evaluate("document.documentElement.scrollWidth")
            assert taken <= width, f"{document} is {taken} px wide on a screen of {width}"
            if width > 1000:  # on a phone pictures scroll within their frame
                assert page.evaluate(cut) == 0, document
            results = [*unanswered(page, document, on_a_phone=width < 1000), *audit(page, document)]
            wrong += [f"{document}, {width} px: {each}" for each in results]
        assert problems == ([], [], []), document
    page.close()
    assert not wrong, "\n".join(wrong)
    assert len(QUESTIONS) >= 20
    assert {f"book/{row[1]}" for row in QUESTIONS} <= {*documents(built_book)}


def test_formulas_are_drawn(browser, address, built_book):
    written = '<span class="math'
    results = [
        name for name in documents(built_book) if written in (built_book / f"_build/html/{name}.html").read_text()
    ]
    assert results
    page, *_ = visit(browser, address, results[0])
    page.wait_for_selector("mjx-container", timeout=20_000)
    page.close()


@pytest.mark.parametrize("name", ["from_softmax_to_sparsemax", "from_weights_to_densities"])
def test_sliders_of_a_page_need_no_kernel(browser, address, built_book, name):
    page, asked, failed, errors = visit(browser, address, f"book/chapters/{name}")
    sliders = page.locator(".aa-scrub input")
    assert sliders.count() >= 2
    for slider in sliders.all():
        shown = slider.locator("xpath=ancestor::figure").locator(".aa-reading, .aa-current img")
        slider.focus()
        page.keyboard.press("Home")
        before = slider.get_attribute("aria-valuetext"), shown.first.evaluate("e => e.textContent + e.alt")
        page.keyboard.press("End")
        after = slider.get_attribute("aria-valuetext"), shown.first.evaluate("e => e.textContent + e.alt")
        assert before[0] != after[0]
        assert before[1] != after[1]
    solution = page.locator("article details").first
    assert not solution.locator("pre").first.is_visible()
    solution.locator("summary").click()
    assert solution.locator("pre").first.is_visible()
    assert (asked, failed, errors) == ([], [], [])
    page.close()


# Keeps the sounds that the scripts of a page make, which are no elements of it.
LISTEN = """
const Made = window.Audio;
window.sounds = [];
window.Audio = function () { const sound = new Made(); window.sounds.push(sound); return sound; };
"""
PLAYING = "window.sounds.filter((sound) => !sound.paused)"


@pytest.mark.parametrize("name", ["sleepiness", "sleepiness_results"])
def test_points_of_a_map_can_be_heard(browser, address, built_book, name):
    page, asked, failed, errors = visit(browser, address, f"book/chapters/{name}", script=LISTEN)
    figure = page.locator(".aa-map").first
    points, said = figure.locator(".aa-heard"), figure.locator("output")
    assert points.count() >= 4
    first, second = points.first, points.last
    first.scroll_into_view_if_needed()
    first.dispatch_event("click")  # points may lie over one another
    page.wait_for_function(f"{PLAYING}.length === 1 && {PLAYING}[0].currentTime > 0")
    assert said.inner_text() == first.get_attribute("aria-label")
    own = "(e) => JSON.parse(e.closest('.aa-map').dataset.sounds)[e.dataset.sound]"
    assert page.evaluate(f"{PLAYING}[0].src") == first.evaluate(own)
    second.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{PLAYING}.length === 1 && {PLAYING}[0].currentTime > 0")
    assert page.evaluate(f"{PLAYING}[0].src") == second.evaluate(own) != first.evaluate(own)
    assert figure.locator(".aa-playing").count() == 1
    page.keyboard.press("Space")
    page.wait_for_function(f"{PLAYING}.length === 0")
    assert figure.locator(".aa-playing").count() == 0
    assert (asked, failed, errors) == ([], [], [])
    page.close()


def test_search_quotes_from_a_disk_and_puts_chapters_first(browser, built_book):
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(f"file://{built_book}/_build/html/search.html?q=sparsemax")
    page.wait_for_selector("#search-results li p.context", timeout=20_000)
    links = page.locator("#search-results li > a")
    addresses = [links.nth(number).get_attribute("href") for number in range(5)]
    assert not any("/api/" in each for each in addresses), addresses
    assert "sparsemax" in page.locator("#search-results li p.context").first.inner_text().lower()
    page.close()


def test_search_finds_pages_without_a_server_of_its_own(browser, address, built_book):
    page, asked, failed, errors = visit(browser, address, "search", viewport={"width": 1200, "height": 800})
    page.goto(f"{address}/search.html?q=attention")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert (asked, failed, errors) == ([], [], [])
    page.close()


def wave(path, seconds, seed):
    """Write noise with a tone in its middle, in 16 bits at the rate of the networks, and return its path."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * 16_000)) / 16_000
    inside = (times > seconds / 3) & (times < seconds / 2)
    soundfile.write(path, 0.02 * rng.standard_normal(len(times)) + 0.3 * np.sin(4000 * times) * inside, 16_000)
    return path


OWN = "document.querySelector('.aa-own').audioattn"


@pytest.fixture(scope="module")
def own_models(built_book):
    """Networks of the page on the reader's own sound, by title; skips where the book has no onnxruntime-web."""
    if "missing" in (built_book / "_build/html/_static/onnxruntime-web.js").read_text()[:400]:
        pytest.skip("the book was built without onnxruntime-web: no registry of npm was reached")
    runs = {}
    for path in (built_book / "runs" / "urban_sound").iterdir():
        config = json.loads((path / "config.json").read_text())
        if config.get("attention") in MECHANISMS and config.get("fused", True):
            runs[MECHANISMS[config["attention"]].alpha, MECHANISMS[config["attention"]].domain] = load(path, "cpu")
    return runs


def open_own_page(page, built_book):
    """Open the page from the disk and load its networks: what it asked for before the click, and problems."""
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(lambda url: not url.startswith(("file:", "data:", "blob:")), lambda route: route.abort())
    page.goto((built_book / "_build/html/book/chapters/try_your_sound.html").as_uri(), wait_until="load")
    before = list(asked)
    page.get_by_role("button", name="Load the networks").click()
    page.get_by_text("The sound stays on this machine").wait_for(timeout=60_000)
    return before, asked, errors


def heard_alike(page, models, sound):
    """Compare what the page answers with what Python does, for each mechanism."""
    count = page.evaluate(f"{OWN}.settings.networks.length")
    assert count == 8
    for number in range(count):
        page.evaluate(f"{OWN}.choose({number})")
        answered = page.evaluate(f"({{...{OWN}.answered, attention: Array.from({OWN}.answered.attention)}})")
        domain = page.evaluate(f"{OWN}.settings.networks[{number}].graph")
        wanted = models[answered["alpha"], ("discrete", "continuous")[domain]].listen(sound)
        np.testing.assert_allclose(answered["probabilities"], list(wanted.prediction.probabilities.values()), atol=1e-3)
        np.testing.assert_allclose(answered["attention"], wanted.record.frame_attention(), atol=1e-3)
        assert page.locator(".aa-own-bars tbody tr").count() == len(answered["probabilities"])


def test_a_file_gets_the_answer_that_python_gives(browser, built_book, own_models, tmp_path):
    sound = wave(tmp_path / "own.wav", 5.3, 3)  # several windows; the recording of the next test is heard whole
    page = browser.new_page(viewport={"width": 390, "height": 800})
    before, asked, errors = open_own_page(page, built_book)
    assert not [url for url in before if "_files/" in url or "onnxruntime" in url], "loaded before the click"
    page.locator(".aa-own input[type=file]").set_input_files(sound)
    page.locator(".aa-own .aa-play").wait_for()
    heard_alike(page, own_models, str(sound))
    before_slider = page.evaluate(f"{OWN}.answered.alpha")
    slider = page.get_by_role("slider", name="Alpha")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"{OWN}.answered.alpha === 1")
    assert before_slider != 1
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert errors == []
    page.close()


def test_the_microphone_is_heard_as_python_hears_it(launch, built_book, own_models, tmp_path):
    sound = wave(tmp_path / "microphone.wav", 3.0, 4)
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    chromium = launch(*fake, f"--use-file-for-fake-audio-capture={sound}")
    page = chromium.new_page()
    _, asked, errors = open_own_page(page, built_book)
    page.get_by_role("button", name="Record").click()
    page.wait_for_function(f"{OWN}.status.textContent.startsWith('Recording: 1.')")
    assert page.evaluate(f"!{OWN}.level.hidden && {OWN}.level.value") > 0.1
    page.get_by_role("button", name="Stop").click()
    page.locator(".aa-own .aa-play").wait_for()
    samples = np.array(page.evaluate(f"Array.from({OWN}.samples)"), dtype=np.float32)
    assert np.abs(samples).max() > 0.05
    heard_alike(page, own_models, (samples, 16_000))
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert errors == []
    chromium.close()


# Classes and numbers; the others show nothing new here.
GALLERIES = [pytest.param(c, marks=() if c in ("urban_sound", "sleepiness") else pytest.mark.long) for c in CHAPTERS]


@pytest.mark.parametrize("name", GALLERIES)
def test_a_gallery_is_switched_by_keys_and_by_its_address(browser, built_book, name):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = (built_book / f"_build/html/book/chapters/{name}.html").as_uri()
    page.goto(address, wait_until="load")
    gallery = page.locator(".aa-gallery")
    figure = gallery.locator("figure.aa-player").first
    figure.wait_for()
    clips = gallery.locator(".aa-gallery-list input")
    assert clips.count() >= (4 if name == "playback" else 8), "the smallest playback tests four clips"
    assert sum("_files/" in url for url in asked) == 1, "one clip is loaded, the others when they are wanted"
    before = figure.get_attribute("aria-label")
    gallery.locator(".aa-gallery-list input:checked").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"document.querySelector('.aa-gallery figure').ariaLabel !== {json.dumps(before)}")
    assert sum("_files/" in url for url in asked) == 2
    figure.locator(".aa-plot").hover()
    assert re.match(r"\d+\.\d\d s, \S+ k?Hz", figure.locator(".aa-readout").inner_text())
    shown = "document.querySelector('.aa-gallery figure').audioattn"
    page.evaluate(f"{shown}.set('selection', [0.1, 0.3])")
    assert "Loop 0.10 to 0.30 s" in figure.locator(".aa-chip").inner_text()
    link = gallery.get_by_role("link", name="Link to this clip")
    if page.evaluate(f"{shown}.mechanisms.length") > 1:
        gallery.get_by_label("Two side by side").check()
        assert gallery.locator("figure.aa-player").count() == 2
        first, second = (
            page.evaluate(f"[...document.querySelectorAll('.aa-gallery figure')][{i}].audioattn.state().mechanism")
            for i in (0, 1)
        )
        assert first != second
    deep, label = link.get_attribute("href"), figure.get_attribute("aria-label")
    assert deep.startswith("#clip=")
    page.goto("about:blank")
    page.goto(address + deep, wait_until="load")
    page.wait_for_function(f"document.querySelector('.aa-gallery figure')?.ariaLabel === {json.dumps(label)}")
    assert errors == []
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)
    page.close()


def test_a_term_shows_its_definition_to_pointer_keyboard_and_finger(browser, address, built_book):
    page, _, _, errors = visit(browser, address, "book/chapters/urban_sound", viewport={"width": 390, "height": 800})
    term, box = page.locator("a:has(> .std-term)").first, page.locator("#aa-definition")
    assert box.is_hidden()
    term.hover()
    assert box.is_visible()
    assert "weighted mean" in box.inner_text(), "the first term of the page is attention"
    assert term.get_attribute("aria-describedby") == "aa-definition"
    place = box.bounding_box()
    assert place["x"] >= 0
    assert place["x"] + place["width"] <= 390
    page.keyboard.press("Escape")
    assert box.is_hidden()
    assert errors == []
    page.close()
    context = browser.new_context(has_touch=True)
    phone, *_ = visit(context, address, "book/chapters/urban_sound")
    before = phone.url
    phone.locator("a:has(> .std-term)").first.tap()
    assert phone.locator("#aa-definition").is_visible()
    assert phone.url == before, "only the second touch follows the link"
    context.close()
