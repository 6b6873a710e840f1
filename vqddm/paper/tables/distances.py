"""Columns that Tables 1 and 2 share: a measured distance, and the floor beside it."""

from typing import Any

import pandas as pd

from vqddm.paper.render import size_of_draws, spreads

HERE = "measured here"


def distance_of(found: dict[str, Any] | None, floor: dict[str, Any] | None) -> dict[str, Any]:
    """The tidy columns of a measured distance and of the floor beside it, all None where none was measured."""
    distance = found["distance"] if found else {}
    held_out = floor["distance"] if floor and found else {}
    return {
        "distance_name": distance.get("name"),
        "distance": distance.get("frechet"),
        "distance_std": distance.get("frechet_std"),
        "floor": held_out.get("frechet"),
        "floor_std": held_out.get("frechet_std"),
        "floor_images": held_out.get("images"),
        "images": distance.get("images"),
        "kid": distance.get("kid"),
        "kid_std": distance.get("kid_std"),
        "floor_kid": held_out.get("kid"),
        "floor_kid_std": held_out.get("kid_std"),
    }


def distance_columns(tidy: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """The displayed columns: one for each name that a distance has, never one for two measures, floors and KID."""
    names = sorted(tidy["distance_name"].dropna().unique())
    shown: dict[tuple[str, str], list[str]] = {}
    for name in names:
        mine, floor = tidy["distance_name"] == name, "floor" if len(names) == 1 else f"{name}: floor"
        shown[HERE, name] = spreads(tidy["distance"].where(mine), tidy["distance_std"])
        shown[HERE, floor] = _floors(tidy[mine].reindex(tidy.index))
    return shown | {
        (HERE, "KID × 10³"): spreads(1000 * tidy["kid"].astype(float), 1000 * tidy["kid_std"].astype(float))
    }


def _floors(tidy: pd.DataFrame) -> list[str]:
    """The displayed floors, with the size of their draws where that is not the distance's."""
    texts, sizes = spreads(tidy["floor"], tidy["floor_std"]), zip(tidy["floor_images"], tidy["images"], strict=True)
    return [text + size_of_draws(*pair) for text, pair in zip(texts, sizes, strict=True)]
