"""What every test can count on: few threads, no windows, the paths of data and browser."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: xdist already uses the cores
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core warns about the paths of older releases

import pytest

ROOT = Path(__file__).resolve().parents[1]
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


def pytest_configure(config: pytest.Config) -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_data = pytest.mark.skip(reason="AUDIOATTN_DATA is not set: the folder that holds esc10/ and others")
    no_cuda = pytest.mark.skip(reason="no CUDA device")
    no_browser = pytest.mark.skip(reason="no Chromium: install the package chromium")
    for item in items:
        if item.get_closest_marker("data") and "AUDIOATTN_DATA" not in os.environ:
            item.add_marker(no_data)
        if item.get_closest_marker("cuda") and not _has_cuda():
            item.add_marker(no_cuda)
        if item.get_closest_marker("browser") and chromium_path() is None:
            item.add_marker(no_browser)


def _has_cuda() -> bool:
    import torch

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
def browser():
    """Headless Chromium, driven by playwright; a test that uses it is marked ``browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()
