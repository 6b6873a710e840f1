"""The section `dvae` of `params.yaml`."""

from pydantic import Field

from vqddm.settings import OptimizerParams, TrainedParams, fixed_rate


class DVAEParams(TrainedParams):
    """DALL-E's discrete VAE (Table 1), with encoder and decoder of the dataset's VQ-GAN."""

    kl_weight: float = Field(ge=0, description="weight of the KL to uniform codes, in nats per code")
    learning_rate: float = Field(gt=0, description="Adam's learning rate")
    optimizer: OptimizerParams = fixed_rate((0.9, 0.999))
