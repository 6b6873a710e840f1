"""Official VQ-GAN checkpoints, by the names that they use (Lightning's `state_dict`)."""

import pickle
import re
import shlex
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqddm.artifacts import UserError, damaged_entry, open_file, sha256, write_checkpoint
from vqddm.settings import to_json
from vqddm.vqgan.codec import DISCRIMINATOR, FIRST_STAGE
from vqddm.vqgan.model import Discriminator, FirstStage
from vqddm.vqgan.settings import OFFICIAL_GROUPS, VQGANParams

INSIDE_TRANSFORMER = "first_stage_model."
LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)  # how files of torch before 1.6 begin


class Opaque:
    """Stands in for any Python object of a foreign pickle: keeps nothing, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def import_official(
    checkpoint: Path, params: VQGANParams, codebook_size: int, out: Path, trust_pickle: bool = False
) -> None:
    """Write an official checkpoint's first stage and discriminator as one of this project's checkpoints.

    A checkpoint without a discriminator (the CelebA-HQ one lies inside a transformer's), or with one of another width
    or depth than `params` asks for, gets a fresh, seeded one, which ReFiT then trains.

    Args:
        checkpoint: Lightning's `.ckpt`, of a first stage or of a transformer that holds one.
        params: the dataset's section `vqgan`: the networks that the tensors must fit.
        trust_pickle: unpickle it without restrictions, which lets it run any code.

    Raises:
        UserError: missing or damaged, or tensors that are missing or of the wrong shape; each is named. Or networks
            with other groups of GroupNorm, which no shape would show.
    """
    if params.autoencoder.groups != OFFICIAL_GROUPS:
        raise UserError(
            f"vqgan.autoencoder.groups: {params.autoencoder.groups}, but official checkpoints need {OFFICIAL_GROUPS}"
        )
    state = read_tensors(checkpoint, trust_pickle, _trusting(checkpoint, params, codebook_size, out))
    if any(name.startswith(INSIDE_TRANSFORMER) for name in state):
        state = {k.removeprefix(INSIDE_TRANSFORMER): v for k, v in state.items() if k.startswith(INSIDE_TRANSFORMER)}
    with torch.device("meta"):
        wanted = FirstStage(params.autoencoder, codebook_size).state_dict()
    tensors = _fitting(wanted, state, "first stage", checkpoint)
    discriminator, whence = _discriminator(params, state, checkpoint)
    about = {
        "kind": FIRST_STAGE,
        "codebook_size": codebook_size,
        "autoencoder": params.autoencoder.model_dump(mode="json"),
        "made_by": {"step": "import", **whence},
        "inputs": {checkpoint.name: sha256(checkpoint)},
    }
    write_checkpoint(out, tensors | discriminator, about)


def _trusting(checkpoint: Path, params: VQGANParams, codebook_size: int, out: Path) -> str:
    """The command that reads the same checkpoint without restrictions."""
    command = ["vqddm", "vqgan", "import", str(checkpoint), "--trust-pickle"]
    command += ["--codebook-size", str(codebook_size), "--out", str(out)]
    return shlex.join([*command, "--params", to_json(params.model_dump(mode="json", exclude_unset=True))])


def _discriminator(
    params: VQGANParams, state: Mapping[str, Tensor], checkpoint: Path
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The checkpoint's discriminator, or a fresh one where there is none of this size; and which it is."""
    asked = {"width": params.loss.discriminator_width, "layers": params.loss.discriminator_layers}
    torch.manual_seed(params.training.seed)
    fresh = {DISCRIMINATOR + name: tensor for name, tensor in Discriminator(**asked).state_dict().items()}
    beside = {name: tensor for name, tensor in state.items() if name.startswith(DISCRIMINATOR)}
    if not beside:
        return fresh, {"discriminator": "fresh"}
    found = _size(beside)
    if any(found[key] != asked[key] for key in found):
        print(
            f"vqddm: {checkpoint}: its discriminator ({_words(found)}) is not of the size that params.yaml asks for "
            f"({_words(asked)}): a fresh one takes its place, which ReFiT trains; the first stage is imported whole",
            file=sys.stderr,
        )
        return fresh, {"discriminator": "fresh", "discriminator_left_out": found}
    return _fitting(fresh, beside, "discriminator", checkpoint), {"discriminator": "official"}


def _size(discriminator: Mapping[str, Tensor]) -> dict[str, int]:
    """Width and depth, as far as the tensors that are there tell: by the first and by the last convolution."""
    size = {}
    for name, tensor in discriminator.items():
        place, _, kind = name.removeprefix(f"{DISCRIMINATOR}main.").partition(".")
        if kind != "weight" or tensor.ndim != 4:
            continue
        if place == "0":
            size["width"] = len(tensor)
        elif len(tensor) == 1:  # the last one gives logits; three modules a layer lie between
            size["layers"] = (int(place) - 2) // 3
    return size


def _words(size: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in size.items())


def read_tensors(checkpoint: Path, trust_pickle: bool, trusting: str) -> dict[str, Tensor]:
    """The tensors of a Lightning checkpoint's `state_dict`.

    Python objects beside them (old checkpoints hold Lightning's own) are passed over without running their code.

    Args:
        checkpoint: what `torch.save` wrote.
        trust_pickle: unpickle it without restrictions.
        trusting: the command that does so, for the message.

    Raises:
        UserError: missing, damaged or not such a checkpoint; or it needs code that may not run or is not here.
    """
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file; give an official checkpoint (.ckpt)")
    try:
        if (archive := _is_zip(checkpoint)) and (entry := damaged_entry(checkpoint)):
            raise UserError(f"{checkpoint}: damaged ({entry}); fetch it again")
        content = _load(checkpoint, archive, trust_pickle)
    except UserError:
        raise
    except Exception as error:  # torch raises nearly every kind on damaged files
        raise UserError(f"{checkpoint}: {_refusal(error, checkpoint, trust_pickle, trusting)}") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise UserError(f"{checkpoint}: holds no `state_dict`; give an official VQ-GAN checkpoint")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _is_zip(checkpoint: Path) -> bool:
    """Whether it is one of torch's zip archives; ValueError for what torch never wrote."""
    with open_file(checkpoint) as file:
        archive = zipfile.is_zipfile(file)
        file.seek(0)
        if not archive and file.read(len(LEGACY)) != LEGACY:
            raise ValueError("neither a whole zip archive nor torch's older format")
    return archive


def _load(checkpoint: Path, archive: bool, trust_pickle: bool) -> Any:
    """What `torch.save` wrote; as torch.load raises."""
    if trust_pickle:
        return torch.load(checkpoint, map_location="cpu", weights_only=False)
    # torch lists the classes of zip archives only; an older file is read if it holds nothing but tensors.
    foreign = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint) if archive else []
    with torch.serialization.safe_globals([(type(name, (Opaque,), {}), name) for name in foreign]):
        return torch.load(checkpoint, map_location="cpu", weights_only=True)


def _refusal(error: Exception, checkpoint: Path, trust_pickle: bool, trusting: str) -> str:
    """Why a checkpoint could not be loaded, and what to do so that the pipeline goes on."""
    if isinstance(error, pickle.UnpicklingError) and not trust_pickle:
        named = re.search(r"GLOBAL (\S+)", str(error))
        return (
            f"cannot be read without running code that it holds ({named[1] if named else 'a foreign pickle'}); if you "
            f"trust where it comes from, run this, and then the same Snakemake command as before:\n  {trusting}"
        )
    if isinstance(error, ImportError | AttributeError):
        path = str(checkpoint)
        alone = f"torch.save({{'state_dict': torch.load({path!r}, 'cpu', weights_only=False)['state_dict']}}, {path!r})"
        return (
            f"holds objects of Python code that is not here ({error}); leave --trust-pickle out if it is not needed, "
            "or install that package, or run this where it is installed, which keeps the checkpoint's tensors "
            f"alone:\n  python -c {shlex.quote(f'import torch; {alone}')}"
        )
    return f"not a whole checkpoint ({error}); fetch it again"


def _fitting(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], network: str, checkpoint: Path
) -> dict[str, Tensor]:
    """The tensors of `state` that `wanted` names, in its types; a UserError names those that do not fit."""
    wrong = [f"{name}: missing" for name in wanted if name not in state]
    wrong += [
        f"{name}: {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        more = f"\n  … and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise UserError(
            f"{checkpoint}: {len(wrong)} of {len(wanted)} tensors do not fit the {network} of params.yaml:\n  "
            + "\n  ".join(wrong[:20])
            + more
        )
    return {name: state[name].to(tensor.dtype) for name, tensor in wanted.items()}
