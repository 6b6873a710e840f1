"""Files at the edge: written aside and renamed, checkpoints with what made them, one kind of error.

Nothing here knows about images or networks. Every file of the pipeline is written through `replacing`, so a
killed or failed step never leaves half a file under a final name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


class UserError(Exception):
    """Something that the user can mend. The message says what is wrong, where, and what to do."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it into place when the block ends without error.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: the disk is full; free some space and run the same command again") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{path}: this folder cannot be written ({error.strerror})") from None
        raise
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys. NaN and infinity are errors: JSON has neither."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; build it with `snakemake --cores all {path}`") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}); delete it and build it again") from None


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as `.npy`."""
    import numpy as np

    with replacing(path) as aside, aside.open("wb") as handle:
        np.save(handle, array)


def write_batches(path: Path, batches: Iterable[np.ndarray], count: int) -> None:
    """Write `count` rows that come in batches as one `.npy`, without ever holding them all."""
    import numpy as np

    with replacing(path) as aside, aside.open("wb") as handle:
        for number, batch in enumerate(batches):
            if number == 0:
                about = np.lib.format.header_data_from_array_1_0(batch) | {"shape": (count, *batch.shape[1:])}
                np.lib.format.write_array_header_1_0(handle, about)
            handle.write(np.ascontiguousarray(batch).data)


def read_array(path: Path) -> np.ndarray:
    """Memory-map one `.npy` array, read-only.

    Raises:
        UserError: the file is missing, empty or cut short.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; build it with `snakemake --cores all {path}`") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a whole .npy file ({error}); delete it and build it again") from None


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These arrays of one `.npz`.

    Raises:
        UserError: the file is missing, damaged, cut short or lacks an array.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; build it with `snakemake --cores all {path}`") from None
    except KeyError as error:
        raise UserError(f"{path}: lacks an array ({error.args[0]}); delete it and build it again") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a whole .npz file ({error}); delete it and build it again") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal text."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """A file's SHA-256; for a prepared data array the one that its manifest records (arrays can be huge)."""
    manifest = path.with_suffix(".json")
    if path.suffix == ".npy" and manifest.exists():
        return str(read_json(manifest)["sha256"])
    return sha256(path)


def made_with() -> dict[str, Any]:
    """The code revision, Python and the packages that results depend on.

    The revision is git's; `+edited` says that `vqddm/` differs from it, `unknown` that this is no git checkout.
    """
    git = ["git", "-C", str(Path(__file__).resolve().parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        edited = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "vqddm"], capture_output=True).returncode
        revision = head[:12] + ("+edited" if edited else "")
    except (OSError, subprocess.CalledProcessError):
        revision = "unknown"
    packages = {name: metadata.version(name) for name in ("torch", "accelerate", "numpy", "scikit-learn")}
    return {"revision": revision, "python": platform.python_version(), **packages}


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, with `about` and what made them as JSON in the file's header."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    about = {**about, "made_with": made_with()}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as aside:
        try:
            save_file(contiguous, aside, metadata={"about": json.dumps(about, sort_keys=True)})
        except SafetensorError as error:  # wraps a full disk
            raise UserError(f"{path}: could not be written ({error})") from None
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)  # safetensors makes it the owner's alone


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint's header says: what made it, and its tensors' shapes.

    Raises:
        UserError: missing, damaged or foreign.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UserError(f"{path}: no such checkpoint; build it with `snakemake --cores all {path}`")
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None
    if "kind" not in about:
        raise UserError(f"{path}: no checkpoint of this project; its header does not say what made it")
    return {**about, "tensors": shapes}


def show_checkpoint(checkpoint: Path, *, tensors: bool = False) -> str:
    """Print what made a checkpoint: parameters, seed, inputs' checksums, code revision, package versions.

    Args:
        checkpoint: a `.safetensors` file of this project.
        tensors: every tensor's shape too.
    """
    import yaml

    about = describe_checkpoint(checkpoint)
    shapes = about.pop("tensors")
    lines = [yaml.safe_dump(about, sort_keys=False, width=110).rstrip()]
    lines.append(f"tensors: {len(shapes)}, {sum(math.prod(shape) for shape in shapes.values())} numbers")
    if tensors:
        lines += [f"  {name} {shape}" for name, shape in shapes.items()]
    return "\n".join(lines)


def read_checkpoint(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint whose `about["kind"]` is `kind`, such as `first stage` or `prior`: tensors, and what made them.

    Raises:
        UserError: missing, damaged, foreign or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UserError(f"{path}: no such checkpoint; build it with `snakemake --cores all {path}`")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); delete it and build it again") from None
    if about.get("kind") != kind:
        raise UserError(f"{path}: holds a {about.get('kind', 'foreign checkpoint')}, not a {kind}")
    return tensors, about
