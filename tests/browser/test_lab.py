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

import pytest
from playwright.sync_api import TimeoutError as BrowserTimeout

from audioattn_lib.experiments import EXPERIMENTS

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.notebook]

ROOT = Path(__file__).resolve().parents[2]
SLIDERS = {"from_softmax_to_sparsemax": 1, "from_weights_to_densities": 2}
"""Controls of the pages whose subject they are."""
ALWAYS = {*SLIDERS, "urban_sound"}
"""To Lab the others are like this chapter: ``long``."""

# a cell whose source is hidden has an empty prompt instead
SHOWN = ".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt:not(.jp-Placeholder-prompt)"
PROMPTS = f"[...document.querySelectorAll('{SHOWN}')].map(e => e.textContent)"
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
ERROR = "[data-mime-type='application/vnd.jupyter.error']"
STARTED = rf"() => {PROMPTS}.some(prompt => /\d/.test(prompt))"
ENDED = rf"""() => {{
  const prompts = {PROMPTS};
  return document.querySelector("{ERROR}") !== null || (prompts.length > 0 && prompts.every(p => /\d/.test(p)));
}}"""


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
            kernels.first.select_option(label="Python 3 (ipykernel)", timeout=5_000)
        dialog.locator("button.jp-mod-accept").click(timeout=5_000)


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


def explore_clips(page) -> None:
    """Walk through the clips of a chapter by keyboard, filter them, and change the attention of one."""
    clips = page.locator(".jp-NotebookPanel .aa-clips")
    clips.scroll_into_view_if_needed()
    player = page.locator(".jp-NotebookPanel .aa-widget .aa-player")
    title = player.locator(".aa-title")
    first = title.inner_text()
    clips.locator(".aa-body").focus()
    page.keyboard.press("ArrowDown")
    wait_until(page, lambda: title.inner_text() != first, "another clip was chosen and the player did not change")
    clips.locator("select[data-choice=only]").select_option("wrong")
    rows = clips.locator(".aa-body .aa-row")
    wrong = clips.locator(".aa-body .aa-row:has(.aa-wrong)")
    wait_until(page, lambda: rows.count() == wrong.count(), "not every clip that is listed is wrong")
    sliders = page.locator(".jp-NotebookPanel .widget-slider .noUi-handle")
    models = page.locator(".jp-NotebookPanel .widget-dropdown select").first
    for name in models.locator("option").all_inner_texts():  # equal weights have nothing to change
        models.select_option(name)
        page.wait_for_timeout(500)
        if sliders.count():
            break
    curves, answers = player.locator(".aa-curves"), page.locator(".jp-NotebookPanel .aa-bars")
    before = curves.inner_html()
    sliders.first.press("ArrowRight")
    wait_until(page, lambda: curves.inner_html() != before, "alpha moved and the picture did not")
    wait_until(page, lambda: "as changed" in answers.inner_text(), "alpha moved and no answer came")


def references_are_read(page) -> None:
    """Roles of the book are shown as a person reads them, and links to pages have the title of the page."""
    page.locator(".jp-NotebookPanel .aa-cited").first.scroll_into_view_if_needed()
    text = ".jp-NotebookPanel .jp-RenderedMarkdown"
    wait_until(page, lambda: "{footcite" not in " ".join(page.locator(text).all_inner_texts()), "a role is shown raw")
    links = page.locator(f"{text} a[data-aa-page]")  # titles are fetched; Lab hides cells that are out of sight
    wait_until(page, lambda: all(title.strip() for title in links.all_text_contents()), "a link has no title")
    assert page.locator(".aa-cited").first.inner_text().rstrip(")")[-4:].isdigit()


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


def wait_until(page, condition, problem: str) -> None:
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail(problem)


def run_all_cells(page) -> None:
    """Choose Run, Run All Cells as a person does, until one has run: the first holds parameters and takes no time."""
    for _ in range(10):  # Lab drops what is asked before the kernel's socket is open
        try:  # a dialog may close by itself, or stand in the way of the menu
            close_dialogs(page)
            page.wait_for_selector(IDLE, timeout=60_000)
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=5_000)
            page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click(timeout=5_000)
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
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ],
)
def test_all_cells_run(lab, page, name):
    address, token = lab
    start_kernel(lab, name)
    page.goto(f"{address}/lab/tree/notebooks/{name}.ipynb?reset&token={token}", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=120_000)
    page.wait_for_selector(IDLE, timeout=120_000)
    run_to_the_end(page, lab)
    errors = page.locator(ERROR).all_inner_texts()
    assert not errors, errors[0]
    if name in EXPERIMENTS:
        references_are_read(page)
    if name in SLIDERS:
        assert move_sliders(page) == SLIDERS[name]
    elif name in EXPERIMENTS:
        explore_clips(page)
