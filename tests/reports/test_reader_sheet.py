"""The sheet in a real browser: it is answered by clicks and keys, and what it would save is read back."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from synthbank.reports import SheetItem, render_reader_sheet
from synthbank.storage import encode_png

_DRIVE = """
<script>
at("reader").value = "Ann, \\"A\\""; at("reader").oninput(); at("begin").click();
at("real").click(); at("synthetic").click(); at("back").click();
document.dispatchEvent(new KeyboardEvent("keydown", {key: "r"}));
document.dispatchEvent(new KeyboardEvent("keydown", {key: "S"}));
const widths = [document.documentElement.scrollWidth, innerWidth];
document.body.innerHTML = '<pre id="saved"></pre>';
const saved = {json: asJson(), csv: asCsv(), name: fileName(), widths: widths};
document.getElementById("saved").textContent = JSON.stringify(saved);
</script>
"""


def sheet(n=3):
    images = np.random.default_rng(0).integers(0, 256, (n, 3, 16, 16), dtype=np.uint8)
    return render_reader_sheet(
        "r12", [SheetItem(f"t{i}", encode_png(p)) for i, p in enumerate(images)], file_format="f1"
    )


def test_the_sheet_asks_for_nothing_and_the_same_items_give_the_same_page():
    page = sheet()
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page
    assert "http:" not in page.replace("http-equiv", "")
    assert page == sheet()
    assert page.count("data:image/png") >= 3


@pytest.mark.chromium
def test_a_reader_answers_and_saves(tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium (Debian: apt-get install chromium)")
        pytest.skip("no Chromium")
    path = tmp_path / "sheet.html"
    path.write_text(sheet().replace("</body>", _DRIVE + "</body>"))
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,800", "--dump-dom"]
    dom = subprocess.run([*command, path.as_uri()], capture_output=True, timeout=120, check=True).stdout.decode()
    text = re.search(r'<pre id="saved">(.*?)</pre>', dom, re.DOTALL)
    assert text, dom[-500:]
    saved_by_page = json.loads(text[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    saved = json.loads(saved_by_page["json"])
    assert (saved["format"], saved["study"], saved["reader"]) == ("f1", "r12", 'Ann, "A"')
    assert [(a["item"], a["answer"]) for a in saved["answers"]] == [("t0", "real"), ("t1", "real"), ("t2", "synthetic")]
    assert saved_by_page["csv"].splitlines()[1].startswith('"r12","Ann, ""A""","t0","real"')
    assert saved_by_page["name"] == "r12-Ann_A_"
    assert saved_by_page["widths"][0] <= saved_by_page["widths"][1]
