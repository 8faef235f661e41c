"""The page in a real browser, on a phone and on a desk."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from synthbank.reports import render_report

pytestmark = pytest.mark.chromium
NAMES = ("a_class_name_without_any_place_to_break_that_is_far_wider_than_any_phone_" * 2, "positive")


@pytest.fixture(scope="module")
def browser():
    """Path of Chromium; skipped without one, but in CI its absence is a failure."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "no Chromium (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def call(browser, folder, *options):
    quiet = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
        *("--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"),
    ]
    done = subprocess.run([browser, *quiet, *options], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_never_scrolls_sideways(browser, made, tmp_path, width):
    (tmp_path / "report.html").write_text(render_report(made.report(class_names=NAMES)))
    measure = "document.title = [w.scrollWidth, w.clientWidth, d.images.length, broken].join(' ')"
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f'<iframe id="page" src="report.html" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "onload = () => { const d = document.getElementById('page').contentDocument, w = d.documentElement;"
        f"const broken = [...d.images].filter(i => !i.naturalWidth).length; {measure} }}</script>"
    )
    dom = call(browser, tmp_path, "--dump-dom", "--virtual-time-budget=20000", wrapper.as_uri())
    measured = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", dom)
    assert measured, dom[-500:]
    scroll, client, images, broken = map(int, measured.groups())
    assert client == width
    assert scroll <= width
    assert images > 10
    assert broken == 0


@pytest.mark.parametrize(("mode", "scheme"), [("dark", 0), ("light", 1)])
def test_the_page_follows_the_readers_mode(browser, usual_page, tmp_path, mode, scheme):
    (tmp_path / "report.html").write_text(usual_page)
    target = tmp_path / f"{mode}.png"
    options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1200,1600", f"--screenshot={target}")
    call(browser, tmp_path, *options, (tmp_path / "report.html").as_uri())
    pixels = np.array(Image.open(target).convert("RGB"))
    assert pixels.shape == (1600, 1200, 3)
    assert (pixels[5, 5].max() < 40) == (mode == "dark")
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
