"""The page of `vqddm demo`: what it shows, without Gradio; and in a real browser, where both are installed."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import models
from helpers.browser import chromium, needs_browser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image, ImageDraw
from test_cli import said
from test_export import needed

import vqddm
from vqddm.api import folders
from vqddm.api.export import export
from vqddm.artifacts import UserError
from vqddm.demo import views
from vqddm.demo.command import PORTS, free_port

ROOT = Path(__file__).parent.parent
T = 10


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained pair of few steps, and beside it what the page lists first, an export of it."""
    diffusion = models.DIFFUSION.model_copy(update={"timesteps": T})
    folder = models.random_pair(tmp_path_factory.mktemp("pair") / "models/toy/random", diffusion=diffusion)
    export(folder, out=folder.parents[1] / "exported")
    return folder


@pytest.fixture(scope="module")
def model(pair: Path) -> vqddm.Model:
    return vqddm.load(pair.parents[1] / "exported", "cpu")


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes with the package, and no model lies below."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders, "CHECKPOINTS", tmp_path / "shipped")


def stroke(*boxes: tuple[int, int, int, int]) -> dict[str, Any]:
    """What an editor gives of 64 x 64 pixels with these boxes painted."""
    layer = Image.new("RGBA", (64, 64))
    for box in boxes:
        ImageDraw.Draw(layer).rectangle(box, fill="red")
    return {"layers": [layer]}


# ---- without Gradio


def test_the_models_at_hand_are_those_of_the_package_and_those_below_models(pair: Path, tmp_path: Path) -> None:
    assert folders.at_hand() == []
    shutil.copytree(pair.parents[1], tmp_path / "models")
    shutil.copytree(tmp_path / "models/exported", folders.CHECKPOINTS / "faces")
    (tmp_path / "models/toy/half").mkdir()
    shutil.copy(pair / "prior.safetensors", tmp_path / "models/toy/half")
    assert folders.at_hand() == ["faces", "models/exported", "models/toy/random"]
    assert all(folders.find(name).is_dir() for name in folders.at_hand())


def test_what_is_missing_is_said_in_a_sentence(
    pair: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(capsys, "demo")[2].startswith("vqddm: no trained model comes with this installation, nor is one")
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "vqddm.demo.page", raising=False)
    code, told, error = said(capsys, "demo", str(pair))
    assert (code, told) == (1, "")
    assert error.startswith("vqddm: Gradio is not installed; `pip install 'vqddm[demo]'` brings it, in the repo")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = said(capsys, "demo", str(pair), "--port", str(port))[2]
        assert error.startswith(f"vqddm: 127.0.0.1, port {port}: not to be had (Address already in use); give another")
        assert free_port("127.0.0.1", range(port, port + 50)) > port
    for given in (["--host", "nosuch.invalid"], ["--port", "70000"]):
        assert "not to be had" in said(capsys, "demo", str(pair), *given)[2]


def test_a_port_taken_while_the_page_is_made_is_not_chosen(
    pair: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when two pages are started at once."""
    others: list[socket.socket] = []

    def page(names: list[str], device: str | None) -> Any:
        others.append(socket.create_server(("127.0.0.1", free_port("127.0.0.1", PORTS))))
        return SimpleNamespace(close=lambda verbose: None)

    def start(blocks: Any, host: str, port: int) -> str:
        raise UserError(f"{port} chosen")

    monkeypatch.setitem(sys.modules, "vqddm.demo.page", SimpleNamespace(page=page, start=start))
    error = said(capsys, "demo", str(pair))[2]
    [other] = others
    with other:
        assert "chosen" in error and str(other.getsockname()[1]) not in error


def test_a_code_has_one_colour_and_what_is_not_drawn_is_grey(model: vqddm.Model) -> None:
    codes = torch.arange(64).view(1, 8, 8)
    codes[0, 0, 1], codes[0, 7, 7] = 0, model.codebook_size
    cells = views.code_maps(codes, model.codebook_size, 32).pixels[0, ::4, ::4]
    assert torch.equal(cells[0, 0], cells[0, 1]) and cells[7, 7].tolist() == [128] * 3
    assert len(cells.flatten(0, 1).unique(dim=0)) == 63
    made = views.decoded(model, codes).pixels[0]
    assert (made[28:, 28:] == 128).all() and not (made[:28] == 128).all(-1).any(-1).all()
    whole = codes.clamp(max=model.codebook_size - 1)
    assert torch.equal(views.decoded(model, whole).pixels, model.decode(whole).pixels)


def test_small_sheets_are_enlarged_by_whole_numbers(model: vqddm.Model) -> None:
    pictures = model.sample(4, steps=1)
    sheet = views.shown(pictures)
    assert sheet.size == (66 * 8, 66 * 8)
    assert np.array_equal(np.asarray(sheet)[::8, ::8], np.asarray(pictures.sheet()))


def test_frames_begin_with_noise_and_end_with_the_sample(model: vqddm.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "FRAMES", 5)
    frames = list(views.frames(model, 2, T, 1.0, 3))
    assert [frame.step for frame in frames] == [0, 2, 4, 6, 8, 10]
    assert torch.equal(frames[-1].pictures.pixels, model.sample(2, steps=T, seed=3).pixels)
    assert [frame.step for frame in views.frames(model, 1, 3, 1.0, 3)] == [0, 1, 2, 3]
    with pytest.raises(UserError, match="200 sampling steps: choose from 1 to T = "):
        list(views.frames(model, 1, 200, 1.0, 3))


def test_an_upload_is_seen_as_training_pictures_were_and_named_without_its_folder(
    model: vqddm.Model, tmp_path: Path
) -> None:
    Image.new("RGB", (90, 50), "orange").save("wide.png")
    assert views.opened(str(tmp_path / "wide.png"), model).pixels.shape == (1, 32, 32, 3)
    Path("text.png").write_text("text")
    with pytest.raises(UserError, match=r"^text\.png: not a whole picture"):
        views.opened(str(tmp_path / "text.png"), model)


def test_one_looks_inside(model: vqddm.Model) -> None:
    seen = model.sample(1, steps=5)
    look = views.look(model, seen)
    assert torch.equal(look.made.pixels, model.reconstruct(seen).pixels) and look.map.pixels.shape == (1, 32, 32, 3)
    assert look.bits == float(model.bits_per_code(model.encode(seen)))
    assert views.bits_in_words(2.345, 256) == "At most 2.35 bits per code; a map of codes drawn blindly costs 8.00."


def test_paint_covers_codes_but_specks_do_not(model: vqddm.Model) -> None:
    found = views.painted(stroke((0, 0, 63, 9), (32, 32, 33, 33))["layers"], (8, 8))
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2] = True  # of the second row's codes a quarter is painted
    assert torch.equal(found, expected)
    assert not views.painted([], (8, 8)).any()


@pytest.mark.parametrize("keeps", [False, True])
def test_what_is_painted_is_drawn_anew_or_kept(model: vqddm.Model, keeps: bool) -> None:
    seen = model.sample(1, steps=5)
    found = views.completions(model, seen, stroke((0, 0, 63, 31)), keeps, 3, 1.0, 7, "renoise")
    anew = torch.zeros(8, 8, dtype=torch.bool)
    anew[slice(4, 8) if keeps else slice(0, 4)] = True
    assert torch.equal(found[:1].pixels, model.masked(seen, anew.numpy()).pixels)
    [made] = model.inpaint(seen, anew.numpy(), completions=3, seed=7, sampler="renoise")
    assert torch.equal(found[1:].pixels, made.pixels)


@pytest.mark.parametrize(
    ("editor", "keeps", "words"),
    [
        (None, False, "nothing is painted; paint over the picture first"),
        ({"layers": []}, True, "nothing is painted"),
        (stroke((0, 0, 63, 63)), True, "everything is painted, so nothing is left to draw"),
    ],
)
def test_what_cannot_be_completed_is_said(model: vqddm.Model, editor: Any, keeps: bool, words: str) -> None:
    with pytest.raises(UserError, match=words):
        views.completions(model, model.sample(1, steps=1), editor, keeps, 1, 1.0, 0)
    with pytest.raises(UserError, match="no picture is there; upload one, or draw one"):
        views.completions(model, None, stroke((0, 0, 63, 63)), keeps, 1, 1.0, 0)


def pinned(lock: str) -> dict[str, str]:
    """Versions by names."""
    text = (ROOT / lock).read_text()
    assert "http://" not in text and "https://" not in text and "--hash=" in text
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", text, re.MULTILINE))


def test_what_is_locked_for_the_page_lies_beside_what_is_locked_for_all() -> None:
    own, common = pinned("vqddm/demo/requirements.lock"), pinned("requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [asked] = map(Requirement, project["optional-dependencies"]["demo"])
    assert asked.specifier.contains(own[asked.name]) and not own.keys() & common.keys()
    if importlib.util.find_spec("gradio"):
        assert {canonicalize_name(name) for name in needed("gradio", set())} <= own.keys() | common.keys()


# ---- in a browser

# The command, which writes down whom it asks besides this machine.
WATCHED = """
import sys
HERE = {"127.0.0.1", "::1", "localhost", None, ""}
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = args[1][0] if event == "socket.connect" else args[0]
        if host not in HERE:
            with open("outside.txt", "a") as file:
                print(event, host, file=file)
sys.addaudithook(note)
from pathlib import Path
from vqddm.api import folders
from vqddm.cli import main
folders.CHECKPOINTS = Path("shipped")  # nothing: the page begins with what lies below models/
main()
"""


@pytest.fixture(scope="module")
def address(pair: Path) -> Iterator[str]:
    """Where the page is, which lists the export and the pair."""
    needs_browser("gradio")
    home = pair.parents[2]
    command = [sys.executable, "-c", WATCHED, "demo", "--device", "cpu"]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = process.stdout.readline()
        yield told.split()[0]
        process.terminate()
        assert process.wait(60) == 143
    assert told.endswith(" shows the page; Ctrl-C ends it\n") and told.startswith("http://127.0.0.1:")
    assert not (home / "outside.txt").exists(), (home / "outside.txt").read_text()


@pytest.fixture
def browser(address: str) -> Iterator[Any]:
    """The page, opened; nothing but this machine may be asked for anything."""
    with chromium() as started:
        page = started.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
        assert asked and not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def picture(page: Any, number: int = 0) -> np.ndarray:
    """The pixels of a picture that the page shows."""
    source = page.locator("img[src*='/file=']:visible").nth(number).get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"))


def await_picture(page: Any, wanted: Image.Image) -> None:
    """Wait until the page shows this picture."""
    for _ in range(60):
        if np.array_equal(picture(page), np.asarray(wanted)):
            return
        page.wait_for_timeout(500)
    raise AssertionError("another picture is shown")


def press(page: Any, name: str) -> None:
    page.locator("button:visible", has_text=re.compile(f"^\\s*{name}\\s*$")).click()


def test_pictures_are_drawn_and_watched(browser: Any, model: vqddm.Model, pair: Path) -> None:
    from playwright.sync_api import expect

    for label, value in (("Pictures", 4), ("Steps", 3)):
        browser.get_by_label(f"number input for {label}").fill(str(value))
    browser.get_by_label("Seed").fill("5")
    press(browser, "Draw")
    await_picture(browser, views.shown(model.sample(4, steps=3, seed=5)))
    frames: list[str] = []
    browser.on("response", lambda response: frames.append(response.url) if "/file=" in response.url else None)
    browser.get_by_label("Seed").fill("6")
    browser.get_by_label("number input for Steps").fill(str(T))  # a busy browser skips some
    press(browser, "Watch them come")
    expect(browser.get_by_text(f"step {T} of {T}")).to_be_visible()
    await_picture(browser, views.shown(model.sample(4, steps=T, seed=6)))
    assert len(set(frames)) > 2, "frames come one by one"
    browser.get_by_label("renoise").check()
    press(browser, "Draw")
    await_picture(browser, views.shown(model.sample(4, steps=T, seed=6, sampler="renoise")))
    expect(browser.get_by_text(f"step {T} of {T}")).to_be_hidden()
    browser.get_by_label("ancestral").check()
    browser.get_by_label("number input for Steps").fill("3")
    browser.get_by_label("Model").click()
    browser.get_by_role("option", name="models/toy/random").click()
    expect(browser.get_by_label("number input for Steps")).to_have_value(str(T))  # the best, whatever the last one had
    browser.get_by_label("number input for Steps").fill("3")
    press(browser, "Draw")
    await_picture(browser, views.shown(vqddm.load(pair, "cpu").sample(4, steps=3, seed=6)))


def test_a_picture_is_painted_over_and_completed(browser: Any, model: vqddm.Model) -> None:
    browser.get_by_role("tab", name="Paint").click()
    press(browser, "Complete")
    browser.get_by_text("no picture is there; upload one, or draw one").wait_for()
    press(browser, "Draw one")
    browser.get_by_text("no picture is there").wait_for(state="hidden")
    box = browser.locator("canvas:visible").first.bounding_box()
    left, top, side = box["x"], box["y"], min(box["width"], box["height"])
    for _ in range(20):  # until the editor takes paint
        browser.mouse.move(left + box["width"] / 2, top + side * 0.3)
        browser.mouse.down()
        browser.mouse.move(left + box["width"] / 2 + side * 0.2, top + side * 0.3, steps=5)
        browser.mouse.up()
        press(browser, "Complete")
        time.sleep(2)
        if browser.locator("img[src*='/file=']:visible").count():
            break
    made = picture(browser)
    assert made.shape == (66 * 5, 100 * 5, 3)  # the picture without, and five completions
    masked, first = made[: 32 * 5 : 5, : 32 * 5 : 5], made[: 32 * 5 : 5, 34 * 5 : 66 * 5 : 5]
    grey = (masked == 128).all(-1)
    assert 0.02 < grey.mean() < 0.5 and not (first == 128).all(-1)[grey].all()


def test_a_picture_is_looked_into_and_another_file_is_refused(browser: Any, model: vqddm.Model) -> None:
    browser.get_by_role("tab", name="Look inside").click()
    model.sample(1, steps=3)[0].save("mine.png")
    with browser.expect_file_chooser() as chooser:
        press(browser, "Upload a picture")
    chooser.value.set_files("mine.png")
    look = views.look(model, views.opened("mine.png", model))
    browser.get_by_text(views.bits_in_words(look.bits, 256)).wait_for()
    for number, sheet in enumerate((look.seen, look.map, look.made)):
        assert np.array_equal(picture(browser, number), np.asarray(views.shown(sheet)))
    Path("<b>text.png").write_text("text")
    with browser.expect_file_chooser() as chooser:
        press(browser, "Upload a picture")
    chooser.value.set_files("<b>text.png")
    browser.get_by_text("text.png: not a whole picture").wait_for()
    assert np.array_equal(picture(browser), np.asarray(views.shown(look.seen)))
