"""The section `vqgan` of `params.yaml`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vqddm.settings import OptimizerParams, PositiveInt, Section, TrainedParams, fixed_rate

VQGANName = Annotated[str, Field(pattern=r"^vqgan_k\d+$")]
OFFICIAL_GROUPS = 32  # of GroupNorm in the paper (Table 3, note 3) and the official releases


class AutoencoderParams(Section):
    """Encoder and decoder of the VQ-GAN (Table 3)."""

    resolution: PositiveInt = Field(description="height and width of the images in pixels")
    patch: PositiveInt = Field(description="pixels folded into channels before the first convolution; paper: 1")
    width: PositiveInt = Field(description="channels at the first level")
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1, description="channel multiplier of each level")
    groups: PositiveInt = Field(default=OFFICIAL_GROUPS, description="groups of GroupNorm, which divide the width")
    blocks: PositiveInt = Field(description="residual blocks per encoder level; the decoder has one more")
    attention: tuple[PositiveInt, ...] = Field(description="feature map sizes with self-attention")
    z_channels: PositiveInt = Field(description="channels at the end of the encoder")
    embed_dim: PositiveInt = Field(description="dimension d of a code")

    @property
    def downsampling(self) -> int:
        """The compression ratio f: image size / latent size."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.resolution % self.downsampling:
            raise ValueError(f"resolution {self.resolution} is not a multiple of f = {self.downsampling}")
        if self.width % self.groups:
            raise ValueError(f"width {self.width} must be a multiple of {self.groups}, the groups of GroupNorm")
        return self


class AdversarialParams(Section):
    """Weights of the first stage's loss (Eq. 14 and VQ-GAN's perceptual and adversarial terms).

    The absolute error has the weight 1.
    """

    squared_weight: float = Field(
        default=0.0, ge=0, description="of the squared error, which Eq. 14 prints; VQ-GAN's code: 0"
    )
    commitment: float = Field(ge=0, description="beta of Eq. 14")
    perceptual: Literal["efficientnet_lite0", "lpips_vgg"]
    perceptual_weight: float = Field(ge=0)
    discriminator_width: PositiveInt
    discriminator_layers: PositiveInt
    discriminator_start: int = Field(ge=0, description="step from which the discriminator takes part")
    discriminator_weight: float = Field(ge=0, description="factor on the adaptive weight")


class VQGANParams(TrainedParams):
    """The VQ-GAN: trained from scratch, or an official checkpoint."""

    pretrained: dict[VQGANName, str] = Field(
        default={}, description="official checkpoints (Lightning's .ckpt) that stand for training: first stage to file"
    )
    autoencoder: AutoencoderParams
    loss: AdversarialParams
    learning_rate: float = Field(gt=0, description="Adam's learning rate (for the whole batch)")
    discriminator_learning_rate: float | None = Field(
        default=None, gt=0, description="the discriminator's, if it is not the same"
    )
    optimizer: OptimizerParams = fixed_rate((0.5, 0.9))

    def fits(self, section: str, resolution: int, side: int) -> None:
        """The autoencoder is made for the dataset's resolution."""
        if resolution != self.autoencoder.resolution:
            own = self.autoencoder.resolution
            raise ValueError(
                f"data.resolution is {resolution}, {section}.autoencoder.resolution {own}; give one for both"
            )

    @model_validator(mode="after")
    def _official_checkpoints_fit(self) -> Self:
        if self.pretrained and self.autoencoder.groups != OFFICIAL_GROUPS:
            raise ValueError(f"pretrained: official checkpoints need autoencoder.groups: {OFFICIAL_GROUPS}")
        return self
