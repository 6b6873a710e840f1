"""The section `vqvae2` of `params.yaml`."""

from pydantic import Field

from vqddm.settings import OptimizerParams, TrainedParams, fixed_rate


class VQVAE2Params(TrainedParams):
    """VQ-VAE-2's two levels of codes (Table 1), with encoder and decoder of the dataset's VQ-GAN."""

    commitment: float = Field(ge=0, description="beta of Eq. 14")
    learning_rate: float = Field(gt=0, description="Adam's learning rate")
    optimizer: OptimizerParams = fixed_rate((0.9, 0.999))

    def fits(self, section: str, resolution: int, side: int) -> None:
        """The code map can be halved for the top level."""
        if side % 2:
            raise ValueError(f"{section}: code maps of {side} x {side} cannot be halved for the top level")
