"""The section `refit` of `params.yaml`."""

from pydantic import Field

from vqddm.settings import OptimizerParams, PositiveInt, TrainedParams, fixed_rate
from vqddm.vqgan.settings import AdversarialParams


class RefitParams(TrainedParams):
    """ReFiT (section 3.2): codebook rebuilt from k-means centres, decoder fine-tuned."""

    source: str = Field(pattern=r"^vqgan_k\d+$", description="the VQ-GAN whose codebook is rebuilt")
    chain_length: PositiveInt = Field(description="Markov chain length m of AFK-MC2")
    lloyd_iterations: PositiveInt = Field(description="at most this many Lloyd iterations")
    kmeans_seed: int = Field(ge=0)
    loss: AdversarialParams
    decoder_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    optimizer: OptimizerParams = fixed_rate((0.5, 0.9))
