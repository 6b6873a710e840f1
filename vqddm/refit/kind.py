"""ReFiT as a kind of first stage."""

from vqddm.refit.settings import RefitParams
from vqddm.registry import FirstStageKind

REFIT = FirstStageKind(
    name="refit",
    title="ReFiT",
    settings=RefitParams,
    model="vqddm.vqgan.model:FirstStage",
    train=None,  # from a trained VQ-GAN, in two steps: `rebuild_codebook`, `finetune_first_stage`
    numbers="kp",
    required=True,
)
