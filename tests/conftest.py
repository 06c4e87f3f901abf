"""Conditions of every test: few threads, no windows, the paths of data and browser."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: xdist already uses the cores
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core warns about the paths of older releases

import pytest
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("AUDIOATTN_CACHE", str(ROOT / ".pytest_cache" / "audioattn"))  # not the user's
# Two processes that compile librosa's functions at once leave a cache on disk that crashes every later one.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".pytest_cache" / f"numba-{_worker}")
# The longest before the others, but what looks at the built book after some others, so that no worker waits for it.
ORDER = (
    *("tests/book/", "tests/browser/test_lab", "tests/test_simulated", "tests/attack/", "tests/attention/"),
    "tests/audio/",
    *("tests/notebooks/", "tests/browser/test_book"),
)
# The same examples every time, and the machine may be slow; --hypothesis-profile=random looks for others, and for more,
# and prints what repeats an example that fails.
settings.register_profile("random", deadline=None, max_examples=400, print_blob=True, derandomize=False)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-parity", action="store_true", help="write what the rows of tests/parity give")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("write_parity") and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--write-parity needs all rows in one process: leave -n away")
    # forward mode imports what PyTorch itself still compiles with it
    config.addinivalue_line("filterwarnings", "ignore:.torch.jit.script. is deprecated:DeprecationWarning")
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, start in enumerate(ORDER) if start in item.nodeid), len(ORDER)))
    no_data = pytest.mark.skip(reason="AUDIOATTN_DATA is not set: the folder that holds esc10/ and others")
    no_cuda = pytest.mark.skip(reason="no CUDA device")
    no_browser = pytest.mark.skip(reason="no Chromium: install the package chromium")
    not_asked = pytest.mark.skip(reason="takes minutes: AUDIOATTN_LONG=1 make test runs it")
    asked = "AUDIOATTN_LONG" in os.environ
    for item in items:
        if item.get_closest_marker("data") and "AUDIOATTN_DATA" not in os.environ:
            item.add_marker(no_data)
        if item.get_closest_marker("cuda"):
            # from what PyTorch's compiler imports
            item.add_marker(pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"))
            if not _has_cuda():
                item.add_marker(no_cuda)
        if item.get_closest_marker("long") and not asked:
            item.add_marker(not_asked)
        if item.get_closest_marker("browser") and chromium_path() is None:
            item.add_marker(no_browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A device is for the tests that ask for it, in full precision; "auto" is the processor for all others."""
    if not _has_cuda():
        return (yield)
    if item.get_closest_marker("cuda"):
        import torch

        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # of processes that a test starts
        return (yield)


@functools.cache
def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False

    return torch.cuda.is_available()


def chromium_path() -> str | None:
    """The browser of the system, if it has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real recordings; a test that uses it is marked ``data``."""
    return Path(os.environ["AUDIOATTN_DATA"]).resolve()


@pytest.fixture(scope="module")
def launch():
    """Start a headless Chromium, driven by playwright, with more flags; a test that uses it is marked ``browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(executable_path=chromium_path(), args=[*CHROMIUM_FLAGS, *flags])


@pytest.fixture(scope="module")
def browser(launch):
    """Headless Chromium; a test that uses it is marked ``browser``."""
    chromium = launch()
    yield chromium
    chromium.close()


def copy_checkout(root: Path, place: Path) -> Path:
    """Sources of the book, without the results of an earlier build."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("audioattn_lib", "book", "notebooks", "benchmarks"):
        shutil.copytree(root / name, place / name, ignore=ignored)
    for path in (place / "book" / "chapters").glob("*.ipynb"):
        path.unlink()
    for path in [*root.glob("*.md"), *root.glob("*.yml"), root / "pyproject.toml"]:
        shutil.copy(path, place)
    return place


def build(place: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audioattn_lib", "book", "--mode", "smoke", "--workers", "2"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


@pytest.fixture(scope="session")
def built_book(root, tmp_path_factory):
    """Copy of the checkout with a book of smoke size, built once for all workers of a test run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder inside the common one
        shared = shared.parent
    place = shared / "book"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            place.mkdir()
            done = build(copy_checkout(root, place))
            (place / "output.txt").write_text(done.stdout + done.stderr)
    return place


@pytest.fixture(scope="session")
def smoke_notebooks(root, tmp_path_factory):
    """Copies of all notebooks whose parameters cells hold the values for tests."""
    import papermill

    from audioattn_lib.automation.strict_yaml import read_yaml

    folder = tmp_path_factory.mktemp("smoke") / "notebooks"
    folder.mkdir()
    for name, modes in read_yaml(root / "notebooks" / "book.yml").data.items():
        source, copy = root / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb"
        papermill.execute_notebook(source, copy, modes["smoke"], prepare_only=True, progress_bar=False)
    return folder
