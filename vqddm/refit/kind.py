"""ReFiT as a kind of first stage, and two controls: what its first half does alone, and what its second half does."""

from vqddm.refit.settings import RefitParams
from vqddm.registry import FirstStageKind

REFIT = FirstStageKind(
    name="refit",
    title="ReFiT",
    settings=RefitParams,
    model="vqddm.vqgan.model:FirstStage",
    train=None,  # by `finetune_first_stage`, from the rebuilt one below
    numbers="kp",
    required=True,
    fine_tunes="rebuilt",
)
REBUILT = FirstStageKind(
    name="rebuilt",
    title="VQ-GAN, codebook rebuilt only",
    settings=RefitParams,
    model="vqddm.vqgan.model:FirstStage",
    train=None,  # by `rebuild_codebook`, from the VQ-GAN that `refit.source` names
    numbers="kp",
    section_of="refit",
    control=True,
)
FINETUNED = FirstStageKind(
    name="finetuned",
    title="VQ-GAN, old codebook fine-tuned",
    settings=RefitParams,
    model="vqddm.vqgan.model:FirstStage",
    train=None,  # by `finetune_first_stage`
    section_of="refit",
    fine_tunes="vqgan",
    control=True,
)
