"""Every source of pictures that `params.yaml` can name. Adding one: a module that opens it, and its record here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vqddm.registry import Registry, must_be_there

if TYPE_CHECKING:
    import numpy as np


class Pictures(NamedTuple):
    """Pictures in their final, seeded order, each uint8 (H, W, 3), and what the manifest tells about them."""

    stream: Iterator[np.ndarray]
    source: str
    licence: str
    note: str
    originals: dict[str, str]


@dataclass(frozen=True)
class Source:
    """Where pictures come from.

    Args:
        name: in `params.yaml`.
        open: `module:function` that takes (`DataParams`, folder of downloads, worker processes) and gives `Pictures`.
        check: `module:function` that takes `DataParams` and raises UserError where the originals are not there: asked
            before the first job. None: nothing can be missing, or it is fetched.
        readers: processes that prepare it.
        place: where its originals lie if `data.path` names no other place; None: nowhere, they are drawn or fetched.
        needs_path: `data.path` must say where they lie.
        remark: what a reader must know of the pictures, behind the dataset's title.
    """

    name: str
    open: str
    check: str | None = None
    readers: int = 8
    place: Path | None = None
    needs_path: bool = False
    remark: str = ""

    def __post_init__(self) -> None:
        for reference in (self.open, *([self.check] if self.check else [])):
            must_be_there(reference)


def _original(name: str) -> Source:
    pictures = "vqddm.data.pictures"
    return Source(name, f"{pictures}:open_original", f"{pictures}:check_original", place=Path("data/originals") / name)


SOURCES: Registry[Source] = Registry(
    "source of pictures",
    [
        Source("faces", "vqddm.data.faces:open_faces", readers=1, remark="are drawn avatars, not photographs"),
        Source("fashion", "vqddm.data.fashion:open_fashion", readers=1),
        Source("folder", "vqddm.data.pictures:open_folder", "vqddm.data.pictures:check_folder", needs_path=True),
        _original("celebahq"),
        _original("lsun_church"),
        _original("imagenet"),
    ],
)
