"""Every notebook in a real JupyterLab: open it, run all cells, no error, and controls that redraw."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from playwright.sync_api import TimeoutError as BrowserTimeout

from audioattn_lib.experiments import EXPERIMENTS, urban_sound

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.notebook]

ROOT = Path(__file__).resolve().parents[2]
SLIDERS = {"from_softmax_to_sparsemax": 1, "from_weights_to_densities": 2}
"""Controls of the pages whose subject they are."""
ALWAYS = {"playback"}
"""To Lab the others are like this chapter: ``long``."""

# a cell whose source is hidden has an empty prompt instead
SHOWN = ".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)"
PROMPTS = f"[...document.querySelectorAll('{SHOWN}')].map(e => e.textContent)"
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
ERROR = ".jp-OutputArea-output:is([data-mime-type$='jupyter.error'], [data-mime-type$='jupyter.stderr'])"
"""A traceback, which Lab renders as it renders the stream of errors; nothing else is to be there either."""
STARTED = rf"() => {PROMPTS}.some(prompt => /\d/.test(prompt))"
ENDED = rf"""() => {{
  const prompts = {PROMPTS};
  return document.querySelector("{ERROR}") !== null || (prompts.length > 0 && prompts.every(p => /\d/.test(p)));
}}"""


WATCH = """() => {
  window.watched = [];
  new MutationObserver(() => {
    const shown = document.querySelector(".aa-watch")?.textContent;
    if (shown && shown !== window.watched.at(-1)) window.watched.push(shown);
  }).observe(document.body, { childList: true, subtree: true });
}"""
"""Keeps every state of the trainings that a cell shows."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A tone in noise, as a file to upload and for the microphone."""
    path = tmp_path_factory.mktemp("sound") / "own.wav"
    times = np.arange(32_000) / 16_000
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(times))
    soundfile.write(path, noise + 0.3 * np.sin(4000 * times), 16_000)
    return path


@pytest.fixture(scope="module")
def browser(launch, sound):
    """Headless Chromium whose microphone hears a file."""
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    chromium = launch(*fake, f"--use-file-for-fake-audio-capture={sound}")
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def lab(root, smoke_notebooks, tmp_path_factory):
    """JupyterLab as `make lab` starts it, in a copy of the notebooks: its address and token."""
    recipe = re.search(
        r"^lab:.*\n\t\$\(BIN\)/python (.*) \$\(LAB_ARGS\)$", (root / "Makefile").read_text(), re.MULTILINE
    )
    place = smoke_notebooks.parent
    if not (place / "book").exists():  # the references and pages that notebooks name
        shutil.copytree(root / "book", place / "book", ignore=shutil.ignore_patterns("chapters", "_build", "api"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    settings = tmp_path_factory.mktemp("jupyter")
    more = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(settings), "JUPYTER_DATA_DIR": str(settings / "data")}
    environment["JUPYTER_TOKEN"] = token
    # all cells stay in the document: by default Lab takes out those that are not in sight, and their prompts with them
    window_setting = settings / "lab" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    window_setting.parent.mkdir(parents=True)
    window_setting.write_text('{"windowingMode": "none"}')
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(settings / "lab")
    log = settings / "server.log"
    with open(log, "w") as stream:
        command = [sys.executable, *recipe[1].split(), *more]
        server = subprocess.Popen(command, cwd=place, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
        yield f"http://127.0.0.1:{port}", token
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    while True:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
        else:
            return


def close_dialogs(page) -> None:
    """Accept what Lab asks about itself on a first start; a kernel that died is a failure."""
    for dialog in page.locator("dialog.jp-Dialog").all():
        text = dialog.inner_text()
        assert "died" not in text, text
        print("Lab asks:", text)
        if (kernels := dialog.locator("select")).count():
            labels = kernels.first.locator("option").all_inner_texts()
            started = [label for label in labels if re.search(r"\([0-9a-f]{8}\)$", label)]  # see start_kernel
            kernels.first.select_option(label=[*started, "Python 3 (ipykernel)"][0], timeout=15_000)
        dialog.locator("button.jp-mod-accept").click(timeout=15_000)


def move_sliders(page) -> int:
    """Move every slider by a step and see its picture change; the number of sliders."""
    sliders = page.locator(".jp-NotebookPanel .widget-slider .noUi-handle").all()
    for slider in sliders:
        slider.scroll_into_view_if_needed()
        box = slider.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')][1]")
        picture = box.locator(".widget-html-content").last
        before = picture.inner_html()
        slider.press("ArrowRight")
        wait_until(page, lambda: picture.inner_html() != before, "the slider moved and its picture did not")  # noqa: B023
    return len(sliders)


def explore_clips(page, name: str) -> None:
    """Walk through the clips of a chapter by keyboard, filter them, and change the attention of one."""
    clips = page.locator(".jp-NotebookPanel .aa-clips")
    clips.scroll_into_view_if_needed()
    player = page.locator(".jp-NotebookPanel .aa-widget .aa-player")
    title = player.locator(".aa-title")
    first = title.inner_text()
    clips.locator(".aa-body").focus()
    page.keyboard.press("ArrowDown")
    wait_until(page, lambda: title.inner_text() != first, "another clip was chosen and the player did not change")
    only, rows = clips.locator("select[data-choice=only]"), clips.locator(".aa-body .aa-row")
    if only.locator("option[value=wrong]").count():  # a predicted number is not right or wrong
        only.select_option("wrong")
        wrong = clips.locator(".aa-body .aa-row:has(.aa-wrong)")
        wait_until(page, lambda: rows.count() == wrong.count(), "not every clip that is listed is wrong")
    sliders = page.locator(".jp-NotebookPanel .widget-slider .noUi-handle")
    models = page.locator(".jp-NotebookPanel .widget-dropdown select").first
    for title in models.locator("option").all_inner_texts():  # equal weights have nothing to change
        models.select_option(title)
        page.wait_for_timeout(500)
        if sliders.count():
            break
    curves, answers = player.locator(".aa-curves"), page.locator(".jp-NotebookPanel .aa-bars")
    before, slider = curves.inner_html(), sliders.first
    is_last = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    slider.press("ArrowLeft" if is_last else "ArrowRight")
    wait_until(page, lambda: curves.inner_html() != before, "the slider moved and the picture did not")
    if name != "sleepiness":  # its features are the encoder's: the alignment of the decoder changes none of them
        wait_until(page, lambda: "as changed" in answers.inner_text(), "the slider moved and no answer came")


def hear_own_sound(page, sound: Path) -> None:
    """Upload a file and record the microphone into models of a chapter."""
    panel = page.locator(".jp-NotebookPanel")
    panel.locator(".widget-tab .lm-TabBar-tab", has_text="Your sound").click()
    with page.expect_file_chooser() as choice:
        panel.locator("button.widget-upload:visible").first.click()
    choice.value.set_files(sound)
    player = panel.locator(".aa-widget .aa-player:visible")
    title, answers = player.locator(".aa-title"), panel.locator(".aa-bars:visible")
    wait_until(page, lambda: title.all_inner_texts()[:1] > ["own.wav: "], "a file was uploaded and is not heard")
    models = panel.locator(".widget-dropdown select:visible")
    heard = answers.inner_text()
    models.select_option(index=1)  # the last may be the oracle of playback, which needs to be told the events
    wait_until(page, lambda: answers.inner_text() != heard, "another model was chosen and its answer is not shown")
    record = panel.locator(".aa-microphone:visible button").first
    record.click()
    wait_until(page, lambda: record.inner_text() == "Stop", "the microphone does not record")
    page.wait_for_timeout(700)
    record.click()
    wait_until(page, lambda: title.inner_text().startswith("recording: "), "a recording is not heard")
    if panel.get_by_text("Another one").is_visible():  # models of speakers compare two
        with page.expect_file_chooser() as choice:
            panel.locator("button.widget-upload:visible").last.click()
        choice.value.set_files(sound)
        note = panel.locator(".widget-html-content b", has_text=re.compile(r"(one speaker|two speakers): similarity"))
        wait_until(page, lambda: note.count() == 1, "two recordings are not compared")


def references_are_read(page) -> None:
    """Roles of the book are shown as a person reads them, and links to pages have the title of the page."""
    page.locator(".jp-NotebookPanel .aa-cited").first.scroll_into_view_if_needed()
    text = ".jp-NotebookPanel .jp-RenderedMarkdown"
    wait_until(page, lambda: "{footcite" not in " ".join(page.locator(text).all_inner_texts()), "a role is shown raw")
    links = page.locator(f"{text} a[data-aa-page]")  # titles are fetched; Lab hides cells that are out of sight
    wait_until(page, lambda: all(title.strip() for title in links.all_text_contents()), "a link has no title")
    assert page.locator(".aa-cited").first.text_content().rstrip(")")[-4:].isdigit()  # whether it is in sight or not


def start_kernel(lab, name: str) -> None:
    """Give a notebook its kernel before Lab opens it: asked while Lab looks for one, "Run All Cells" is dropped."""
    address, token = lab
    path = f"notebooks/{name}.ipynb"
    session = {"path": path, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
    request = urllib.request.Request(
        f"{address}/api/sessions?token={token}",
        json.dumps(session).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=120).close()


def wait_until(page, condition, problem: str, seconds: int = 60) -> None:
    for _ in range(10 * seconds):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail(problem)


def run_all_cells(page) -> None:
    """Choose Run, Run All Cells as a person does, until one has run: the first holds parameters and takes no time."""
    for attempt in range(12):  # Lab drops what is asked before the kernel's socket is open
        if attempt % 4 == 3:  # on a busy machine it may ask for a kernel again and again
            page.reload()
            page.evaluate(WATCH)
        try:  # a dialog may close by itself, or stand in the way of the menu
            close_dialogs(page)
            page.wait_for_selector(IDLE, timeout=60_000)
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=15_000)
            page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click(timeout=15_000)
            for _ in range(60):  # asked for a kernel, Lab runs the cells once it has one: no second click
                if page.evaluate(STARTED):
                    return
                close_dialogs(page)
                page.wait_for_timeout(1_000)
        except BrowserTimeout:
            if not page.locator("dialog.jp-Dialog").count():  # leaving a choice of kernel means to have none
                page.keyboard.press("Escape")
    pytest.fail("no cell would run")


def run_to_the_end(page, lab) -> None:
    """Run all cells, again if need be: a kernel that Lab replaces while it starts takes along what was asked of it."""
    address, token = lab
    end = time.monotonic() + 600
    while time.monotonic() < end:
        run_all_cells(page)
        idle = 0
        while idle < 10 and time.monotonic() < end:
            if page.evaluate(ENDED):
                return
            page.wait_for_timeout(2_000)
            with urllib.request.urlopen(f"{address}/api/kernels?token={token}", timeout=60) as answer:
                states = [kernel["execution_state"] for kernel in json.load(answer)]
            idle = idle + 1 if set(states) <= {"idle"} else 0
    pytest.fail("not every cell has run")


@pytest.fixture
def page(lab, browser):
    """A page of its own; the kernels it started end with it, for they hold the machine's memory."""
    address, token = lab
    page = browser.new_page(viewport={"width": 1400, "height": 1300})
    yield page
    page.close()
    with urllib.request.urlopen(f"{address}/api/sessions?token={token}", timeout=60) as answer:
        sessions = json.load(answer)
    for session in sessions:
        address_of_one = f"{address}/api/sessions/{session['id']}?token={token}"
        urllib.request.urlopen(urllib.request.Request(address_of_one, method="DELETE"), timeout=60).close()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=() if path.stem in ALWAYS else pytest.mark.long)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"), key=lambda path: (path.stem not in ALWAYS, path.stem))
    ],
)
def test_all_cells_run(lab, page, sound, name):
    open_notebook(page, lab, name)
    page.evaluate(WATCH)
    run_to_the_end(page, lab)
    errors = page.locator(ERROR).all_inner_texts()
    assert not errors, errors[0]
    if name == "urban_sound":  # it comes first: the others may read its runs, and it would read theirs
        states = page.evaluate("window.watched")
        assert len(states) > 1, "trainings were shown when they had ended, not while they ran"
        assert "one clip" in states[0]
        count = int(re.match(r"(\d+) of (\d+) networks", states[-1])[2])
        assert states[-1].startswith(f"{count} of {count} networks that were begun here are trained and tested")
    if name in EXPERIMENTS:
        references_are_read(page)
    if name in SLIDERS:
        assert move_sliders(page) == SLIDERS[name]
    elif name in EXPERIMENTS:
        explore_clips(page, name)
        hear_own_sound(page, sound)


WAITS = """from pathlib import Path
import time
while n and not Path("small/go").exists():
    time.sleep(0.05)"""
"""A job that ends by itself for n = 0, and else once it may."""


@pytest.fixture
def small_sweep(smoke_notebooks):
    """A notebook that shows a sweep of two jobs whose results are there: name, and folder of the sweep."""
    place = smoke_notebooks / "small"
    place.mkdir(exist_ok=True)
    config = urban_sound.Config.smoke(data="city?clips_per_class=6&n_folds=3&duration=2")
    runs = urban_sound.study(config, "mean, sparsemax, triweight", "1", smoke_notebooks / "runs").runs
    cells = [nbformat.v4.new_code_cell("n = 0", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(WAITS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "small.ipynb")
    (place / "trial.yml").write_text("notebook: small.ipynb\ngrid:\n  n: [0, 1]\n")
    folder = smoke_notebooks / "sweeps" / "trial"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[run.config["attention"], f"urban_sound/{run.key}", run["accuracy"]] for run in runs]
    pd.DataFrame(rows, columns=["attention", "run", "accuracy"]).to_csv(folder / "results.csv", index=False)
    shown = [nbformat.v4.new_code_cell('from audioattn_lib import lab\nlab.sweep("small/trial.yml")')]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=shown, metadata=kernel), smoke_notebooks / "sweep.ipynb")
    return "sweep", place


def open_notebook(page, lab, name: str) -> None:
    """Open a notebook whose kernel has started."""
    address, token = lab
    start_kernel(lab, name)
    page.goto(f"{address}/lab/tree/notebooks/{name}.ipynb?reset&token={token}", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=120_000)
    page.wait_for_selector(IDLE, timeout=120_000)


def restart_and_run_all(page) -> None:
    """Choose Run, Restart Kernel and Run All Cells, and confirm it."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item[data-command='runmenu:restart-and-run-all']").click()
    page.locator("dialog.jp-Dialog button.jp-mod-accept, dialog.jp-Dialog button.jp-mod-warn").last.click()


def test_runs_of_a_sweep_are_searched_sorted_opened_and_compared_after_a_restart(lab, page, small_sweep):
    name, _ = small_sweep
    open_notebook(page, lab, name)
    run_to_the_end(page, lab)
    assert not page.locator(ERROR).all_inner_texts()
    page.locator(".jp-NotebookPanel .aa-clips").evaluate("(list) => list.classList.add('before')")
    restart_and_run_all(page)
    page.wait_for_selector(".jp-NotebookPanel .aa-clips:not(.before)", timeout=120_000)
    assert page.locator(".jp-NotebookPanel .aa-clips").count() == 1
    runs = page.locator(".jp-NotebookPanel .aa-clips")
    rows, search = runs.locator(".aa-body .aa-row"), runs.get_by_role("searchbox")
    wait_until(page, lambda: rows.count() == 3, "the results are not listed")
    scores = runs.get_by_role("button", name="accuracy")
    for sign in (1, -1):
        scores.click()
        shown = [float(row.split()[-1]) for row in rows.all_inner_texts()]
        assert shown == sorted(shown, key=lambda score: sign * score)
    search.fill("triweight")
    assert rows.count() == 1
    rows.click()
    opened = page.locator(".jp-NotebookPanel .widget-html-content").last
    wait_until(page, lambda: "triweight" in opened.inner_text(), "a row was chosen and its run is not opened")
    other = page.locator(".jp-NotebookPanel .widget-dropdown select")
    other.select_option(index=2)
    wait_until(page, lambda: "Settings that differ" in opened.inner_text(), "two runs are not compared")
    assert "attention\ttriweight\tsparsemax" in opened.inner_text()


@pytest.mark.long
def test_a_training_that_is_interrupted_keeps_its_epochs(lab, page, smoke_notebooks):
    train = (
        "from audioattn_lib import lab\nfrom audioattn_lib.experiments import urban_sound\n"
        "config = urban_sound.Config.smoke(epochs=3000)\n"
        "with lab.watch('interrupted'):\n    urban_sound.run(config, 'interrupted')"
    )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in ("1", train)]  # see run_all_cells
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), smoke_notebooks / "interrupted.ipynb")
    open_notebook(page, lab, "interrupted")
    watch = page.locator(".jp-NotebookPanel .aa-watch")

    def epoch() -> int:
        told = re.search(r"(\d+) of 3000", watch.inner_text()) if watch.count() else None
        return int(told[1]) if told else 0

    first = 0
    for _ in range(2):  # the second continues where the first was stopped
        run_all_cells(page)
        wait_until(page, lambda: epoch() > first + 2, "no epoch is shown", seconds=180)  # noqa: B023
        page.locator(".jp-NotebookPanel [data-command='notebook:interrupt-kernel']").click()
        wait_until(page, lambda: page.locator(ERROR).count() == 1, "the training goes on")
        assert "KeyboardInterrupt" in page.locator(ERROR).inner_text()
        first = epoch()


@pytest.mark.long
def test_a_sweep_is_run_watched_stopped_and_gone_on_with(lab, page, small_sweep):
    name, place = small_sweep
    open_notebook(page, lab, name)
    run_to_the_end(page, lab)
    status = page.locator(".jp-NotebookPanel .widget-html-content").first
    buttons = page.locator(".jp-NotebookPanel .jupyter-button")
    run, stop = (buttons.filter(has_text=label) for label in ("Run", "Stop"))

    def reach(text: str, problem: str) -> None:
        wait_until(page, lambda: text in status.inner_text(), problem, seconds=120)  # processes start

    assert "0 of 2 jobs done" in status.inner_text()
    run.click()
    reach("1 of 2 jobs done", "the job that can end is not shown as done")
    assert "trial runs" in status.inner_text()
    stop.click()
    reach("trial ended: 1 of 2 jobs done", "the sweep was stopped and goes on")
    (place / "go").touch()
    run.click()
    reach("trial ended: 2 of 2 jobs done", "the sweep was started again and does not end")
