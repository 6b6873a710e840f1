"""Files at the edge: written aside and renamed, checkpoints with what made them, one kind of error.

Nothing here knows about images or networks. Every file of the pipeline is written through `replacing`, so a
killed or failed step never leaves half a file under a final name.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import platform
import re
import shlex
import stat
import subprocess
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    import torch


BUILT = ("data", "models", "evaluation", "results")  # folders that the pipeline fills
SUM = b"\ncrc32 %08x\n"  # behind an array
SUMMED = 2**33  # bytes of an array whose checksum is compared whenever it is opened
PLACE = re.sub(r"\W", "-", platform.node())  # in the names of half-written files: whose process numbers stand there


class UserError(Exception):
    """Something that the user can mend. The message says what is wrong, where, and what to do."""


def shown(name: str | Path) -> str:
    """A name in one line that can be printed: line breaks and bytes that are no text are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(name))


def expanded(path: str | Path) -> Path:
    """A path with the home folder in the place of `~`.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:  # Python knows no home of that user
        raise UserError(f"{shown(path)}: there is no user {shown(Path(path).parts[0])}; write the whole path") from None


def sentence(error: UserError) -> str:
    """What is printed of an error; nothing in it can write elsewhere on a terminal."""
    return "vqddm: " + "\n".join(map(shown, str(error).split("\n")))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it into place when the block ends without error.

    What killed processes of this machine left half written for the same path goes away.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f".{path.stem}.{PLACE}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_halves(path)
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: the disk is full; free some space and run the same command again") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise UserError(f"{path}: cannot be written ({error.strerror})") from None
        if "requested and" in str(error):  # numpy's own words of an array that was not written whole
            raise UserError(f"{path}: could not be written whole ({error}); is the disk full?") from None
        raise
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def clear_halves(path: Path) -> None:
    """Delete what processes that are dead left of `path`; of another machine's nobody here knows whether they are."""
    for half in path.parent.glob(glob.escape(f".{path.stem}.{PLACE}.") + f"*.partial{glob.escape(path.suffix)}"):
        pid = half.name.removeprefix(f".{path.stem}.{PLACE}.").split(".")[0]
        with contextlib.suppress(OSError, ValueError, OverflowError):
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                half.unlink()


def open_file(path: Path) -> BufferedReader:
    """Open a file to be read. A pipe would never end.

    Raises:
        OSError: it is missing, may not be read, or is no file.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # `open` tells of a folder
        raise OSError(errno.EINVAL, "a pipe, a socket or a device and no file", str(path))
    return path.open("rb")


@contextlib.contextmanager
def reading(path: Path, otherwise: str, suffix: str = "") -> Iterator[BinaryIO]:
    """Open a file of ours; whatever is wrong with it ends in one sentence.

    Args:
        otherwise: what to call it when the block fails, such as `not JSON`.
        suffix: of such files of ours; nobody is told to delete another file.

    Raises:
        UserError: it is missing, cannot be opened, or what is done in the block raises anything.
    """
    again = f"`snakemake --cores all {shlex.quote(str(path))}`"
    try:
        handle = open_file(path)
    except FileNotFoundError:
        how = f"; build it with {again}" if path.parts[0] in BUILT else ""
        raise UserError(f"{shown(path)}: no such file{how}") from None
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    with handle:
        try:
            yield handle
        except UserError:
            raise
        except Exception as error:  # a damaged file can make its reader raise anything
            words = " ".join(str(error).split())[:300] or type(error).__name__
            advice = "delete it and build it again"
            if not path.name.endswith(suffix):
                advice = f"give a file {suffix} of this project"
            elif path.parts[0] not in BUILT:  # it may be a stranger's of that name
                advice = f"if this project made it, {advice}"
            raise UserError(f"{shown(path)}: {otherwise} ({words}); {advice}") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys.

    Raises:
        UserError: a number is NaN or infinite, which JSON has not, or the disk is full.
    """
    try:
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    except ValueError as error:
        raise UserError(f"{path}: not written ({error}); what it is made from is too little or damaged") from None
    with replacing(path) as aside:
        aside.write_text(text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Its objects name the file when they are asked for a key that they lack.

    Raises:
        UserError: the file is missing or is not JSON, to which NaN does not belong.
    """

    class Entries(dict[str, Any]):
        def __missing__(self, key: Any) -> Any:
            raise UserError(f"{path}: lacks `{key}`; delete it and build it again")

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    with reading(path, "not JSON", ".json") as handle:
        return json.loads(handle.read().decode("utf-8"), object_hook=Entries, parse_constant=refuse)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as `.npy`."""
    import numpy as np

    with replacing(path) as aside:
        with aside.open("wb") as handle:
            np.save(handle, array)
        _append_sum(aside)


def write_batches(path: Path, batches: Iterable[np.ndarray], count: int) -> None:
    """Write `count` rows that come in batches as one `.npy`, without ever holding them all."""
    import numpy as np

    with replacing(path) as aside:
        with aside.open("wb") as handle:
            for number, batch in enumerate(batches):
                if number == 0:
                    about = np.lib.format.header_data_from_array_1_0(batch) | {"shape": (count, *batch.shape[1:])}
                    np.lib.format.write_array_header_1_0(handle, about)
                handle.write(np.ascontiguousarray(batch).data)
        _append_sum(aside)


def _append_sum(path: Path) -> None:
    """Put the checksum of an array's file behind it, where readers of `.npy` do not look."""
    found = checksum(path)
    with path.open("ab") as handle:
        handle.write(SUM % found)


def read_array(path: Path, dtype: str | None = None, axes: int | None = None) -> np.ndarray:
    """Memory-map one `.npy` array, read-only.

    Its checksum is compared, the one behind it or that of a prepared split's manifest, unless it has none (it is of
    an earlier version) or is larger than `SUMMED`, where that would take minutes.

    Raises:
        UserError: the file is missing, damaged, cut short, or of another type or number of axes than expected.
    """
    import numpy as np

    with reading(path, "not a whole .npy file", ".npy") as handle:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        end = array.offset + array.nbytes
        handle.seek(end)
        behind = handle.read(len(SUM % 0) + 1)
        if len(behind) not in (0, len(SUM % 0)):
            raise ValueError("it does not end where its header says")
        if array.nbytes <= SUMMED:
            if behind and behind != SUM % checksum(path, end):
                raise ValueError("its checksum is another")
            recorded = (_manifest(path) or {}).get("sha256")
            if recorded and recorded != sha256(path):
                raise UserError(
                    f"{path} and its manifest {path.with_suffix('.json').name} do not belong together (the SHA-256 is "
                    "another); either can be at fault: delete both and prepare the dataset again"
                )
    if (dtype and array.dtype != dtype) or axes not in (None, array.ndim):
        expected = " ".join([dtype or "", f"with {axes} axes" if axes is not None else ""]).strip()
        raise UserError(f"{path}: {array.dtype} {array.shape}, but expected {expected}; give or build the right file")
    return array


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These arrays of one `.npz`.

    Raises:
        UserError: the file is missing, damaged, cut short or lacks an array.
    """
    import numpy as np

    with reading(path, "not a whole .npz file", ".npz") as handle, np.load(handle, allow_pickle=False) as file:
        if lacking := [name for name in names if name not in file]:
            raise UserError(f"{path}: lacks an array ({', '.join(lacking)}); delete it and build it again")
        return {name: file[name] for name in names}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal text."""
    with open_file(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksum(path: Path, end: int | None = None) -> int:
    """The CRC-32 of a file's content, or of that before `end`: for damage, not malice, twice as fast as SHA-256."""
    found, left = 0, path.stat().st_size if end is None else end
    with open_file(path) as handle:
        while piece := handle.read(min(2**20, left)):
            found, left = zlib.crc32(piece, found), left - len(piece)
    return found


def damaged_entry(path: Path) -> str | None:
    """The first entry of a zip, such as `torch.save` writes, that is not what was written; torch does not look."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def json_sum(value: Any) -> int:
    """The CRC-32 of a value as sorted JSON, the same before it is written and after it is read: its keys are text."""
    return zlib.crc32(json.dumps(json.loads(json.dumps(value)), sort_keys=True).encode())


def fingerprint(path: Path) -> str:
    """A file's SHA-256; for a prepared data array the one that its manifest records (arrays can be huge)."""
    manifest = _manifest(path)
    if manifest is None:
        return sha256(path)
    if not isinstance(manifest["sha256"], str):
        what = "its `sha256` is no checksum; delete it and prepare the dataset again"
        raise UserError(f"{path.with_suffix('.json')}: {what}")
    return manifest["sha256"]


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest beside a prepared data array; None where there is none."""
    beside = path.with_suffix(".json")
    if path.suffix != ".npy" or not beside.exists():
        return None
    manifest = read_json(beside)
    if not isinstance(manifest, dict):
        raise UserError(f"{beside}: not the manifest of a prepared split; delete it and prepare the dataset again")
    return manifest


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


def code_and_packages() -> dict[str, Any]:
    """A digest of all code of `vqddm/`, with Python and the packages: what is made by equal ones is equal."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    made = {key: value for key, value in made_with().items() if key != "revision"}
    return {"made_with": made, "code": digest.hexdigest()}


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, with `about` and what made them as JSON in the file's header, and a checksum.

    Raises:
        UserError: a number is NaN, or the disk is full.
    """
    from safetensors.torch import save

    about = {**about, "made_with": made_with()}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if broken := _with_nan(contiguous):
        raise UserError(f"{path}: not written, for {broken} holds NaN; lower the learning rate and train anew")
    with replacing(path) as aside:
        # Not by safetensors' own function, which writes to a name that nobody could clear away.
        # One entry: safetensors writes several in an order that changes from run to run.
        about |= {"crc32": _checkpoint_sum(about, contiguous), "summed": True}
        aside.write_bytes(save(contiguous, {"about": json.dumps(about, sort_keys=True)}))


def _checkpoint_sum(about: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """The CRC-32 of all that a checkpoint holds, names, types and shapes of its tensors included."""
    import torch

    found = json_sum(about)
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def _with_nan(tensors: Mapping[str, torch.Tensor]) -> str | None:
    return next((name for name, tensor in tensors.items() if tensor.isnan().any()), None)


def checkpoint_in_words(checkpoint: Path, tensors: bool = False) -> str:
    """What made a checkpoint, as YAML, and how large it is; with every tensor's shape if so asked.

    Raises:
        UserError: missing, damaged or foreign.
    """
    import yaml

    about = describe_checkpoint(checkpoint)
    shapes = about.pop("tensors")
    lines = [yaml.safe_dump(about, sort_keys=False, width=110).rstrip()]
    lines.append(f"tensors: {len(shapes)}, {sum(math.prod(shape) for shape in shapes.values())} numbers")
    if tensors:
        lines += [f"  {name} {shape}" for name, shape in shapes.items()]
    return "\n".join(lines)


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint's header says: what made it, and its tensors' shapes.

    Raises:
        UserError: missing, damaged or foreign.
    """
    tensors, about = _read_checkpoint(path)
    if "kind" not in about:
        raise UserError(f"{path}: no checkpoint of this project; its header does not say what made it")
    return {**about, "tensors": {name: list(tensor.shape) for name, tensor in tensors.items()}}


def read_checkpoint(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint whose `about["kind"]` is `kind`, such as `first stage` or `prior`: tensors, and what made them.

    Raises:
        UserError: missing, damaged, foreign or of another kind.
    """
    tensors, about = _read_checkpoint(path)
    if about.get("kind") != kind:
        raise UserError(f"{path}: holds a {about.get('kind', 'foreign checkpoint')}, not a {kind}")
    if broken := _with_nan(tensors):
        raise UserError(f"{path}: {broken} holds NaN; delete it and train anew with a lower learning rate")
    return tensors, about


def _read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the header's `about` (empty: it has none) of a whole file; one without checksum is believed."""
    from safetensors import safe_open

    with reading(path, "not a whole safetensors file", ".safetensors"):
        with safe_open(path, framework="pt") as file:
            about = dict(json.loads((file.metadata() or {}).get("about", "{}")))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if about.keys() & {"crc32", "summed"}:  # both, if one of them is not what is damaged
            told = about.pop("crc32", None)
            if not about.pop("summed", False) or told != _checkpoint_sum(about, tensors):
                raise ValueError("its checksum is another")
        return tensors, about
