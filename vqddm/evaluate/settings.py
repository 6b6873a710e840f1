"""What the counts of the paper's own networks need."""

from vqddm.baselines.ddpm.settings import DDPMParams
from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.prior.settings import DiffusionParams, UNetParams
from vqddm.settings import PositiveInt, Section
from vqddm.vqgan.settings import AutoencoderParams


class PaperNetworks(Section):
    """The paper's own networks, from the preset of `params.yaml` that has its sizes (`params.paper_networks`)."""

    autoencoder: AutoencoderParams
    unet: UNetParams
    diffusion: DiffusionParams
    transformer: TransformerParams
    ddpm: DDPMParams
    codebooks: tuple[PositiveInt, ...] = (512, 1024, 16384)
    transformer_codebook: PositiveInt = 1024
