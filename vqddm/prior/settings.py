"""The section `prior` of `params.yaml`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vqddm.prior.schedules import SCHEDULES
from vqddm.prior.transitions import TRANSITIONS
from vqddm.registry import choice
from vqddm.settings import PositiveInt, Section, TrainedParams


class DiffusionParams(Section):
    """The noise schedule and parameterisation of the discrete diffusion (section 3.1)."""

    timesteps: PositiveInt = Field(ge=2, description="T")
    schedule: choice(SCHEDULES) = Field(  # type: ignore[valid-type]
        description="`cosine` is Eq. 19 as printed, `sqrt_cosine` the square root that public code uses"
    )
    transition: choice(TRANSITIONS) = Field(  # type: ignore[valid-type]
        default="uniform", description="`uniform` is Eq. 15; `absorbing` turns codes into a mask instead"
    )
    residual: bool = Field(description="Eq. 23: add the one-hot of Z_t to the logits; `uniform` only")
    last_step: Literal["posterior", "as_printed"] = Field(
        default="as_printed",
        description="p(z_0 | z_1): by the posterior as all other steps, as public code has it, or Eq. 22's Cat(p0); "
        "of `uniform` only, for a mask is always filled in by p0",
    )

    @property
    def as_printed(self) -> bool:
        """The last step is Eq. 22's Cat(p0)."""
        return self.last_step == "as_printed" and TRANSITIONS[self.transition].on_codes

    @model_validator(mode="after")
    def _a_mask_is_no_code(self) -> Self:
        if self.residual and not TRANSITIONS[self.transition].on_codes:
            raise ValueError(f"the {self.transition} transition has no residual: a mask is none of the codes")
        return self


class UNetParams(Section):
    """The prior's network: the small U-Net of the multinomial-diffusion line."""

    width: PositiveInt
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1)
    groups: PositiveInt = Field(description="groups of GroupNorm")
    heads: PositiveInt = Field(description="heads of the linear attention")
    head_dim: PositiveInt = Field(description="channels per head")


class PriorParams(TrainedParams):
    """The discrete diffusion prior over code maps."""

    diffusion: DiffusionParams
    unet: UNetParams
    learning_rate: float = Field(gt=0, description="Adam's learning rate at the start of the cosine annealing")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises; the paper names none")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient; null: the paper names none")
    importance_sampling: bool = Field(description="draw t with q(t) proportional to sqrt(E[L_t^2])")
    stratified_timesteps: bool = Field(
        default=False, description="draw a batch's t one from each of as many equal parts of their distribution"
    )
    ema_decay: float = Field(ge=0, lt=1, description="exponential moving average of the weights; 0 turns it off")

    def fits(self, section: str, resolution: int, side: int) -> None:
        """The code map can be halved by all levels of the U-Net."""
        if side % 2 ** (len(self.unet.multipliers) - 1):
            raise ValueError(
                f"code maps of {side} x {side} cannot be halved by all levels of {section}.unet.multipliers"
            )
