"""The twelve figures, drawn from synthetic files: sizes, bytes, pixels, numbers, and what is said when files lack."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.paper import MAIN, STEPS, add_toy, distance, make_plan, with_methods
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from PIL import Image

from vqddm.artifacts import UserError, read_json, write_array, write_json
from vqddm.methods import METHODS
from vqddm.paper.figures import FIGURES, draw, inputs, record, style
from vqddm.paper.figures.figure01 import COLOURS, Blob, _shown, draw_operations
from vqddm.paper.figures.figure02 import code_map_picture
from vqddm.paper.figures.files import Files
from vqddm.paper.figures.pictures import draw_sheet, fitted, hatched
from vqddm.paper.plan import Plan, plan_from
from vqddm.params import load

ROOT = Path(__file__).parents[1]
COMPARING = (1, 5, 6, 8)  # what shows baselines
GIVEN = ("lower", "corner", "centre", "left", "right", "top", "random")
DDIM_STEPS = (10, 25, 100)


def compared_plan() -> Plan:
    """The suite with everything on faces and the transformer on fashion."""
    plan = with_methods(make_plan(), "faces", transformer=(64,), absorbing=(100,), ddpm=DDIM_STEPS)
    return with_methods(plan, "fashion", transformer=(64,))


def faces(count: int, seed: int, size: int = 32) -> np.ndarray:
    """Round heads with hair and eyes on shaded backgrounds, uint8 (count, size, size, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    pictures = []
    for _ in range(count):
        back, skin, hair = random.integers(40, 230, (3, 3))
        picture = back * (0.7 + 0.6 * (y + 0.5))[..., None]
        dx, dy = random.uniform(-0.06, 0.06, 2)
        rx, ry = random.uniform(0.2, 0.3, 2)
        picture[((x - dx) / (rx + 0.07)) ** 2 + ((y - dy + 0.08) / (ry + 0.08)) ** 2 < 1] = hair
        picture[((x - dx) / rx) ** 2 + ((y - dy) / ry) ** 2 < 1] = skin
        for eye in (-0.1, 0.1):
            picture[(x - dx - eye) ** 2 + (y - dy) ** 2 < 0.0016] = 15
        pictures.append(np.clip(picture, 0, 255))
    return np.stack(pictures).astype(np.uint8)


def write_npz(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def noisy(pictures: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def masks() -> np.ndarray:
    row, column = np.mgrid[:8, :8]
    middle = (abs(row - 3.5) < 2) & (abs(column - 3.5) < 2)
    scattered = np.random.default_rng(3).random((8, 8)) < 0.3
    halves = (column < 4, column >= 4, row < 4)
    return np.stack([row >= 5, (row >= 4) & (column >= 4), middle, *halves, scattered])


def write_prior_pictures(folder: Path) -> None:
    """The pictures of the prior that the figures show."""
    image = faces(1, 11)[0]
    random = np.random.default_rng(4)
    clean = random.integers(0, 256, (8, 8))
    lost, noise = random.random((8, 8)), random.integers(0, 256, (8, 8))
    codes = np.stack([np.where(lost < a, noise, clean) for a in (0, 0.15, 0.5, 0.85, 1)])
    bars = random.dirichlet(np.full(8, 0.4), 5)
    decoded = np.stack([noisy(image[None], i)[0] // (i + 1) * (i + 1) for i in range(5)])
    write_npz(
        folder / "diffused.npz",
        image=image,
        reconstruction=noisy(image[None], 1)[0],
        timesteps=np.array([0, 25, 50, 75, 100]),
        codes=codes,
        decoded=decoded,
        position=np.array([4, 4]),
        bar_codes=np.arange(8) * 29,
        forward=bars,
        predicted=bars[::-1],
        codebook_size=256,
    )
    given = masks()
    originals = np.stack([faces(6, 20)] * len(GIVEN))
    wide = given.repeat(4, axis=1).repeat(4, axis=2)[:, None, :, :, None]
    masked = np.where(wide, originals, 127).astype(np.uint8)
    completed = np.where(wide, originals, noisy(originals, 2)).astype(np.uint8)
    write_npz(
        folder / "prior_inpainting.npz",
        names=np.array(GIVEN),
        masks=given,
        originals=originals,
        masked=masked,
        completed=completed,
    )
    neighbours = np.stack([faces(10, 40 + i) for i in range(8)])
    distances = np.sort(np.random.default_rng(5).uniform(0.1, 0.9, (8, 10)), axis=1)
    write_npz(folder / "neighbours.npz", samples=faces(8, 30), neighbours=neighbours, distances=distances)


def of_draws(value: float, deviation: float) -> dict[str, Any]:
    return {"distance": distance(value) | {"frechet_std": deviation}}


def write_baselines(plan: Plan, root: Path, pictures: Path) -> None:
    """What the figures read where a dataset has baselines, with the speeds and the crowding of the default suite.

    The measured pixels' line passes close by what the paper tells of VQ-DDM.
    """
    for dataset, about in plan.datasets.items():
        if set(about.methods) == {"prior"}:
            continue
        metrics = root / "metrics" / dataset
        stage = about.main_prior
        for steps in about.methods["prior"]:
            path = metrics / stage / f"prior_samples_{steps}.json"
            write_json(path, of_draws(read_json(path)["distance"]["frechet"], 2.5))
        speed = read_json(metrics / "speed.json") | {"seconds_per_step": 0.0006, "seconds_decode": 0.0002}
        counts = {"prior": {"parameters": 867_200}, "macs_per_image": 7.9e7}
        write_json(metrics / stage / "transformer_counts.json", counts)
        write_json(metrics / stage / "transformer_samples_64.json", of_draws(13.5, 0.4))
        folder = pictures / dataset / stage
        shutil.copy(folder / "prior_inpainting.npz", folder / "transformer_inpainting.npz")
        speed["transformer"] = {"seconds_per_step": 5e-5, "steps": 64}
        if "absorbing" in about.methods:
            write_json(metrics / stage / "absorbing_samples_100.json", of_draws(20.4, 0.5))
        if "ddpm" in about.methods:
            write_json(metrics / "pixels/ddpm_counts.json", {"parameters": 1_120_000, "macs_per_step": 6.7e7})
            for steps in DDIM_STEPS:
                write_json(metrics / f"pixels/ddpm_samples_{steps}.json", of_draws(22 + 40 / steps, 1.5))
            speed["ddpm"] = {"seconds_per_step": 0.0009, "timesteps": 1000}
        write_json(metrics / "speed.json", speed)


PAPER_COUNTS = {
    "1024": {"prior": {"parameters": 117_586_568, "macs_per_step": 1.11e9}, "macs_per_image": 4.6e12},
    "ddim": {"parameters": 113_673_219, "macs_per_step": 2.485e11},
    "vqgan_transformer": {
        "prior": {"parameters": 801_800_064, "macs_per_step": 8.1e8},
        "macs_per_image": 3.34e11,
        "timesteps": 256,
    },
}


def write_curve(path: Path, loss: str, start: float) -> None:
    """A training's losses, falling as its learning rate; one validation a bit above them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = {step: start / (1 + step / 200) for step in range(4, 801, 4)}
    rows = [
        f"{step},{value:.6f},{0.002 * (1 - step / 800):.6f},{1.1 * value if step % 100 == 0 else math.nan}"
        for step, value in losses.items()
    ]
    path.write_text("\n".join([f"step,{loss},learning_rate,validation", *rows, ""]))


def write_suite(plan: Plan, place: Path) -> tuple[Path, Path]:
    """All files that the figures of `plan` read; returns (results/{suite}, evaluation)."""
    root, evaluation = place / "results" / plan.suite, place / "evaluation"
    pictures = evaluation / plan.suite
    write_json(root / "metrics" / "paper_counts.json", PAPER_COUNTS)
    for i, (dataset, about) in enumerate(plan.datasets.items()):
        metrics = root / "metrics" / dataset
        write_json(metrics / "floor.json", {"distance": distance(4.2)})
        speed = {
            "device": "x86_64",
            "threads": 2,
            "batch_size": 64,
            "seconds_per_step": 0.0018,
            "seconds_decode": 0.004,
        }
        write_json(metrics / "speed.json", {**speed, "first_stage": about.main_prior, "timesteps": 100})
        for j, name in enumerate(about.first_stages):
            originals = faces(12, 60 + i)
            pair = {"originals": originals, "reconstructions": noisy(originals, j)}
            write_npz(pictures / dataset / name / "reconstructions.npz", **pair)
            write_curve(place / "models" / dataset / name / "first_stage.csv", "reconstruction", 0.3 + 0.02 * j)
        for name, method in ((name, METHODS[name]) for name in about.methods):
            loss = "bits_per_code" if method.fills == "codes" else "noise_error"
            for stage in about.stages(name):
                write_curve(place / "models" / dataset / stage / f"{name}.csv", loss, 5.0)
        for j, name in enumerate(about.priors):
            size = 3.6e6 * (1 + j)
            counts = {"prior": {"parameters": size}, "macs_per_image": 2.1e9 * (1 + 0.2 * j + 2 * i)}
            write_json(metrics / name / "prior_counts.json", counts)
            for steps in STEPS:
                value = {"steps": steps, "distance": distance(20 + 10 * j + 8 * i + 90 / steps)}
                write_json(metrics / name / f"prior_samples_{steps}.json", value)
            write_array(pictures / dataset / name / "prior_samples_100.npy", faces(96, 70 + i))
        write_prior_pictures(pictures / dataset / about.main_prior)
    write_baselines(plan, root, pictures)
    return root, evaluation


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Path]:
    place = tmp_path_factory.mktemp("suite")
    return make_plan(), *write_suite(make_plan(), place)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Path]:
    """The suite with baselines."""
    plan = compared_plan()
    return plan, *write_suite(plan, tmp_path_factory.mktemp("compared"))


@pytest.fixture(scope="module")
def redrawn(suite: tuple[Plan, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures, drawn by another process with another hash seed."""
    plan, root, evaluation = suite
    place = tmp_path_factory.mktemp("redrawn")
    code = (
        "import sys; from pathlib import Path; from vqddm.paper.figures import FIGURES, draw\n"
        "from vqddm.paper.plan import Plan\n"
        "plan, root, evaluation, out = Plan.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:])\n"
        "for n in FIGURES: draw(n, plan=plan, root=root, evaluation=evaluation, out=out / f'figure{n}')\n"
        "assert 'torch' not in sys.modules"
    )
    arguments = [plan.model_dump_json(), str(root), str(evaluation), str(place)]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
    return place


def drawn(suite: tuple[Plan, Path, Path], numbers: Iterable[int]) -> dict[int, Figure]:
    """Figures, drawn but not written."""
    found: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "save", lambda figure, stem: found.append(figure))
        for number in numbers:
            FIGURES[number].draw(*suite, Path("unused"))
    return dict(zip(numbers, found, strict=True))


@pytest.fixture(scope="module")
def figures(suite: tuple[Plan, Path, Path]) -> dict[int, Figure]:
    return drawn(suite, FIGURES)


@pytest.fixture(scope="module")
def compared_figures(compared: tuple[Plan, Path, Path]) -> dict[int, Figure]:
    return drawn(compared, COMPARING)


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_text() and t.get_visible()]


@pytest.mark.parametrize("number", FIGURES)
def test_figure_needs_only_its_inputs_and_gives_the_same_bytes_anywhere(
    number: int, suite: tuple[Plan, Path, Path], redrawn: Path, tmp_path: Path
) -> None:
    plan, root, _ = suite
    for name in inputs(plan, number):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(root.parents[1] / name)
    stem = tmp_path / f"figure{number}"
    draw(number, plan=plan, root=tmp_path / "results" / "mini", evaluation=tmp_path / "evaluation", out=stem)
    for suffix in (".png", ".pdf"):
        again = (redrawn / stem.name).with_suffix(suffix).read_bytes()
        assert stem.with_suffix(suffix).read_bytes() == again
    assert b"CreationDate" not in stem.with_suffix(".pdf").read_bytes()
    with Image.open(stem.with_suffix(".png")) as image:
        assert 700 <= image.width <= 960
        assert image.height > 600
        assert round(image.info["dpi"][0]) == 200
    assert stem.with_suffix(".png").stat().st_size < 400_000


def check_inputs(number: int, suite: tuple[Plan, Path, Path], aside: Path) -> None:
    plan, root, evaluation = suite
    assert inputs(plan, number)
    for name in inputs(plan, number):
        path = root.parents[1] / name
        path.rename(aside / "aside")
        try:
            with pytest.raises(UserError, match=name):
                draw(number, plan=plan, root=root, evaluation=evaluation, out=aside / "figure")
        finally:
            (aside / "aside").rename(path)
    assert not list(aside.iterdir())


@pytest.mark.parametrize("number", FIGURES)
def test_every_input_is_read_and_a_missing_one_is_named(
    number: int, suite: tuple[Plan, Path, Path], tmp_path: Path
) -> None:
    check_inputs(number, suite, tmp_path)


@pytest.mark.parametrize("number", COMPARING)
def test_every_input_of_a_baseline_is_read_and_a_missing_one_is_named(
    number: int, suite: tuple[Plan, Path, Path], compared: tuple[Plan, Path, Path], tmp_path: Path
) -> None:
    if number != 6:  # its baselines stand in the same file
        assert set(inputs(compared[0], number)) > set(inputs(suite[0], number))
    check_inputs(number, compared, tmp_path)


def check_words(figure: Figure) -> None:
    """No word is cut off."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    words = [*figure.texts]
    for axes in figure.axes:
        words += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        words += [axes.title, axes._left_title]
    for text in words:
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()


@pytest.mark.parametrize("number", FIGURES)
def test_no_word_is_cut_off(number: int, figures: dict[int, Figure]) -> None:
    check_words(figures[number])


@pytest.mark.parametrize("number", COMPARING)
def test_no_word_is_cut_off_beside_baselines(number: int, compared_figures: dict[int, Figure]) -> None:
    check_words(compared_figures[number])


def test_no_word_of_the_default_run_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all its methods, controls and committed numbers; a curve is told by the loss that it has."""
    plan, written = plan_from(load(ROOT / "params.yaml"), "mini"), []
    for dataset, about in plan.datasets.items():
        for stage in about.first_stages:
            write_curve(tmp_path / "models" / dataset / stage / "first_stage.csv", "reconstruction", 0.3)
        for name in about.methods:
            loss = "bits_per_code" if METHODS[name].fills == "codes" else "noise_error"
            for stage in about.stages(name):
                write_curve(tmp_path / "models" / dataset / stage / f"{name}.csv", loss, 5.0)
    monkeypatch.setattr(record, "save", lambda figure, stem: written.append(figure))
    for number in (1, 13):
        draw(number, plan=plan, root=ROOT / "results/mini", evaluation=tmp_path / "evaluation", out=tmp_path / "figure")
        check_words(written[-1])
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in written[-1].axes]
    assert "Faces: first stages, squared error of pixels" in titles, "VQ-VAE-2's"
    assert "Faces: first stages, absolute error of pixels" in titles


def outlines(axes: Axes) -> np.ndarray:
    """Points (n, 2) along every line, bar and leader of a label, and every marker, in pixels."""
    found = [np.zeros((0, 2))]
    for line in axes.lines:
        if line.get_transform() == axes.transData:
            corners = axes.transData.transform(line.get_xydata())
            found += [corners] if line.get_linestyle() == "None" else along(corners)
    for one in axes.collections:
        if isinstance(one, LineCollection):
            for bar in one.get_segments():
                found += along(axes.transData.transform(bar))
    for leader in axes.patches:
        if isinstance(leader, PathPatch):
            found += along(axes.transData.transform(leader.get_path().vertices))
    return np.concatenate(found)


def along(corners: np.ndarray) -> list[np.ndarray]:
    return [corners, *(np.linspace(a, b, 200) for a, b in pairwise(corners))]


def check_labels(figure: Figure) -> None:
    """Labels lie inside their axes and meet no other label, no line, no bar, no marker and no legend."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    for words in figure.texts:
        assert figure.bbox.x0 <= words.get_window_extent(renderer).x0, words.get_text()
        assert words.get_window_extent(renderer).x1 <= figure.bbox.x1, words.get_text()
    for axes in figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.texts]
        frame = axes.get_window_extent(renderer)
        drawn = outlines(axes)
        for i, (box, label) in enumerate(zip(boxes, axes.texts, strict=True)):
            assert not box.count_overlaps(boxes[:i]), label.get_text()
            assert frame.x0 <= box.x0 + 1 and box.x1 <= frame.x1 + 1, label.get_text()
            crossed = (drawn > box.min).all(1) & (drawn < box.max).all(1)
            assert not crossed.any(), label.get_text()
        if legend := axes.get_legend():
            box = legend.get_window_extent(renderer)
            assert not box.count_overlaps(boxes)
            assert not ((drawn > box.min).all(1) & (drawn < box.max).all(1)).any(), "a line runs through the legend"


@pytest.mark.parametrize("number", [1, 5, 6])
def test_labels_lie_inside_and_apart(number: int, figures: dict[int, Figure]) -> None:
    check_labels(figures[number])


@pytest.mark.parametrize("suite", ["mini", "mini3"])
def test_labels_in_a_crowd_lie_apart(suite: str) -> None:
    """Of the committed results, where seven methods cost the same and have nearly the same distance."""
    plan = plan_from(load(ROOT / "params.yaml"), suite)
    check_labels(FIGURES[1].compose(Files(plan, ROOT / "results" / suite, ROOT, FIGURES[1].role)))


@pytest.mark.parametrize("number", [1, 5, 6])
def test_labels_beside_baselines_lie_inside_and_apart(number: int, compared_figures: dict[int, Figure]) -> None:
    check_labels(compared_figures[number])


def test_samples_appear_pixel_for_pixel(suite: tuple[Plan, Path, Path], redrawn: Path) -> None:
    _, _, evaluation = suite
    samples = np.load(evaluation / "mini" / MAIN / "prior_samples_100.npy")
    page = np.asarray(Image.open(redrawn / "figure10.png"))
    for number, left in ((32, 24), (41, 24 + 104)):  # the first after Figure 7's 32; the second row's second
        large = np.asarray(Image.fromarray(samples[number]).resize((96, 96), Image.Resampling.NEAREST))
        column = page[:, left : left + 96]
        assert any(np.array_equal(column[y : y + 96], large) for y in range(len(column) - 95))


def test_further_samples_say_which_they_are(
    suite: tuple[Plan, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, root, evaluation = suite
    path = evaluation / "mini" / MAIN / "prior_samples_100.npy"
    whole = np.load(path)
    written: list[Figure] = []
    monkeypatch.setattr(record, "save", lambda figure, stem: written.append(figure))
    try:
        for count in (len(whole), 70, 40):
            np.save(path, whole[:count])
            draw(10, plan=plan, root=root, evaluation=evaluation, out=tmp_path / "figure")
    finally:
        np.save(path, whole)
    assert len(whole) >= 96
    for figure, (first, last) in zip(written, ((33, 96), (7, 70), (1, 40)), strict=True):
        said = f"Samples {first} to {last}, not chosen; Figure 7 shows 1 to 32."
        assert any(said in " ".join(words.split()) for words in texts(figure))


def legend_of(axes: Axes) -> Iterable[tuple[Text, Any]]:
    legend = axes.get_legend()
    assert legend is not None
    return zip(legend.get_texts(), legend.legend_handles, strict=True)


def test_figure_1_shows_the_metrics(figures: dict[int, Figure]) -> None:
    upper, faces_panel, columns, fashion_panel, _ = figures[1].axes  # distances on two datasets share no axis
    places = np.asarray(faces_panel.collections[0].get_offsets())
    expected = [(2.1e9 * 1.4, 40.9), (2.1e9 * 1.2, 30.9), (2.1e9, 20.9)]  # the largest lies below
    np.testing.assert_allclose(places, expected)
    np.testing.assert_allclose(np.asarray(fashion_panel.collections[0].get_offsets()), [(2.1e9 * 3, 28.9)])
    key = next(text for text in texts(figures[1]) if "K = 128" in text and text.startswith("number  method"))
    assert "2  ReFiT, K = 128, P = 4 000: 30.9, 7.2 M" in key.splitlines()
    assert [text.get_text() for text in faces_panel.texts] == ["1", "2", "3"]
    assert [tuple(*line.get_xydata()) for line in columns.lines] == [(1, 20.9), (2, 30.9), (3, 40.9)]
    assert columns.get_ylim() == faces_panel.get_ylim() and not any("Bars" in text for text in texts(figures[1]))
    assert "Faces" in faces_panel.get_title("left") and "Fashion" in fashion_panel.get_title("left")
    assert faces_panel.get_ylabel() == fashion_panel.get_ylabel() == "FD (EfficientNet-Lite0)"
    assert upper.get_ylabel() == "FID"
    sizes = dict(zip([t.get_text() for t in upper.texts], upper.collections[0].get_sizes()[::-1], strict=True))
    assert sizes["NVAE"] / sizes["GLOW"] == pytest.approx(1.26e9 / 220e6)
    assert len(sizes) == 9  # Table 2 without DC-VAE, which prints no cost
    shown = {text.get_text(): handle for text, handle in legend_of(upper)}
    assert shown.pop("counted here").get_marker() == "D"
    assert {words: patch.get_facecolor() for words, patch in shown.items()} == {
        "VQ-DDM, the paper's method": to_rgba(style.BLUE, 0.6),
        "what it is compared with": to_rgba(style.ORANGE, 0.6),
    }


def test_figure_1_shows_recounted_operations_beside_the_printed_ones(figures: dict[int, Figure]) -> None:
    """In the printed ones' convention: one evaluation, and a whole code map for the transformer."""
    drawn = {tuple(map(tuple, line.get_xydata())) for line in figures[1].axes[0].lines if len(line.get_xdata()) == 2}
    assert drawn == {
        ((1.06e9, 22.6), (1.11e9, 22.6)),
        ((1.06e9, 13.2), (1.11e9, 13.2)),
        ((1.24e11, 10.9), (2.485e11, 10.9)),
        ((1.02e11, 10.2), (256 * 8.1e8, 10.2)),
    }


def test_figure_1_shows_everything_that_is_compared(compared_figures: dict[int, Figure]) -> None:
    _, faces_panel, columns, fashion_panel, _ = compared_figures[1].axes
    drawn = {tuple(place) for place in np.asarray(faces_panel.collections[0].get_offsets())}
    assert {(2.1e9, 20.4), (7.9e7, 13.5), (6.7e9, 22.4)} < drawn  # absorbing transition, transformer, DDIM
    bars = [bar.tolist() for one in columns.collections for bar in one.get_segments()]
    np.testing.assert_allclose([bar for bar in bars if bar[0][0] == 4], [[(4, 19.9), (4, 20.9)]])
    assert any("Bars: standard deviation over draws" in " ".join(t.split()) for t in texts(compared_figures[1]))
    assert len(drawn) == 6 and len(fashion_panel.collections[0].get_offsets()) == 2
    key = next(text for text in texts(compared_figures[1]) if "absorbing" in text)
    assert "4  absorbing transition, ReFiT, K = 256, P = 4 000: 20.4 ± 0.5, 3.6 M" in key.splitlines()


def test_figure_1_tells_variants_of_the_method_from_others(compared_figures: dict[int, Figure]) -> None:
    upper, faces_panel, *_ = compared_figures[1].axes
    words = {
        handle.get_facecolor(): text.get_text() for text, handle in legend_of(upper) if hasattr(handle, "get_facecolor")
    }
    blobs = faces_panel.collections[0]
    places = [tuple(place) for place in np.asarray(blobs.get_offsets())]
    told = {place: words[tuple(colour)] for place, colour in zip(places, blobs.get_facecolors(), strict=True)}
    assert told[2.1e9, 20.9] == "VQ-DDM, the paper's method"
    assert told[2.1e9, 20.4] == "a variant of it"  # the absorbing transition
    assert told[7.9e7, 13.5] == told[6.7e9, 22.4] == "what it is compared with"  # transformer, DDIM


def test_figure_1_has_a_control_of_ours_among_the_variants() -> None:
    shown = _shown(plan_from(load(ROOT / "params.yaml"), "mini"))
    colours = {one.stage: COLOURS[one.colour] for one in shown if one.dataset == "faces" and one.stage}
    ours = dict.fromkeys(("refit_k256_p4000", "refit_k128_p4000", "vqgan_k256"), "VQ-DDM, the paper's method")
    assert colours == {**ours, "finetuned_k256": "a variant of it"}


def test_no_blob_is_hidden_by_another() -> None:
    """Two small blobs within a large one, one of them drawn before it and all of one colour, are seen as outlines."""
    blobs = [Blob(name, 1e9, 30, size, "red") for name, size in (("small", 1e6), ("large", 9e6), ("middle", 4e6))]
    blobs.append(Blob("far", 1e10, 80, 9e6, "red"))
    panels = []
    for left_out in (None, "small", "middle", "large"):
        shown = [blob for blob in blobs if blob.label != left_out]
        figure = draw_operations([blobs[-1]], {"Faces": shown}, "FD", "", [])
        figure.axes[2].set_visible(False)  # each distance in a column of its own
        for axes in figure.axes[:2]:
            axes.set(xlim=(1e8, 1e11), ylim=(0, 100))
            for label in axes.texts:
                label.set_visible(False)
        FigureCanvasAgg(figure).draw()
        panels.append(np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int))
    for without in panels[1:]:
        rows = min(len(panels[0]), len(without)) - 200  # the key below is shorter by a line
        assert (abs(panels[0][:rows] - without[:rows]).max(-1) > 60).sum() > 30


def test_equally_dear_methods_share_a_label_and_stand_in_columns_of_their_own() -> None:
    """The default suite's rows: all of one cost, two of nearly one distance."""
    named = [
        ("VQ-GAN, K = 256", 375.5),
        ("ReFiT, K = 256, P = 4 000", 398.8),
        ("absorbing transition, ReFiT, K = 256, P = 4 000", 370.0),
        ("ReFiT, K = 128, P = 4 000", 388.2),
    ]
    blobs = [Blob(f"{label}: {value}, 2.05 M parameters", 1.67e9, value, 2.05e6, "red") for label, value in named]
    blobs += [Blob("transformer", 7.9e7, 293.5, 8.7e5, "red"), Blob("DDIM", 6.7e9, 335.2, 1.1e6, "red")]
    reported = [Blob("one", 1e9, 10, 1e8, "red"), Blob("two", 1e12, 60, 1e8, "red")]
    figure = draw_operations(reported, {"Faces": blobs}, "FD", "", [])
    _, panel, columns = figure.axes
    labels = {label.get_text(): label.xy for label in panel.texts}
    assert labels == {"1 to 4": (1.67e9, 398.8), "5": (7.9e7, 293.5), "6": (6.7e9, 335.2)}
    check_labels(figure)
    assert [tuple(*line.get_xydata()) for line in columns.lines] == [(n, b.distance) for n, b in enumerate(blobs, 1)]


def test_methods_of_one_cost_that_do_not_follow_each_other_are_named_one_by_one() -> None:
    costs = [1e9, 1e8, 1.05e9, 1e10, 1.1e9]
    blobs = [Blob(str(at), cost, 30 + at, 1e6, "red") for at, cost in enumerate(costs)]
    figure = draw_operations(blobs[:1], {"Faces": blobs}, "FD", "", [])
    assert {label.get_text() for label in figure.axes[1].texts} == {"1, 3, 5", "2", "4"}


def test_figures_5_and_6_show_the_metrics(figures: dict[int, Figure]) -> None:
    curve, floor = figures[5].axes[0].lines
    np.testing.assert_allclose(curve.get_xydata(), [(n, 20 + 90 / n) for n in STEPS])
    assert list(floor.get_ydata()) == [4.2, 4.2]
    # 50,000 x steps x 0.0018 s is 0.025 h for each step
    assert {"0.05 h", "0.12 h", "0.25 h", "0.62 h", "1.2 h", "2.5 h"} <= set(texts(figures[5]))
    assert not any("Bars" in text for text in texts(figures[5]))  # one draw has no deviation
    images, maps, told = figures[6].axes[0].lines
    np.testing.assert_allclose(maps.get_xydata(), [(n, n * 0.025) for n in STEPS])
    np.testing.assert_allclose(images.get_ydata(), [n * 0.025 + 50_000 * 0.004 / 3600 for n in STEPS])
    assert told.get_xydata().tolist() == [[1000, 1000], [100, 100], [1000, 10]]
    assert not any("ixel diffusion" in t or "transformer" in t for t in texts(figures[6]))


def test_figures_5_and_6_show_what_is_compared(compared_figures: dict[int, Figure]) -> None:
    axes = compared_figures[5].axes[0]
    _, ddim, _ = axes.lines
    np.testing.assert_allclose(ddim.get_xydata(), [(n, 22 + 40 / n) for n in DDIM_STEPS])
    bars = [bar.tolist() for one in axes.collections for bar in one.get_segments()]
    expected = [[(n, 17.5 + 90 / n), (n, 22.5 + 90 / n)] for n in STEPS]
    expected += [[(n, 20.5 + 40 / n), (n, 23.5 + 40 / n)] for n in DDIM_STEPS]
    np.testing.assert_allclose(bars, expected)
    assert any("Bars: standard deviation over draws" in " ".join(t.split()) for t in texts(compared_figures[5]))
    *_, pixels, transformer, _ = compared_figures[6].axes[0].lines
    np.testing.assert_allclose(pixels.get_xydata(), [(n, n * 0.0125) for n in (*DDIM_STEPS, 1000)])
    np.testing.assert_allclose(transformer.get_xydata(), [(64, 50_000 * (64 * 5e-5 + 0.0002) / 3600)])
    assert "VQ-DDM: 10 h" in texts(compared_figures[6])


def test_numbers_of_the_other_figures(suite: tuple[Plan, Path, Path], figures: dict[int, Figure]) -> None:
    assert "(a)  Faces, T = 100:  FD (EfficientNet-Lite0) = 20.9" in texts(figures[7])
    assert "(b)  Fashion, T = 100:  FD (EfficientNet-Lite0) = 28.9" in texts(figures[7])
    for figure in (figures[8], figures[11]):
        assert {"lower part given: 24 of 64 codes", "centre given: 16 of 64 codes"} <= set(texts(figure))
    assert "left half given: 32 of 64 codes" in texts(figures[11])
    distances = np.load(suite[2] / "mini" / MAIN / "neighbours.npz")["distances"]
    shown = [float(t) for t in texts(figures[12]) if t.startswith("0.")]
    np.testing.assert_allclose(shown, distances.ravel(), atol=5e-4)


@pytest.mark.parametrize("number", [3, 7, 9])
def test_a_role_without_dataset_is_told_in_words(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(None, None)
    root, evaluation = write_suite(plan, tmp_path)
    role = "imagenet" if number == 3 else "lsun_church"
    assert not any(role in name or "fashion" in name for name in inputs(plan, number))
    if number != 7:
        assert inputs(plan, number) == []
    written: list[Figure] = []
    monkeypatch.setattr(record, "save", lambda figure, stem: written.append(figure))
    draw(number, plan=plan, root=root, evaluation=evaluation, out=tmp_path / "figure")
    words = " ".join(" ".join(texts(written[0])).split())
    assert f"name a dataset under suites.mini.datasets.{role} in params.yaml" in words


def test_wrong_files_are_named(tmp_path: Path) -> None:
    plan = make_plan()
    root, evaluation = write_suite(plan, tmp_path)
    folder = evaluation / "mini" / MAIN
    pictures = faces(12, 99)
    write_npz(folder / "reconstructions.npz", originals=pictures, reconstructions=pictures)
    with pytest.raises(UserError, match=r"refit_k256_p4000/reconstructions.npz: shows other pictures"):
        draw(4, plan=plan, root=root, evaluation=evaluation, out=tmp_path / "figure")
    whole = (folder / "diffused.npz").read_bytes()
    (folder / "diffused.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"diffused.npz: not a whole .npz"):
        draw(2, plan=plan, root=root, evaluation=evaluation, out=tmp_path / "figure")
    write_npz(folder / "neighbours.npz", samples=pictures)
    with pytest.raises(UserError, match=r"neighbours.npz: lacks an array"):
        draw(12, plan=plan, root=root, evaluation=evaluation, out=tmp_path / "figure")
    with pytest.raises(UserError, match="'14' is no figure; there are 0, 1, 2, 3"):
        inputs(plan, 14)


def test_hatching_covers_exactly_what_is_not_given() -> None:
    picture = np.full((40, 40, 3), (10, 200, 30), dtype=np.uint8)
    given = np.zeros((4, 4), dtype=bool)
    given[3, 1:] = True
    kept = (hatched(picture, given) == picture).all(-1)
    np.testing.assert_array_equal(kept, given.repeat(10, 0).repeat(10, 1))


def test_pictures_grow_by_whole_factors_and_shrink_to_fit() -> None:
    small, large = faces(1, 1)[0], faces(1, 2, size=256)[0]
    np.testing.assert_array_equal(fitted(small, 100)[::3, ::3], small)
    assert fitted(small, 100).shape == (96, 96, 3)
    assert fitted(large, 100).shape == (100, 100, 3)
    np.testing.assert_allclose(fitted(large, 100).mean((0, 1)), large.mean((0, 1)), atol=1)


def test_a_code_keeps_its_colour_and_noise_is_dark() -> None:
    clean = np.arange(64).reshape(8, 8)
    noisy_codes = clean.copy()
    noisy_codes[0, 0] = 63
    picture = code_map_picture(noisy_codes, clean)
    assert picture[0, 0].max() < 60
    np.testing.assert_array_equal(picture[1:], code_map_picture(clean, clean)[1:])
    assert len(np.unique(code_map_picture(clean, clean).reshape(-1, 3), axis=0)) == 64
    assert picture[1:].max(-1).min() > 180


def test_a_noisy_page_stays_below_400_kb(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 960, 3), dtype=np.uint8)
    figure = style.new_figure(960, 700)
    draw_sheet(figure, noise, 0, 0)
    style.save(figure, tmp_path / "noise")
    assert 50_000 < (tmp_path / "noise.png").stat().st_size <= 400_000


def test_lines_need_few_colours_and_a_photograph_keeps_all(tmp_path: Path) -> None:
    """A drawing's PNG is at most 256 colours, none of them far from the figure's own; pictures stay what they are."""
    figure = style.new_figure(960, 700)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    axes.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, "o-", color=style.BLUE, alpha=0.5)
    axes.set_title("Lines and letters")
    style.save(figure, tmp_path / "lines")
    drawn_now = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)  # type: ignore[attr-defined]
    with Image.open(tmp_path / "lines.png") as lines:
        assert lines.mode == "P" and lines.size == (960, 700)
        assert np.abs(np.asarray(lines.convert("RGB")).astype(int) - drawn_now).max() < 24
    draw_sheet(figure, np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8), 0, 0)
    style.save(figure, tmp_path / "pictured")
    with Image.open(tmp_path / "pictured.png") as pictured:
        assert pictured.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(pictured), np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]


def test_figure8_shows_the_transformer_where_it_is_trained(
    suite: tuple[Plan, Path, Path], figures: dict[int, Figure], tmp_path: Path
) -> None:
    plan, root, evaluation = suite
    with_it = with_methods(plan, "faces", transformer=(64,))
    shutil.copytree(evaluation, tmp_path / "evaluation")
    path, other = (tmp_path / name for name in inputs(with_it, 8))
    assert other == path.with_name("transformer_inpainting.npz")
    arrays = dict(np.load(path))
    arrays["completed"] = arrays["originals"]
    np.savez(other, **arrays)
    found = drawn((with_it, root, tmp_path / "evaluation"), [8])[8]
    assert "Transformer" in texts(found) and "VQ-GAN + Transformer" not in texts(found)
    without = [" ".join(text.split()) for text in texts(figures[8])]
    assert {"VQ-GAN + Transformer", "It is not trained in this suite."} <= set(without)
    first = found.axes[0].images[0].get_array()
    np.testing.assert_array_equal(first[:, :192], first[:, -192:])  # its completion is the original
    assert (first[:, :192] != first[:, -392:-200]).any()
    arrays["originals"] = arrays["originals"][:, ::-1]
    np.savez(other, **arrays)
    with pytest.raises(UserError, match="completes other pictures"):
        draw(8, plan=with_it, root=root, evaluation=tmp_path / "evaluation", out=tmp_path / "figure8")


def test_a_new_baseline_is_drawn_by_its_record_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_toy(monkeypatch)
    root, evaluation = write_suite(compared_plan(), tmp_path)
    plan, metrics = with_methods(compared_plan(), "faces", toy=(8, 16)), root / "metrics"
    shutil.copy(metrics / MAIN / "transformer_counts.json", metrics / MAIN / "toy_counts.json")
    for steps, frechet in ((8, 30.0), (16, 25.0)):
        write_json(metrics / MAIN / f"toy_samples_{steps}.json", of_draws(frechet, 1.0))
    speed = read_json(metrics / "faces" / "speed.json") | {"toy": {"seconds_per_step": 1e-4, "steps": 16}}
    write_json(metrics / "faces" / "speed.json", speed)
    pictures = evaluation / "mini" / MAIN
    shutil.copy(pictures / "transformer_inpainting.npz", pictures / "toy_inpainting.npz")
    found = drawn((plan, root, evaluation), COMPARING)
    assert any("5  toy, ReFiT, K = 256, P = 4 000: 25.0 ± 1.0" in text for text in texts(found[1]))
    assert (7.9e7, 25.0) in {tuple(place) for place in np.asarray(found[1].axes[1].collections[0].get_offsets())}
    sweep = found[5].axes[0].lines[2]
    assert (sweep.get_label(), sweep.get_xydata().tolist()) == ("Faces, toy", [[8, 30], [16, 25]])
    np.testing.assert_allclose(found[6].axes[0].lines[4].get_xydata(), [(16, 50_000 * (16e-4 + 0.0002) / 3600)])
    assert "Toy" in texts(found[8])
    for figure in found.values():
        check_words(figure)
