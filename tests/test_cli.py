"""The command line: what every command takes, and what it says when it is given something else."""

from __future__ import annotations

from enum import Enum
from typing import Any, get_args, get_origin

import pytest
import typer

from vqddm.cli import app

# Each command with its arguments and options: `--name:type`; `*` may be given several times; `=` may be left out, with
# its default; `≥` the least value; `$` the environment variable that is taken instead.
COMMANDS = """
schema
    --out:path=
check
    path:path=params.yaml
show
    checkpoint:path --tensors:flag
launch
    --processes:int=1≥1 --nodes:int=1≥1
describe
data prepare
    --params:json --out:path --workers:int=
vqgan train
    --data:path --params:json --codebook-size:int --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --threads:int=≥1
vqgan import
    checkpoint:path --params:json --codebook-size:int --out:path --trust-pickle:flag
vqgan weights
    name:str
refit rebuild
    --source:path --data:path --params:json --codebook-size:int --features:int --out:path --threads:int=≥1
refit finetune
    --source:path --centres:path --data:path --params:json --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --threads:int=≥1
refit encode
    --first-stage:path --data:path* --out:path* --threads:int=≥1
prior train
    --codes:path --params:json --codebook-size:int --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --micro-batch:int=≥1$VQDDM_MICRO_BATCH --threads:int=≥1
prior sample
    --prior:path --first-stage:path --steps:int --state:path --codes:path --out:path --count:int=64
    --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1
prior inpaint
    --prior:path --first-stage:path --data:path --out:path --count:int=8≥1 --encode:masked|full=masked
    --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1
baselines train-vqvae2
    --data:path --autoencoder:json --params:json --codebook-size:int --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines train-dvae
    --data:path --autoencoder:json --params:json --codebook-size:int --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines train-transformer
    --codes:path --params:json --codebook-size:int --state:path --out:path --curve:path
    --save-seconds:float=60.0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines sample-transformer
    --transformer:path --first-stage:path --state:path --codes:path --out:path --count:int=64 --seed:int=0≥0
    --temperature:float=1.0 --threads:int=≥1
baselines inpaint-transformer
    --transformer:path --first-stage:path --data:path --out:path --count:int=8≥1 --encode:masked|full=masked
    --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1
baselines train-ddpm
    --data:path --params:json --state:path --out:path --curve:path --save-seconds:float=60.0$VQDDM_SAVE_SECONDS
    --threads:int=≥1
baselines sample-ddpm
    --ddpm:path --steps:int --state:path --out:path --count:int=64 --eta:float=0.0 --seed:int=0≥0
    --threads:int=≥1
evaluate features
    --data:path --count:int≥1 --out:path --network:str=efficientnet_lite0 --threads:int=≥1
evaluate floor
    --train:path --test:path --out:path --network:str=efficientnet_lite0 --draws:int=1≥1 --seed:int=0≥0
evaluate reconstruction
    --first-stage:path --codes-train:path --codes-test:path --test:path --reference:path --images:int --out:path
    --pictures:path --sampled-features:int= --network:str=efficientnet_lite0 --draws:int=1≥1 --seed:int=0≥0
    --threads:int=≥1
evaluate samples
    --samples:path --reference:path --out:path --steps:int= --temperature:float=1.0
    --network:str=efficientnet_lite0 --draws:int=1≥1 --seed:int=0≥0 --threads:int=≥1
evaluate likelihood
    --prior:path --codes-train:path --codes-test:path --images:int≥1 --out:path --seed:int=0≥0 --threads:int=≥1
evaluate transformer-likelihood
    --transformer:path --codes-train:path --codes-test:path --images:int≥1 --out:path --threads:int=≥1
evaluate counts
    --vqgan:json --prior:json --codebook-size:int --out:path
evaluate transformer-counts
    --vqgan:json --transformer:json --codebook-size:int --out:path
evaluate ddpm-counts
    --ddpm:json --resolution:int --out:path
evaluate paper-counts
    --out:path
evaluate speed
    --prior:path --first-stage:path --name:str --out:path --transformer:path= --ddpm:path= --threads:int=≥1
evaluate cost
    --params:json --out:path --micro-batch:int=≥1$VQDDM_MICRO_BATCH --threads:int=≥1
evaluate chain
    --prior:path --first-stage:path --data:path --out:path --image:int=0≥0 --seed:int=0≥0 --threads:int=≥1
evaluate inpainting
    --pictures:path --reference:path --out:path --against:path= --network:str=efficientnet_lite0 --draws:int=1≥1
    --threads:int=≥1
evaluate neighbours
    --samples:path --train:path --out:path --count:int=8≥1 --neighbours:int=10≥1 --threads:int=≥1
paper table
    name:str --plan:json --root:path --out:path
paper figure
    number:int --plan:json --root:path --out:path --models:path=models
paper claims
    --plan:json --root:path --out:path
paper page
    --plan:json --root:path --out:path
paper so-far
    --plan:json --root:path --out:path --models:path=models
ledger stages
ledger restore
ledger record
    targets:str*=
ledger accept
    --yes:flag
"""


def table() -> dict[str, set[str]]:
    """`COMMANDS` by name."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in COMMANDS.strip().splitlines():
        if line.startswith(" "):
            found[name].update(line.split())
        else:
            name = line
            found[name] = set()
    return found


JSON = {"--params", "--autoencoder", "--plan", "--vqgan"}


def walk(command: Any, words: tuple[str, ...] = ()) -> Any:
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name, sub in command.commands.items():
        yield from walk(sub, (*words, name))


def written(words: str, parameter: Any) -> str:
    name, kind = parameter.opts[0], parameter.type_descriptor.annotation
    many = parameter.multiple or parameter.nargs == -1
    if isinstance(kind, type) and issubclass(kind, Enum):
        text = "|".join(choice.value for choice in kind)
    elif get_origin(kind) is list:
        text, many = get_args(kind)[0].__name__, True
    else:
        text = kind.__name__
    if name in JSON or (words.endswith("counts") and name in ("--prior", "--transformer", "--ddpm")):
        text = "json"
    text = "flag" if kind is bool else name + ":" + text.replace("Path", "path") + "*" * many
    if kind is bool:
        return f"{name}:{text}"
    if not parameter.required:
        default = parameter.default
        default = default.value if isinstance(default, Enum) else default
        text += "=" + ("" if default is None or default == [] or callable(default) else str(default))
    if getattr(parameter, "min", None) is not None:
        text += f"≥{parameter.min}"
    return text + (f"${parameter.envvar}" if parameter.envvar else "")


@pytest.mark.parametrize(("words", "wanted"), table().items())
def test_every_command_takes_what_it_took(words, wanted):
    commands = dict(walk(typer.main.get_command(app)))
    found = {written(words, parameter) for parameter in commands[words].params if "--help" not in parameter.opts}
    assert found == wanted
    assert list(commands) == list(table())
