"""Samples of any method, as files."""

from pathlib import Path

from vqddm.artifacts import UserError, fingerprint, read_array, write_batches
from vqddm.compute import at_once, device, limit_threads, mixed
from vqddm.prior.batches import BATCH, BATCH_ON_GPU, forget_batches, in_batches
from vqddm.samplers import Sampler, Sampling, check_sampling, fills_codes, load_pair, load_sampler
from vqddm.state import alone_in
from vqddm.vqgan.codec import Codec, decoded


def sample_images(
    *,
    checkpoint: Path,
    first_stage: Path | None = None,
    steps: int | None = None,
    count: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    eta: float = 0.0,
    state: Path,
    codes: Path | None = None,
    out: Path,
    threads: int | None = None,
) -> None:
    """Sample images: code maps of a first stage, which are decoded, or pixels.

    Args:
        first_stage: checkpoint of the first stage that it was trained on; a method that fills pixels has none.
        steps: sampling steps, from 1 to T; left out: all.
        eta: of pixel diffusion: 0 is DDIM; 1 with all T steps is DDPM.
        state: folder of finished batches; they are deleted at the end.
        codes: the sampled code maps to write, uint16 (count, h, w), if it fills code maps.
        out: the images to write, uint8 (count, H, W, 3).

    Raises:
        UserError: method and first stage do not belong together, or numbers that cannot be.
    """
    limit_threads(threads)
    decoder: Codec | None = None
    sampler: Sampler
    if first_stage is None:
        sampler, drawn = load_sampler(checkpoint, device()), out
    else:
        sampler, decoder = load_pair(checkpoint, first_stage, device())
        drawn = codes or out.with_name(f"{out.stem}_codes.npy")
    if decoder is None and fills_codes(sampler):
        raise UserError(
            f"{checkpoint}: a {sampler.about['kind']} fills code maps; give the first stage that decodes them"
        )
    how = Sampling(sampler.steps[-1] if steps is None else steps, temperature, eta)
    check_sampling(sampler, how, count)
    with alone_in(state):
        with mixed(sampler.network):
            in_batches(
                lambda size, generator, tick: sampler.draw(size, how, generator, tick),
                count=count,
                batch_size=at_once(device(), BATCH, BATCH_ON_GPU) if decoder else BATCH,
                ticks=how.steps,
                seed=seed,
                settings=[fingerprint(checkpoint), *how, threads],
                state=state,
                out=drawn,
                device=device(),
            )
        if decoder is not None:
            write_batches(out, decoded(decoder, read_array(drawn)), count)
        forget_batches(state)
