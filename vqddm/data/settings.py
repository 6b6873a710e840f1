"""The section `data` of `params.yaml`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from vqddm.artifacts import UserError, expanded
from vqddm.data.sources import SOURCES
from vqddm.registry import choice
from vqddm.settings import LARGEST, SPLITS, PositiveInt, Section


class DataParams(Section):
    """One dataset: where its pictures come from and how they are split."""

    source: choice(SOURCES)  # type: ignore[valid-type]
    path: str | None = Field(
        default=None,
        description="folder, zip or LMDB of pictures; only `folder` needs it: the paper's three datasets lie in "
        "data/originals/<source> without it, and `fashion` is fetched",
    )
    resolution: PositiveInt = Field(description="height and width in pixels")
    train: PositiveInt = Field(description="number of training images")
    test: PositiveInt = Field(description="number of test images, disjoint from the training images")
    validation: int = Field(
        default=0,
        ge=0,
        le=LARGEST,
        description="number of validation images, disjoint from both: settings are chosen by them, nothing is reported",
    )
    seed: int = Field(ge=0, description="seed of the drawing (`faces`) and of the split")

    @property
    def counts(self) -> dict[str, int]:
        """The number of images of each split, in the order in which they are taken from the pictures."""
        return {split: getattr(self, split) for split in SPLITS}

    @property
    def place(self) -> Path | None:
        """Where the original pictures lie, if they are not drawn or fetched."""
        try:
            return expanded(self.path) if self.path else SOURCES[self.source].place
        except UserError as error:
            raise UserError(f"data.path: {error}") from None

    @model_validator(mode="after")
    def _path_is_named(self) -> Self:
        if SOURCES[self.source].needs_path and not self.path:
            raise ValueError(f"source `{self.source}` needs `path`")
        return self
