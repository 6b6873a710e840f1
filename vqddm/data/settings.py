"""The section `data` of `params.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from vqddm.settings import PositiveInt, Section

Source = Literal["faces", "fashion", "folder", "celebahq", "lsun_church", "imagenet"]


class DataParams(Section):
    """One dataset: where its pictures come from and how they are split."""

    source: Source
    path: str | None = Field(
        default=None,
        description="folder, zip or LMDB of pictures; only `folder` needs it: the paper's three datasets lie in "
        "data/originals/<source> without it, and `fashion` is fetched",
    )
    resolution: PositiveInt = Field(description="height and width in pixels")
    train: PositiveInt = Field(description="number of training images")
    test: PositiveInt = Field(description="number of test images, disjoint from the training images")
    seed: int = Field(ge=0, description="seed of the drawing (`faces`) and of the split")

    @property
    def place(self) -> Path | None:
        """Where the original pictures lie, if they are not drawn or fetched."""
        if self.path:
            return Path(self.path).expanduser()
        return None if self.source in ("faces", "fashion") else Path("data/originals") / self.source

    @model_validator(mode="after")
    def _folder_has_path(self) -> Self:
        if self.source == "folder" and not self.path:
            raise ValueError("source `folder` needs `path`")
        return self
