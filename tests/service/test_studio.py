"""The pages: served, signed in to, and worked with in a real Chromium."""

import os
import re
import shutil

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from synthbank.workflows.maintenance.keys import create_key

from .conftest import CLASSES, MODEL, RUN, served

PAGES = ("/make", "/bank", "/training", f"/training/{RUN}", "/evidence", "/readers", "/data", "/keys")
HTML = {"Accept": "text/html"}


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_script_style_or_content_of_others(client, path):
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", answer.text)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)
    assert answer.text.count("<h1>") == 1
    for control in re.findall(r"<(?:input|select)[^>]*>", answer.text):
        if 'type="hidden"' in control or 'type="radio"' in control:
            continue
        name = re.search(r'\bid="([^"]+)"', control)
        assert "aria-label" in control or (name and f'for="{name[1]}"' in answer.text), control


def test_empty_banks_say_what_to_do_next(tmp_path):
    with served(tmp_path / "new", workers=0) as client:
        for path, hint in {
            "/make": "synthbank run FOLDER",
            "/bank": "Make images",
            "/training": "synthbank train",
            "/evidence": "synthbank evaluate",
            "/readers": "--show-originals",
            "/data": "synthbank ingest",
            "/keys": "No key yet",
        }.items():
            page = client.get(path, headers=HTML)
            assert page.status_code == 200
            assert hint in page.text
        assert client.get("/").headers["location"] == "/make"


def test_what_is_not_there_gets_a_page_and_what_is_odd_no_markup(client):
    for path in ("/images/none", "/training/none", "/nowhere", "/bank?verdict=odd", "/images/%3Cscript%3E"):
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 404
        assert "To the first page" in answer.text
    shown = client.get("/bank", params={"class": "<script>alert(1)</script>"}, headers=HTML).text
    assert "<script>alert" not in shown


def test_signing_in_and_out(home):
    with served(home, workers=0, require_keys=True) as client:
        key = create_key(client.app.state.service.bank, "person", scope="generate")
        sent_away = client.get("/bank", headers=HTML)
        assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login")
        assert client.post("/login", data={"key": "sb_0_0"}).status_code == 401
        assert client.post("/login", content=b"\xff\xfe&&=").status_code == 401
        welcome = client.post("/login", data={"key": key.token})
        cookie = welcome.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert key.token.split("_", 2)[2] not in cookie  # the secret, which may hold "_" itself
        assert client.get("/bank", headers=HTML).status_code == 200
        assert client.get("/keys", headers=HTML).status_code == 403
        assert client.post("/v1/jobs", json={"model": MODEL, "count": 1}).status_code == 202
        name, value = cookie.split(";")[0].split("=", 1)
        client.cookies.clear()
        client.cookies.set(name, value.replace(value.split(".")[0], "9999999999"))
        assert client.get("/v1/models").status_code == 401
        client.cookies.clear()
        client.post("/login", data={"key": key.token})
        client.get("/logout")
        assert client.get("/v1/models").status_code == 401


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium; skipped without one, but in CI its absence is a failure."""
    paths = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if None in paths:
        reason = "no Chromium with its driver (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    folder = tmp_path_factory.mktemp("profile")
    for word in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
        f"--user-data-dir={folder}",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(paths[1]))
    yield driver
    driver.quit()


@pytest.fixture
def studio(browser, client):
    """Opens a page; at the end of the test the console must be empty of errors."""

    def open_page(path):
        browser.get(f"{str(client.base_url).rstrip('/')}{path}")
        return browser

    yield open_page
    problems = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert problems == []


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def tiles(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".tiles .tile")


def wait(browser, condition):
    # a page that draws itself anew takes elements away between finding and reading them
    waiting = WebDriverWait(browser, 60, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(lambda _: condition())


@pytest.mark.chromium
def test_make_images_and_see_them_appear(studio):
    page = studio("/make")
    count = find(page, "#count")
    count.clear()
    count.send_keys("5")
    seed = find(page, "#seed")
    seed.clear()
    seed.send_keys("400")
    find(page, f"#classes input[value='{CLASSES[1]}']").click()
    find(page, "#make button[type=submit]").click()
    wait(page, lambda: find(page, "#said").text.startswith("Done"))
    wait(page, lambda: len(tiles(page)) == 5)
    images = [tile.find_element(By.TAG_NAME, "img") for tile in tiles(page)]
    wait(page, lambda: all(image.get_property("naturalWidth") for image in images))
    find(page, "#in-bank").click()
    wait(page, lambda: "Images of job" in page.page_source)
    assert len(tiles(page)) >= 5


@pytest.mark.chromium
def test_interpolation_between_two_seeds(studio):
    page = studio("/make")
    find(page, "#interpolation summary").click()
    count = find(page, "#count")
    count.clear()
    count.send_keys("6")
    find(page, f"#classes input[value='{CLASSES[0]}']").click()
    find(page, "#make button[type=submit]").click()
    wait(page, lambda: find(page, "#player").is_displayed())
    before = find(page, "#frame").get_attribute("src")
    find(page, "#place").send_keys(Keys.ARROW_RIGHT)
    assert find(page, "#frame").get_attribute("src") != before


@pytest.mark.chromium
def test_browse_filter_open_make_again_and_withdraw(studio, client):
    page = studio("/bank")
    everything = len(tiles(page))
    page.execute_script("document.querySelector('#f-class').value = arguments[0]", CLASSES[0])
    page.execute_script("document.querySelector('#f-class').dispatchEvent(new Event('change', {bubbles: true}))")
    wait(page, lambda: 0 < len(tiles(page)) < everything)
    assert f"class={CLASSES[0]}" in page.current_url
    first = tiles(page)[0]
    page.execute_script("arguments[0].focus()", first)
    first.send_keys(Keys.ARROW_RIGHT)
    second = page.switch_to.active_element
    chosen = second.get_attribute("data-id")
    assert chosen == tiles(page)[1].get_attribute("data-id")
    second.send_keys(Keys.ENTER)
    wait(page, lambda: find(page, "#shown").get_property("open"))
    assert chosen in find(page, "#shown").text
    find(page, "#shown [data-do=regenerate]").click()
    wait(page, lambda: "equal, pixel by pixel" in find(page, "#shown").text)
    before = client.get(f"/v1/images/{chosen}").json()
    find(page, "#shown [data-do=withdraw]").click()
    find(page, "#shown input[name=reason]").send_keys("looks odd", Keys.ENTER)
    wait(page, lambda: not find(page, "#shown").get_property("open"))
    assert tiles(page)[1].text == "withdrawn"
    record = client.get(f"/v1/images/{chosen}").json()
    reasons = [reason for reason in (before["reason"], "looks odd") if reason]  # the screen may have had one
    assert (record["verdict"], record["reason"]) == ("withdrawn", "; ".join(reasons))


@pytest.mark.chromium
def test_scrolling_loads_more(studio, client):
    job = client.post("/v1/jobs", json={"model": MODEL, "count": 70, "seed": 401}).json()
    with client.stream("GET", job["links"]["events"]) as stream:
        assert list(stream.iter_lines())
    page = studio(f"/bank?job={job['id']}")
    wait(page, lambda: len(tiles(page)) >= 60)
    page.execute_script("scrollTo(0, document.body.scrollHeight)")
    wait(page, lambda: len(tiles(page)) >= 140)
    assert len({tile.get_attribute("data-id") for tile in tiles(page)}) == len(tiles(page))


@pytest.mark.chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_reader_takes_the_test_stops_and_goes_on(browser, home, width):
    with served(home, workers=0, show_originals=True) as client:
        browser.get(f"{str(client.base_url).rstrip('/')}/readers")
        browser.set_window_size(width, 844)
        count = find(browser, "#study-count")
        count.clear()
        count.send_keys("4", Keys.ENTER)
        wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".study a"))
        find(browser, ".study a").click()
        name = f"reader {width}"
        find(browser, "#reader").send_keys(name, Keys.ENTER)
        wait(browser, lambda: find(browser, "#place").text == "Image 1 of 4")
        assert find(browser, "#shown").get_property("naturalWidth") == 32
        find(browser, "[data-answer=real]").click()
        wait(browser, lambda: find(browser, "#place").text == "Image 2 of 4")
        browser.refresh()
        find(browser, "#reader").send_keys(name, Keys.ENTER)
        for place in (2, 3, 4):
            wait(browser, lambda place=place: find(browser, "#place").text == f"Image {place} of 4")
            find(browser, "body").send_keys("s")
        wait(browser, lambda: "of 4 right" in find(browser, "#result").text)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        find(browser, "#end a").click()
        wait(browser, lambda: name in find(browser, "main").text)
        assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.chromium
def test_keys_are_made_shown_once_and_revoked(studio):
    page = studio("/keys")
    find(page, "#new-key").click()
    find(page, "#key-name").send_keys("robot", Keys.ENTER)
    wait(page, lambda: find(page, "#token").text.startswith("sb_"))
    find(page, "[data-do=done]").click()
    wait(page, lambda: "robot" in find(page, "table").text)
    for _ in range(2):
        find(page, "[data-do=revoke]").click()
    wait(page, lambda: "ended" in find(page, "table").text)


@pytest.mark.chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_scrolls_sideways(studio, path, width):
    page = studio(path)
    page.set_window_size(width, 844)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        # the page is laid out anew after the change of size; one that is too wide never gets there
        wait(page, lambda: page.execute_script("return innerWidth") == width)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
