"""A trained model for use: draws pictures, encodes, decodes, completes, and tells how likely pictures are.

Pictures go in as a PIL image or a path, as several of them, as uint8 (N, H, W, 3) or as floats (N, 3, H, W) from 0 to 1
(arrays or tensors), of any size: the central square of each is resized, as the training pictures were. They come out as
`Pictures`. Codes are tensors, int64 (n, h, w) in [0, K), on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from numbers import Integral
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from vqddm import compute
from vqddm.api import folders
from vqddm.api.pictures import Images, Mask, Pictures, given_codes, to_pixels, upright
from vqddm.artifacts import UserError
from vqddm.batches import BATCH, BATCH_ON_GPU
from vqddm.compute import at_once, mixed, step_generator
from vqddm.data.arrays import to_bytes, to_unit
from vqddm.prior.reverse import reverse_process
from vqddm.prior.sampler import PriorSampler
from vqddm.prior.unet import Prior
from vqddm.samplers import CodeSampler, Encoded, Process, Sampling, check_pair, check_sampling
from vqddm.vqgan.codec import Codec, decode_codes, encode_images, mask_pixels


def load(name: str | Path, device: str | None = None) -> Model:
    """Read a trained model.

    Examples:
        >>> import vqddm
        >>> model = vqddm.load("faces")
        >>> model.resolution, model.codebook_size, model.shape, model.timesteps
        (32, 256, (8, 8), 100)

    Args:
        name: of a model that comes with vqddm, or a folder: one that `vqddm export` wrote, or a training's with
            `first_stage.safetensors` and `prior.safetensors`. `./faces` is a folder, whatever comes with vqddm.
        device: `cpu` or `cuda` (also `cuda:1`); None: `cuda` where there is a GPU, else `cpu`.

    Raises:
        UserError: there is no such model or device, or its files are damaged or do not fit together.
    """
    place = compute.device() if device is None else _device(device)
    return Model(*folders.read(folders.find(name), place))


def _device(name: str) -> str:
    try:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", name := str(name)):
            raise RuntimeError("give cpu or cuda")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        raise UserError(f"device {name}: not to be had here ({str(error).splitlines()[0]})") from None
    return name


class Model:
    """A trained first stage and the prior over its codes, on one device.

    Attributes:
        resolution: height and width of its pictures.
        codebook_size: the capacity K of the codebook.
        shape: (h, w) of a code map.
        timesteps: T, the most steps that a sample can take.
    """

    def __init__(self, sampler: CodeSampler, codec: Codec) -> None:
        check_pair(sampler, codec)
        self.sampler, self.codec = sampler, codec
        self.resolution: int = codec.params.resolution
        self.codebook_size: int = codec.codebook_size
        self.timesteps: int = sampler.steps[-1]
        height, width = sampler.shape
        self.shape: tuple[int, int] = (height, width)

    def __repr__(self) -> str:
        height, width = self.shape
        return (
            f"<vqddm.Model of {self.resolution} x {self.resolution} pixels in {height} x {width} codes out of "
            f"{self.codebook_size}, T = {self.timesteps}, on {self.device}>"
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.codec.parameters()).device

    def sample(
        self,
        n: int = 1,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        sampler: Process = "ancestral",
        tick: Callable[[], object] = lambda: None,
    ) -> Pictures:
        """Draw pictures.

        Examples:
            >>> pictures = model.sample(4, seed=1)
            >>> pictures[0].size, pictures.pixels.shape
            ((32, 32), torch.Size([4, 32, 32, 3]))
            >>> pictures.sheet(columns=2).save("faces.png")

        Args:
            n: number of pictures.
            steps: network evaluations for one picture, from 1 to T; None: T, the best.
            temperature: divides the logits of the codes; below 1 the pictures are more alike.
            seed: the same seed and number give the same pictures (on one device).
            sampler: `ancestral` is the paper's; `renoise` draws whole code maps and diffuses them again, step by step.
            tick: called after each step of each batch (see `batches`).

        Raises:
            UserError: a number that cannot be.
        """
        codes = self.sample_codes(n, steps=steps, temperature=temperature, seed=seed, sampler=sampler, tick=tick)
        return self.decode(codes)

    def sample_codes(
        self,
        n: int = 1,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        sampler: Process = "ancestral",
        tick: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Draw code maps, int64 (n, h, w): those that `sample` decodes, and that `vqddm prior sample` writes.

        Examples:
            >>> model.sample_codes(2, steps=10).shape
            torch.Size([2, 8, 8])

        Raises:
            UserError: a number that cannot be.
        """
        how = self.sampling(n, steps, temperature, seed, sampler)
        parts = []
        for number, size in enumerate(self.batches(n)):
            generator = step_generator(seed, number, self.device)
            with mixed(self.sampler.network):
                parts.append(self.sampler.draw(size, how, generator, tick).long().cpu())
        return torch.cat(parts)

    def sampling(
        self,
        n: int = 1,
        steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        sampler: Process = "ancestral",
    ) -> Sampling:
        """How `sample` draws, once it is known that it can; the arguments are its own.

        Examples:
            >>> model.sampling(4).steps
            100

        Raises:
            UserError: a number that cannot be.
        """
        how = Sampling(self.timesteps if steps is None else steps, temperature, sampler=sampler)
        check_sampling(self.sampler, how, n)
        _seed(seed)
        return how

    def batches(self, n: int) -> list[int]:
        """How many of `n` pictures are drawn together, batch by batch.

        Examples:
            >>> sum(model.batches(600))
            600
        """
        return [min(self._batch, n - start) for start in range(0, n, self._batch)]

    def watch(
        self,
        n: int = 1,
        *,
        steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        sampler: Process = "ancestral",
    ) -> Iterator[Tensor]:
        """Watch the reverse process: the code maps z_T, then those after each step, at last what `sample_codes` gives.

        Examples:
            >>> [len(codes) for codes in model.watch(2, steps=3)]
            [2, 2, 2, 2]

        Args:
            n: number of code maps, all in one batch.

        Returns:
            steps + 1 times int64 (n, h, w). With an absorbing transition K stands where no code is drawn yet.

        Raises:
            UserError: a number that cannot be, or the model is no diffusion.
        """
        how = self.sampling(n, steps, temperature, seed, sampler)
        if not isinstance(self.sampler, PriorSampler):
            raise UserError(f"a {self.sampler.about['kind']} has no reverse process to watch")
        return self._watched(self.sampler.network, n, how, step_generator(seed, 0, self.device))

    def _watched(self, prior: Prior, n: int, how: Sampling, generator: torch.Generator) -> Iterator[Tensor]:
        process = reverse_process(prior, (n, *self.shape), how.steps, how.temperature, generator, how.sampler)
        for _ in range(how.steps + 1):
            with mixed(prior):
                codes = next(process)
            yield codes.cpu()

    def reconstruct(self, images: Images) -> Pictures:
        """Encode and decode pictures: what the first stage keeps of them.

        Examples:
            >>> model.reconstruct(pictures).pixels.shape
            torch.Size([4, 32, 32, 3])

        Raises:
            UserError: there is no picture, or one is none.
        """
        return self.decode(self.encode(images))

    @torch.no_grad()
    def encode(self, images: Images) -> Tensor:
        """Code maps of pictures, int64 (n, h, w).

        Examples:
            >>> codes = model.encode(pictures)
            >>> codes.shape, codes.dtype
            (torch.Size([4, 8, 8]), torch.int64)

        Raises:
            UserError: there is no picture, or one is none.
        """
        return self._encoded(to_pixels(upright(images), self.resolution))

    def decode(self, codes: Tensor) -> Pictures:
        """Pictures of code maps.

        Examples:
            >>> import torch
            >>> torch.equal(model.decode(codes).pixels, model.reconstruct(pictures).pixels)
            True

        Args:
            codes: int64 (n, h, w) in [0, K), on any device.

        Raises:
            UserError: codes of another shape, or that the codebook has not.
        """
        return Pictures(torch.from_numpy(decode_codes(self.codec, self._checked(codes).cpu().numpy())))

    @torch.no_grad()
    def inpaint(
        self,
        images: Images,
        mask: Mask,
        *,
        completions: int = 1,
        steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        sampler: Process = "ancestral",
        encode: Encoded = "masked",
        tick: Callable[[], object] = lambda: None,
    ) -> list[Pictures]:
        """Draw anew what a mask marks; the codes elsewhere stay (section 4.4).

        Whole pictures are decoded, so what stays looks as in a reconstruction.

        Examples:
            >>> mask = torch.zeros(32, 32, dtype=torch.bool)
            >>> mask[:16] = True  # the upper half
            >>> [found] = model.inpaint(pictures[0], mask, completions=3)
            >>> found.pixels.shape
            torch.Size([3, 32, 32, 3])

        Args:
            mask: white (or True) where something is to be drawn anew: as large as the pictures, or (H, W) like the
                model's, or (h, w), a pixel for each code. A code of which any pixel is white is drawn anew.
            completions: for each picture.
            steps, temperature, seed, sampler: as in `sample`.
            encode: the picture that gives the codes that stay: the `masked` one, in which they know nothing of what
                is drawn anew, or the `full` one.
            tick: called after each step of each batch (see `batches`) of pictures times completions.

        Returns:
            the completions of each picture.

        Raises:
            UserError: no picture, a mask of another size or an empty one, a number that cannot be.
        """
        if not isinstance(completions, Integral) or completions < 1:
            raise UserError(f"{completions!r} completions: there must be at least one, a whole number")
        if encode not in get_args(Encoded):
            raise UserError(f"encode {encode!r}: choose from {', '.join(get_args(Encoded))}")
        how = self.sampling(completions, steps, temperature, seed, sampler)
        opened = upright(images)
        given = given_codes(mask, opened, self.resolution, self.shape).to(self.device)
        pixels = to_pixels(opened, self.resolution)
        known = self._encoded(pixels, None if encode == "full" else given)
        known = known.repeat_interleave(completions, 0)
        generator = torch.Generator(self.device).manual_seed(_seed(seed))
        parts = []
        for part in known.split(self._batch):
            with mixed(self.sampler.network):
                drawn = self.sampler.complete(part.to(self.device), given, how, generator, tick)
            parts.append(drawn.cpu())
        made = self.decode(torch.cat(parts))
        return [made[start : start + completions] for start in range(0, len(made), completions)]

    def masked(self, images: Images, mask: Mask) -> Pictures:
        """Pictures with mid-grey where `inpaint` with this mask draws anew.

        Examples:
            >>> model.masked(pictures, mask)[0].getpixel((0, 0))
            (128, 128, 128)

        Raises:
            UserError: no picture, a mask of another size or an empty one.
        """
        opened = upright(images)
        given = given_codes(mask, opened, self.resolution, self.shape)
        pixels = to_pixels(opened, self.resolution).to(self.device)
        return Pictures(torch.from_numpy(to_bytes(mask_pixels(to_unit(pixels), given.to(self.device)))))

    def bits_per_code(self, codes: Tensor, seed: int = 0) -> Tensor:
        """How likely code maps are: -log2 p / (h w), float64 (n,).

        Of a diffusion it is an upper bound (Eq. 7), estimated with one draw for each timestep.

        Examples:
            >>> bits = model.bits_per_code(model.encode(pictures))
            >>> bits.shape, bits.dtype
            (torch.Size([4]), torch.float64)

        Args:
            codes: int64 (n, h, w) in [0, K); of pictures: `model.encode(pictures)`.

        Raises:
            UserError: codes of another shape, or that the codebook has not.
        """
        checked = self._checked(codes)
        generator = torch.Generator(self.device).manual_seed(_seed(seed))
        with mixed(self.sampler.network):
            bits = self.sampler.bits_per_code(checked, generator).each
        return bits.clone().cpu()  # an ordinary tensor, whatever mode it was made in

    @property
    def _batch(self) -> int:
        """Code maps of one batch."""
        return at_once(self.device, BATCH, BATCH_ON_GPU)

    def _encoded(self, pixels: Tensor, given: Tensor | None = None) -> Tensor:
        """Codes, int64 (N, h, w), of pixels uint8 (N, H, W, 3), in which a mask (h, w) may give only some."""
        return torch.from_numpy(encode_images(self.codec, pixels.numpy(), given)).long()

    def _checked(self, codes: Tensor) -> Tensor:
        """Codes on the model's device."""
        whole = isinstance(codes, Tensor) and codes.dtype == torch.int64 and codes.numel() > 0
        if not whole or codes.shape[1:] != self.shape:
            what = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, Tensor) else f"a {type(codes).__name__}"
            raise UserError(f"{what}: no code maps; give int64 (n, {self.shape[0]}, {self.shape[1]}), n at least 1")
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            wrong = codes.min() if codes.min() < 0 else codes.max()
            raise UserError(f"code {wrong} is none of the codebook's {self.codebook_size}")
        return codes.to(self.device)


def _seed(seed: int) -> int:
    """A seed that torch and numpy take.

    Raises:
        UserError: it is no whole number, negative or too large.
    """
    if not isinstance(seed, Integral):
        raise UserError(f"seed {seed!r}: it must be a whole number")
    if not 0 <= seed < 2**63:
        raise UserError(f"seed {seed}: it must be from 0 to 2**63 - 1")
    return int(seed)  # of a numpy integer torch would not have it
