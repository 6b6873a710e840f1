"""The transformer as a method."""

from vqddm.baselines.transformer.settings import TransformerParams
from vqddm.registry import Method

TRANSFORMER = Method(
    name="transformer",
    title="VQ-GAN + transformer",
    settings=TransformerParams,
    fills="codes",
    train="vqddm.baselines.transformer.train:train_transformer",
    load="vqddm.baselines.transformer.sampler:load_transformer",
    commands={
        "train": "baselines train-transformer",
        "sample": "baselines sample-transformer --transformer",
        "inpaint": "baselines inpaint-transformer --transformer",
        "likelihood": "evaluate transformer-likelihood --transformer",
        "counts": "evaluate transformer-counts --transformer",
        "speed": "--transformer",
    },
    steps=lambda transformer, codes, evaluate: (codes,),
    strided=False,
    place=1,
    row="vqgan_transformer",
    colour="purple",
)
