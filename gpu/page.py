"""The suite's page as far as it is, and sheets of what was drawn: what comes back from a machine that keeps nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from vqddm.paper.plan import plan_from
from vqddm.paper.so_far import so_far
from vqddm.params import merged, resolve

SIDE, SHOWN = 8, 64
FIRST = 2  # rows of the samples with all steps that stand in README


def sheet(images: np.ndarray, out: Path) -> None:
    """The first 64 of uint8 (n, H, W, 3) in rows of eight, at 192 px each at most."""
    shown = images[: min(SHOWN, len(images))]
    side = min(192, shown.shape[1])
    whole = Image.new("RGB", (SIDE * side, -(-len(shown) // SIDE) * side))
    for number, image in enumerate(shown):
        small = Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.LANCZOS)
        whole.paste(small, (number % SIDE * side, number // SIDE * side))
    out.parent.mkdir(parents=True, exist_ok=True)
    whole.save(out, quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="what was merged over params.yaml")
    parser.add_argument("--suite", default="gpu")
    parser.add_argument("--sheets", type=Path, default=Path("gpu-sheets"))
    parser.add_argument("--timesteps", action="store_true", help="print T, and no more")
    given = parser.parse_args()
    values = merged(yaml.safe_load(Path("params.yaml").read_text()), yaml.safe_load(given.config.read_text()) or {})
    params = resolve(values, where=str(given.config))
    plan = plan_from(params, given.suite)
    if given.timesteps:
        print(next(iter(plan.datasets.values())).methods["prior"][-1])
        return
    drawn, root = Path("evaluation") / given.suite, Path("results") / given.suite
    for dataset in plan.datasets:
        for path in sorted((drawn / dataset).glob("*/prior_samples_*.npy")):
            images = np.load(path, mmap_mode="r")
            sheet(images, given.sheets / f"{dataset}-{path.parent.name}-{path.stem}.jpg")
            if path.stem == f"prior_samples_{plan.datasets[dataset].methods['prior'][-1]}":
                sheet(images[: FIRST * SIDE], given.sheets / f"{dataset}-{path.parent.name}-first.jpg")
        for path in sorted((drawn / dataset).glob("*/reconstructions.npz")):
            with np.load(path) as arrays:
                rows = [
                    part for pair in zip(arrays["originals"], arrays["reconstructions"], strict=True) for part in pair
                ]
            sheet(np.stack(rows), given.sheets / f"{dataset}-{path.parent.name}-reconstructions.jpg")
        for path in sorted((drawn / dataset).glob("*/prior_inpainting.npz")):
            with np.load(path) as arrays:
                rows = [arrays[name][:, 0] for name in ("originals", "masked", "completed")]
            sheet(np.concatenate(rows), given.sheets / f"{dataset}-{path.parent.name}-inpainting.jpg")
    if not (root / "index.html").exists():
        so_far(plan=plan, root=root, out=root / "so_far")


if __name__ == "__main__":
    main()
