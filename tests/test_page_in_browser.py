"""The results page in a real browser, from files alone: what is read, sorted, filtered and printed."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import chromium, needs_browser

from vqddm.paper.page import page
from vqddm.paper.plan import plan_from
from vqddm.paper.tables import TABLES
from vqddm.params import load

ROOT = Path(__file__).parents[1]
SUITES = ("mini", "mini3", "gpu")
LIMIT = 150_000  # bytes of the page without its pictures
A4, A4_ACROSS = 688, 1016  # CSS pixels between the margins
# Each text with too little contrast to what is behind it, also that of fields and of what CSS adds.
FAINT = """() => {
  const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (below, [r, g, b, a]) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement)
      layers.unshift(rgba(getComputedStyle(each).backgroundColor));
    return layers.reduce(over, [255, 255, 255]);
  };
  const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const found = { texts: 0, faint: [], paper: behind(document.body) };
  const look = (element, text, pseudo) => {
    if (!text.trim() || !element.checkVisibility()) return;
    const ground = behind(element), ink = over(ground, rgba(getComputedStyle(element, pseudo).color));
    const ratio = contrast(ink, ground);
    found.texts += 1;
    if (ratio < 4.5) found.faint.push(`${ratio.toFixed(2)}: ${text.trim().slice(0, 40)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) look(walker.currentNode.parentElement, walker.currentNode.data, null);
  for (const element of document.querySelectorAll("summary, th button")) look(element, "after", "::after");
  for (const element of document.querySelectorAll("input")) look(element, "typed", null);
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    needs_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each suite as the code of now makes it from the committed files."""
    made = {}
    for suite in SUITES:
        root = tmp_path_factory.mktemp("results") / suite
        shutil.copytree(ROOT / "results" / suite, root)
        made[suite] = root / "index.html"
        page(plan_from(load(ROOT / "params.yaml"), suite), root, made[suite])
    return made


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, **options: Any) -> Iterator[Any]:
    """The page, opened; afterwards nothing may have failed, and nothing been asked for but files beside it."""
    with browser.new_context(viewport={"width": width, "height": 900}, **options) as context:
        shown, wrong, asked = context.new_page(), [], []
        shown.on("console", lambda message: wrong.append(message.text))
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("requestfailed", lambda request: wrong.append(request.url))
        shown.on("request", lambda request: asked.append(request.url))
        shown.set_default_timeout(90_000)  # a busy machine is slow
        shown.goto(path.as_uri())
        shown.asked = asked
        yield shown
        assert not wrong
        assert not [url for url in asked if not url.startswith((path.parent.as_uri(), "data:"))]


@pytest.fixture
def mini(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    with opened(browser, pages["mini"]) as shown:
        yield shown


def column(part: Any, number: int) -> list[str]:
    """The cells of a column that are shown, from the top."""
    return part.locator(f"tbody tr:visible > :nth-child({number})").all_inner_texts()


def header(part: Any, number: int) -> Any:
    return part.locator(f"thead tr:last-child > :nth-child({number})")


# ---- what is read


@pytest.mark.parametrize("suite", SUITES)
def test_every_picture_is_there_and_told_in_words(browser: Any, pages: dict[str, Path], suite: str) -> None:
    with opened(browser, pages[suite]) as shown:
        shown.evaluate("for (const image of document.images) image.loading = 'eager'")
        shown.wait_for_function("[...document.images].every((image) => image.complete)")
        told = shown.evaluate("[...document.images].map((image) => [image.alt, image.naturalWidth, image.width])")
    folder = pages[suite].parent  # the timeline lies beside the figures; the GPU's fourth run is no part of the page
    assert len(told) == len([*folder.glob("*.png"), *folder.glob("figures/*.png")])
    assert all(alt and natural >= width for alt, natural, width in told)


def test_only_what_stands_at_the_top_is_loaded_at_once(browser: Any, pages: dict[str, Path]) -> None:
    for motion, film in (("no-preference", "film.webp"), ("reduce", "film.png")):
        with opened(browser, pages["mini"], reduced_motion=motion) as shown:
            shown.wait_for_load_state("networkidle")
            assert [Path(url).name for url in shown.asked] == ["index.html", film, "figure0.png"]
    assert all(path.stat().st_size < LIMIT for path in pages.values())


def test_the_film_can_be_stopped_and_played_again(browser: Any, pages: dict[str, Path]) -> None:
    shows = "[...document.querySelectorAll('.film')].map((image) => image.currentSrc.split('/').at(-1))"
    with opened(browser, pages["mini"], reduced_motion="no-preference") as shown:
        shown.wait_for_selector("text=Stop the film")
        assert shown.evaluate(shows) == ["film.webp"]
        shown.click("text=Stop the film")
        shown.wait_for_function(f"{shows}[0] === 'film.png'")
        shown.click("text=Play the film")
        shown.wait_for_function(f"{shows}[0] === 'film.webp'")
    with opened(browser, pages["mini"], reduced_motion="reduce") as shown:
        shown.wait_for_load_state("networkidle")
        assert shown.query_selector("text=Stop the film") is None  # nothing moves


@pytest.mark.parametrize("suite", SUITES)
def test_headings_descend_by_one(browser: Any, pages: dict[str, Path], suite: str) -> None:
    with opened(browser, pages[suite]) as shown:
        levels = shown.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((each) => +each.tagName[1])")
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_but_tables_scrolls_sideways(browser: Any, pages: dict[str, Path], suite: str, width: int) -> None:
    with opened(browser, pages[suite], width) as shown:
        shown.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        wide = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth).length"
        assert shown.evaluate(wide) > 0, "wide tables scroll within their box"


@pytest.mark.parametrize("suite", SUITES)
def test_texts_stand_out_in_light_and_dark(browser: Any, pages: dict[str, Path], suite: str) -> None:
    papers = []
    for scheme in ("light", "dark"):
        with opened(browser, pages[suite], color_scheme=scheme) as shown:
            shown.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            found = shown.evaluate(FAINT)
        assert found["texts"] > 500 and not found["faint"]
        papers.append(sum(found["paper"]))
    assert papers[0] > 600 > 150 > papers[1]


def test_without_scripts_everything_is_read_and_nothing_pretends_to_work(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["mini"], java_script_enabled=False) as shown:
        assert shown.locator("button, input").count() == 0
        for name in TABLES:
            lines = (pages["mini"].parent / f"tables/{name}.md").read_text().splitlines()
            assert shown.locator(f"#{name} tbody tr:visible").count() == len(lines) - 2
        claim = shown.locator("#claim-usage_ratio")
        claim.locator("summary").click()
        assert claim.get_by_text("Reproduced if:").is_visible()


# ---- what is sorted and filtered


def worth(cell: str) -> float:
    """The number that a cell tells; a dash stands behind all."""
    if cell == "–":
        return math.inf
    number, *prefix = re.sub("^(about |around |~)|%$| ±.*", "", cell).split()
    return float(number) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix[0]] if prefix else float(number)


@pytest.mark.parametrize(
    ("table", "number", "least", "most"),
    [
        ("table1", 5, "5.96%", "100%"),
        ("table2", 3, "46.1 M", "1.26 G"),
        ("speed", 9, None, "about 1000"),
        ("table1", 11, None, None),  # with spreads
        ("inpainting", 6, None, None),  # some below 0
    ],
)
def test_numbers_sort_as_numbers(mini: Any, table: str, number: int, least: str | None, most: str | None) -> None:
    part, head = mini.locator(f"#{table}"), header(mini.locator(f"#{table}"), number)
    given = column(part, number)
    rising = sorted(given, key=worth)
    measured, dashes = [cell for cell in rising if cell != "–"], ["–"] * given.count("–")
    assert head.evaluate("each => getComputedStyle(each).textAlign") == "right"
    assert least in (None, measured[0]) and most in (None, measured[-1]) and rising != given
    for order, wanted in (("ascending", rising), ("descending", measured[::-1] + dashes), ("none", given)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        assert [worth(cell) for cell in column(part, number)] == [worth(cell) for cell in wanted]


def test_text_sorts_by_the_keyboard_and_rows_stay_whole(mini: Any) -> None:
    part = mini.locator("#table2")
    rows = part.locator("tbody tr")
    given = rows.all_inner_texts()
    header(part, 2).get_by_role("button").click()
    header(part, 1).get_by_role("button").focus()
    mini.keyboard.press("Enter")
    assert header(part, 1).get_attribute("aria-sort") == "ascending"
    assert header(part, 2).get_attribute("aria-sort") == "none"
    methods = column(part, 1)
    assert methods[0] == "DC-VAE [24]" and methods[-1] == "VQ-GAN + Transformer [8]"
    assert rows.all_inner_texts() != given and sorted(rows.all_inner_texts()) == sorted(given)
    mini.keyboard.press("Space")
    assert column(part, 1) == methods[::-1]


def test_rows_are_filtered_by_all_words(mini: Any) -> None:
    part = mini.locator("#inpainting")
    every = column(part, 2)
    field, told = part.get_by_label("Rows with"), part.locator("output")
    field.fill("Fashion transformer")
    assert set(column(part, 1)) == {"fashion"} and set(column(part, 3)) == {"transformer"}
    assert told.inner_text() == "7 of 42 rows"
    header(part, 4).get_by_role("button").click()
    assert len(column(part, 4)) == 7, "sorting brings back no row"
    field.fill("nowhere")
    assert column(part, 1) == [] and told.inner_text() == "0 of 42 rows"
    field.fill("")
    assert sorted(column(part, 2)) == sorted(every) and told.inner_text() == ""


def test_short_tables_have_no_filter(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["gpu"]) as shown:
        rows = {part.get_attribute("id"): part.locator("tbody tr").count() for part in shown.locator(".part").all()}
        fields = {name for name in rows if shown.locator(f"#{name} input").count()}
    assert fields == {name for name, count in rows.items() if count > 8} and len(fields) < 7


# ---- what is printed


def test_paper_gets_all_claims_in_full_and_no_controls(mini: Any, tmp_path: Path) -> None:
    folded = "document.querySelectorAll('details:not([open])').length"
    before = mini.evaluate(folded)
    assert before == mini.locator("details").count() > 10
    mini.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {folded} }})")
    printed = mini.pdf(prefer_css_page_size=True)
    assert mini.evaluate("window.printed") == 0 and mini.evaluate(folded) == before
    assert 10 < len(re.findall(rb"/Type /Page\b", printed)) < 40
    mini.emulate_media(media="print")
    assert mini.locator("input:visible, nav:visible").count() == 0
    mini.emulate_media(media="print", color_scheme="dark")
    assert mini.evaluate(FAINT)["paper"] == [255, 255, 255]


def test_no_table_is_cut_on_paper(browser: Any, pages: dict[str, Path]) -> None:
    for kind, width in ((".part:not(.wide)", A4), (".part.wide", A4_ACROSS)):
        with opened(browser, pages["mini"], width) as shown:
            shown.emulate_media(media="print")
            sizes = shown.locator(f"{kind} .scroll").evaluate_all("all => all.map(a => [a.scrollWidth, a.clientWidth])")
        assert len(sizes) >= 3 and all(content <= room for content, room in sizes)
