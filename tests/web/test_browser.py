"""The page in a real browser: two people restore photos, and nothing leaves this machine.

One test, as server and browser take seconds to start.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from images.photos import read_photo
from tests.support.runs import ROOT
from tests.support.web import needs_gradio

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
FLAGS += ["disable-component-update", "disable-sync", "no-proxy-server", "window-size=800,700"]
FLAGS += ["host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "disable-dev-shm-usage"]
FLAGS += ["force-prefers-reduced-motion", "disable-extensions"]
PATIENCE = 120  # seconds, on machines that do other things

pytestmark = [needs_gradio, pytest.mark.long]

pytest.importorskip("selenium", reason="Selenium is not installed")
if not (BROWSER and DRIVER):
    pytest.skip("there is no chromium with chromedriver", allow_module_level=True)


@pytest.fixture(name="folders")
def _folders(tmp_path):
    """Return folders that a server and a browser may write to, by name."""
    folders = {name: tmp_path / name for name in ("home", "temporary", "cwd", "profile", "downloads")}
    for folder in folders.values():
        folder.mkdir()
    return folders


@pytest.fixture(name="server")
def _server(folders, network_files):
    """Yield a server's process and its address."""
    places = {"HOME": str(folders["home"]), "TMPDIR": str(folders["temporary"])}
    flags = [f"--network={network_files / 'qc.safetensors'}", "--no-encoder", "--steps=6", "--sefa=2"]
    flags += ["--port=0", "--device=cpu", "--max-mb=1"]
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "app.py"), *flags],
        cwd=folders["cwd"],
        env={**os.environ, **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = next((line for line in process.stdout if "The page is at" in line), "")
        assert line, "the server has ended"
        yield process, line.split()[4]
    finally:
        process.kill()
        process.wait()


@pytest.fixture(name="browser")
def _browser(folders):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.enable_bidi = True  # which knows users
    for flag in [*FLAGS, f"user-data-dir={folders['profile']}"]:
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(folders["downloads"])})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


class Visitor:
    """Somebody with the page in a window."""

    def __init__(self, browser, window, address):
        self.browser, self.window = browser, window
        self.look()
        browser.get(address)

    def look(self):
        self.browser.switch_to.window(self.window)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def wait(self, condition):
        """Return what `condition` returns as soon as that is something."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if found := condition():
                    return found
            except StaleElementReferenceException:
                pass
            time.sleep(0.2)
        raise AssertionError(self.browser.find_element("tag name", "body").text)

    def drop(self, path, box="#photo"):
        self.wait(lambda: self.all(f"{box} input[type=file]"))[0].send_keys(str(path))

    def shown(self):
        """Return the addresses of the photo and of the result, or nothing."""
        return [image.get_attribute("src") for image in self.all("#view img") if image.get_attribute("src")]

    def restored(self):
        return self.wait(lambda: len(found := self.shown()) == 2 and found)

    def slide(self, slider, value):
        """Set a slider by its field of numbers, and return the new result."""
        before = self.shown()
        field = self.wait(lambda: self.all(f"#{slider} input[type=number]"))[0]
        self.browser.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
            "arguments[0].dispatchEvent(new Event('blur'))",
            field,
            value,
        )
        return self.wait(lambda: len(found := self.shown()) == 2 and found[1] != before[1] and found)

    def pixels(self, address):
        """Return an image of the page's as the page sees it, through its own connection."""
        script = (
            "const done = arguments[1];"
            "fetch(arguments[0]).then(r => r.arrayBuffer()).then(b => done([...new Uint8Array(b)]))"
        )
        return bytes(self.browser.execute_async_script(script, address))

    def press(self, selector):
        self.browser.execute_script("arguments[0].click()", self.wait(lambda: self.all(selector))[0])


def saved(image, path):
    path.write_bytes(image)
    return read_photo(path)


def requests(browser):
    """Return the addresses that pages have asked for so far."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    return [address for address in sent if address.startswith(("http", "ws"))]


def test_two_people_restore_photos(server, browser, folders, photo_file, tmp_path):
    process, address = server
    asked = restores_slides_and_downloads(browser, address, folders, photo_file, tmp_path)
    asked += sees_nothing_of_others(browser, address, photo_file, tmp_path)
    assert asked and {url for url in asked if not url.startswith((address, address.replace("http", "ws")))} == set()
    assert len({url.rpartition("/")[2] for url in asked if "/heartbeat/" in url}) == 2  # of both
    leaves_nothing_behind(process, folders)


def restores_slides_and_downloads(browser, address, folders, photo_file, tmp_path):
    one = Visitor(browser, browser.current_window_handle, address)
    one.drop(photo_file(0, size=(90, 80)))
    photo, restored = one.restored()
    one.wait(lambda: "the result is coarser than the photo" in one.all("#notes")[0].text)
    before, after = (saved(one.pixels(url), tmp_path / f"{k}.png") for k, url in enumerate((photo, restored)))
    assert before.shape == after.shape == (16, 16, 3) and (before != after).any()
    assert one.slide("fidelity", 1)[0] == photo
    assert np.array_equal(saved(one.pixels(one.shown()[1]), tmp_path / "full.png"), before)
    one.slide("fidelity", 0)
    one.slide("quality", 0.5)
    one.press("#edit button")
    _, changed = one.slide("direction-1", 2)
    one.press("#download")
    [path] = one.wait(lambda: [*folders["downloads"].glob("a_cat-changed.png")])
    assert np.array_equal(read_photo(path), saved(one.pixels(changed), tmp_path / "changed.png"))
    copies_a_degradation(one, photo_file)
    makes_images(one)
    return requests(browser)


def copies_a_degradation(visitor, photo_file):
    before = visitor.shown()
    visitor.press("#copy button")
    visitor.drop(photo_file(1, "other.png"), "#reference")
    visitor.wait(lambda: len(found := visitor.shown()) == 2 and found[1] != before[1])
    assert visitor.all("#quality input[type=number]")[0].get_attribute("value") == "1"


def makes_images(visitor):
    visitor.wait(lambda: [tab for tab in visitor.all("button[role=tab]") if "seeds" in tab.text])[0].click()
    visitor.press("#make")
    assert len(visitor.wait(lambda: len(found := visitor.all("#gallery img")) >= 8 and found)) == 8
    assert "seed 3, degraded" in visitor.all("#gallery")[0].text


def sees_nothing_of_others(browser, address, photo_file, tmp_path):
    window = browser.browsing_context.create(type="tab", user_context=browser.browser.create_user_context())
    two = Visitor(browser, window, address)
    two.wait(lambda: two.all("#photo input[type=file]"))
    assert two.shown() == []
    bad = tmp_path / "no photo.jpg"
    bad.write_bytes(b"<script>alert(1)</script>")
    two.drop(bad)
    sentence = two.wait(lambda: two.all(".toast-body") and two.all(".toast-body")[0].text)
    assert "no photo.jpg cannot be read: it is not an image of a known kind, or damaged; save it again as" in sentence
    assert str(tmp_path) not in sentence and "qc-stylegan-web" not in sentence and two.shown() == []
    two.press("#photo button[aria-label*=lear], #photo button[aria-label*=emove]")
    two.drop(photo_file(3))
    photo, _ = two.restored()
    assert (saved(two.pixels(photo), tmp_path / "3.png") != read_photo(tmp_path / "0.png")).any()
    return requests(browser)


def leaves_nothing_behind(process, folders):
    [folder] = [path for path in folders["temporary"].iterdir() if path.name.startswith("qc-stylegan-web-")]
    assert any(folder.rglob("*.png"))
    process.terminate()
    assert process.wait(PATIENCE) == 0 and not folder.exists()
    assert [*folders["cwd"].iterdir(), *folders["home"].iterdir(), *folders["temporary"].iterdir()] == []
