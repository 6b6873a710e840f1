"""The section `baselines.ddpm` of `params.yaml`."""

from typing import Self

from pydantic import Field, model_validator

from vqddm.settings import PositiveInt, TrainedParams


class DDPMParams(TrainedParams):
    """Pixel diffusion, which the paper compares with (Table 2, Figures 5 and 6): DDPM's U-Net, sampled by DDIM."""

    timesteps: PositiveInt = Field(ge=2, description="T; DDPM: 1000, to which its linear variances are scaled")
    patch: PositiveInt = Field(description="pixels folded into channels before the first convolution; DDPM: 1")
    widths: tuple[PositiveInt, ...] = Field(min_length=1, description="channels of each level, each half the last")
    blocks: PositiveInt = Field(description="residual blocks of a level on the way down; one more on the way up")
    attention: tuple[PositiveInt, ...] = Field(description="feature map sizes with self-attention")
    groups: PositiveInt = Field(description="groups of GroupNorm")
    learning_rate: float = Field(gt=0, description="Adam's learning rate after the warm-up")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(gt=0, lt=1, description="exponential moving average of the weights, which is kept")

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"widths {list(self.widths)} must be multiples of groups {self.groups}")
        return self

    def fits(self, section: str, resolution: int, side: int) -> None:
        """The image can be halved by all levels."""
        halved = self.patch * 2 ** (len(self.widths) - 1)
        if resolution % halved:
            raise ValueError(f"{section}: {resolution} pixels are not a multiple of {halved}")
