"""Training of the first stage: Eq. 14 with VQ-GAN's perceptual and adversarial terms.

As in VQ-GAN, the absolute error stands beside the perceptual distance, where Eq. 14 prints the squared one; that may
be added with a weight.

ReFiT fine-tunes with the same recipe; it only trains fewer parameters (`vqddm/refit/finetune.py`).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from vqddm.artifacts import fingerprint
from vqddm.data.arrays import load_split, to_unit
from vqddm.recipe import Recipe, averaged, scheduled, without_wrappers
from vqddm.settings import OptimizerParams
from vqddm.training import Training, trains
from vqddm.vqgan.codec import DISCRIMINATOR, FIRST_STAGE
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.perceptual import perceptual_distance
from vqddm.vqgan.settings import AdversarialParams, VQGANParams


def adaptive_weight(
    reconstruction_loss: Tensor, generator_loss: Tensor, last_layer: Tensor, accelerator: Accelerator
) -> Tensor:
    """VQ-GAN's weight of the adversarial term, detached: the ratio of both terms' gradients at the last layer.

    The gradients are those of the whole batch, over all processes; the weight is in [0, 1e4].
    """
    (wanted,) = torch.autograd.grad(reconstruction_loss, last_layer, retain_graph=True)
    (given,) = torch.autograd.grad(generator_loss, last_layer, retain_graph=True)
    wanted, given = accelerator.reduce((wanted, given), "mean")
    return (wanted.norm() / (given.norm() + 1e-4)).clamp(0.0, 1e4).detach()


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss from its logits on real and on reconstructed images."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


class FirstStageRecipe(Recipe):
    """One step trains the first stage on a batch, then the discriminator on the same reconstructions.

    Of the first stage those parameters are trained that require gradients.

    Args:
        optimizer: for both networks; the average of the weights is the first stage's alone.
        steps: of the whole training, for the learning rates' schedule.
        device: where the averaged weights live.
    """

    main = "model"

    def __init__(
        self,
        model: FirstStage,
        discriminator: Discriminator,
        loss: AdversarialParams,
        optimizer: OptimizerParams,
        *,
        steps: int,
        learning_rate: float,
        discriminator_learning_rate: float,
        device: torch.device | None = None,
    ) -> None:
        self.loss, self.optimizer, self.steps = loss, optimizer, steps
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.perceptual = perceptual_distance(loss.perceptual)
        self.modules = {
            "model": model.to(memory_format=torch.channels_last),
            "discriminator": discriminator.to(memory_format=torch.channels_last),
        }
        adam = partial(torch.optim.Adam, betas=optimizer.betas, fused=True)
        self.optimizers = {
            "model": adam(self.trained, learning_rate),
            "discriminator": adam(discriminator.parameters(), discriminator_learning_rate),
        }
        self.average = averaged(model, optimizer.ema_decay, device)
        self.stateful = {} if self.average is None else {"average": self.average}
        self.last_layer = model.decoder.conv_out.weight

    def learning_rate_factor(self, step: int) -> float:
        """As the settings of the optimiser say."""
        return scheduled(self.optimizer, step, self.steps)

    def draw(
        self, batch: Tensor, step: int, generator: torch.Generator, accelerator: Accelerator
    ) -> tuple[Tensor, bool]:
        """Images in [-1, 1], and whether the discriminator takes part."""
        self.perceptual.to(batch.device)
        return to_unit(batch).to(memory_format=torch.channels_last), step >= self.loss.discriminator_start

    def learn(self, accelerator: Accelerator, *drawn: Any) -> dict[str, Tensor]:
        """One update of the first stage and, from `discriminator_start` on, of the discriminator."""
        images, adversarial = drawn
        discriminator = self.modules["discriminator"]
        made = self.modules["model"](images)
        reconstruction, squared = (images - made.images).abs().mean(), F.mse_loss(made.images, images)
        perceptual = self.perceptual(images, made.images).mean()
        image_loss = reconstruction + self.loss.squared_weight * squared + self.loss.perceptual_weight * perceptual
        total = image_loss + made.codebook_loss + self.loss.commitment * made.commitment_loss
        losses = {
            "reconstruction": reconstruction,
            "squared": squared,
            "perceptual": perceptual,
            "codebook": made.codebook_loss,
            "commitment": made.commitment_loss,
        }
        zero = torch.zeros((), device=images.device)
        losses |= {"generator": zero, "adaptive_weight": zero, "discriminator": zero}
        if adversarial:
            generator_loss = -discriminator(made.images).mean()
            weight = adaptive_weight(image_loss, generator_loss, self.last_layer, accelerator)
            total = total + self.loss.discriminator_weight * weight * generator_loss
            losses |= {"generator": generator_loss, "adaptive_weight": weight}
        self.optimizers["model"].zero_grad()
        accelerator.backward(total, inputs=self.trained)
        self.optimizers["model"].step()

        if adversarial:
            discriminator_loss = hinge_loss(discriminator(images), discriminator(made.images.detach()))
            self.optimizers["discriminator"].zero_grad()
            accelerator.backward(discriminator_loss)
            self.optimizers["discriminator"].step()
            losses["discriminator"] = discriminator_loss
        return {name: value.detach() for name, value in losses.items()}

    def validate(self, batch: Tensor, generator: torch.Generator, accelerator: Accelerator) -> Tensor:
        """The absolute error of reconstructions."""
        images = to_unit(batch).to(memory_format=torch.channels_last)
        model = without_wrappers(self.modules["model"], self.average, accelerator)
        return (images - model(images).images).abs().mean()

    def checkpoint(self) -> Mapping[str, Tensor]:
        """The first stage, averaged where it is, and the discriminator as it is, which ReFiT goes on with."""
        model = self.modules["model"] if self.average is None else self.average.module
        discriminator = self.modules["discriminator"].state_dict()
        return model.state_dict() | {DISCRIMINATOR + k: v for k, v in discriminator.items()}


@trains
def train_vqgan(*, data: Path, params: VQGANParams, codebook_size: int) -> Training:
    """Train a VQ-GAN from scratch (section 2.2)."""
    identity = {
        "codebook_size": codebook_size,
        "autoencoder": params.autoencoder.model_dump(mode="json"),
        "made_by": {"step": "vqgan", "params": params.model_dump(mode="json")},
        "inputs": {data.name: fingerprint(data)},
    }

    def make(device: torch.device) -> FirstStageRecipe:
        model = FirstStage(params.autoencoder, codebook_size)
        discriminator = Discriminator(params.loss.discriminator_width, params.loss.discriminator_layers)
        return FirstStageRecipe(
            model,
            discriminator,
            params.loss,
            params.optimizer,
            steps=params.training.steps,
            learning_rate=params.learning_rate,
            discriminator_learning_rate=params.discriminator_learning_rate or params.learning_rate,
            device=device,
        )

    images = load_split(data, params.autoencoder.resolution)
    return Training(make, images, load_split, params.training, {"kind": FIRST_STAGE, **identity}, identity)
