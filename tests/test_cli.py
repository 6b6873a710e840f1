"""The command line: what every command takes, and what it says when it is given something else."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from unittest.mock import patch

import pytest
import yaml
from cyclopts.argument import Argument

from vqddm import cli, params, slurm
from vqddm.methods import METHODS
from vqddm.registry import imported
from vqddm.settings import Section

# Each command with its arguments and options: `--name:type`; `*` may be given several times; `=` may be left out, with
# its default; `≥` the least value; `$` the environment variable that is taken instead.
COMMANDS = """
sample
    model:str=faces --count:int=16≥1 --steps:int= --temperature:float=1.0 --seed:int=0≥0
    --sampler:ancestral|renoise=ancestral --device:str= --scale:int= --out:path=samples.png
reconstruct
    pictures:path* --model:str=faces --device:str= --scale:int= --out:path=reconstructed.png
inpaint
    picture:path --mask:path --model:str=faces --count:int=4≥1 --steps:int= --temperature:float=1.0 --seed:int=0≥0
    --sampler:ancestral|renoise=ancestral --encode:masked|full=masked --device:str= --scale:int=
    --out:path=inpainted.png
demo
    model:str= --host:str=127.0.0.1 --port:int=≥1 --device:str=
export
    folder:path --out:path --precision:half|full=half --results:path= --licence:path=
tensorboard
    folder:path --out:path=runs
schema
    --out:path=
check
    path:path=params.yaml --resolved:flag --dataset:str=
show
    checkpoint:str --tensors:flag
launch
    arguments:str*= --processes:int=1≥1 --nodes:int=1≥1
describe
    path:path=params.yaml
data prepare
    --params:json --out:path --workers:int=
vqgan train
    --data:path --params:json --codebook-size:int≥1 --state:path --out:path --curve:path --validation:path=
    --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
vqgan import
    checkpoint:path --params:json --codebook-size:int≥1 --out:path --trust-pickle:flag
vqgan weights
    name:str
refit rebuild
    --source:path --data:path --params:json --codebook-size:int≥1 --features:int --out:path --threads:int=≥1
refit finetune
    --source:path --data:path --params:json --state:path --out:path --curve:path --validation:path=
    --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
refit encode
    --first-stage:path --data:path* --state:path --out:path* --threads:int=≥1
refit encode-shard
    --first-stage:path --data:path* --shard:str --state:path --threads:int=≥1
prior train
    --codes:path --params:json --codebook-size:int≥1 --state:path --out:path --curve:path --validation:path=
    --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --micro-batch:int=≥1$VQDDM_MICRO_BATCH --threads:int=≥1
prior sample
    --prior:path --first-stage:path= --steps:int= --state:path --codes:path= --out:path --eta:float=0.0
    --count:int=64≥1 --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1 --sampler:ancestral|renoise=ancestral
prior inpaint
    --prior:path --first-stage:path --data:path --out:path --count:int=8≥1 --encode:masked|full=masked
    --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1 --sampler:ancestral|renoise=ancestral
baselines train-vqvae2
    --data:path --autoencoder:json --params:json --codebook-size:int≥1 --state:path --out:path --curve:path
    --validation:path= --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines train-dvae
    --data:path --autoencoder:json --params:json --codebook-size:int≥1 --state:path --out:path --curve:path
    --validation:path= --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines train-transformer
    --codes:path --params:json --codebook-size:int≥1 --state:path --out:path --curve:path --validation:path=
    --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines sample-transformer
    --transformer:path --first-stage:path= --steps:int= --state:path --codes:path= --out:path --eta:float=0.0
    --count:int=64≥1 --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1 --sampler:ancestral|renoise=ancestral
baselines inpaint-transformer
    --transformer:path --first-stage:path --data:path --out:path --count:int=8≥1 --encode:masked|full=masked
    --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1 --sampler:ancestral|renoise=ancestral
baselines train-ddpm
    --data:path --params:json --state:path --out:path --curve:path --validation:path=
    --save-seconds:float=60.0≥0$VQDDM_SAVE_SECONDS --threads:int=≥1
baselines sample-ddpm
    --ddpm:path --first-stage:path= --codes:path= --temperature:float=1.0 --steps:int= --state:path --out:path
    --count:int=64≥1 --eta:float=0.0 --sampler:ancestral|renoise=ancestral --seed:int=0≥0 --threads:int=≥1
prior sample-shard
    --checkpoint:path --shard:str --steps:int= --state:path --eta:float=0.0
    --count:int=64≥1 --seed:int=0≥0 --temperature:float=1.0 --threads:int=≥1 --sampler:ancestral|renoise=ancestral
evaluate features
    --data:path --count:int≥1 --state:path --out:path --network:str=efficientnet_lite0 --threads:int=≥1
evaluate features-shard
    --data:path --count:int≥1 --shard:str --state:path --network:str=efficientnet_lite0 --threads:int=≥1
evaluate floor
    --train:path --test:path --out:path --network:str=efficientnet_lite0 --draws:int=1≥1 --seed:int=0≥0
evaluate reconstruction
    --first-stage:path --codes-train:path --codes-test:path --test:path --reference:path --images:int≥1 --out:path
    --pictures:path --sampled-features:int=≥1 --network:str=efficientnet_lite0 --draws:int=1≥1 --seed:int=0≥0
    --threads:int=≥1
evaluate samples
    --samples:path --reference:path --out:path --steps:int= --temperature:float=1.0 --network:str=efficientnet_lite0
    --draws:int=1≥1 --seed:int=0≥0 --threads:int=≥1
evaluate likelihood
    --prior:path --codes-train:path --codes-test:path --images:int≥1 --out:path --seed:int=0≥0 --threads:int=≥1
evaluate transformer-likelihood
    --transformer:path --codes-train:path --codes-test:path --images:int≥1 --out:path --seed:int=0≥0
    --threads:int=≥1
evaluate counts
    --vqgan:json --prior:json --codebook-size:int≥1 --out:path
evaluate transformer-counts
    --vqgan:json --transformer:json --codebook-size:int≥1 --out:path
evaluate ddpm-counts
    --ddpm:json --resolution:int≥1 --out:path
evaluate paper-counts
    --paper:json --out:path
evaluate speed
    --prior:path --first-stage:path --name:str --out:path --transformer:path= --ddpm:path= --threads:int=≥1
evaluate cost
    --params:json --out:path --micro-batch:int=≥1$VQDDM_MICRO_BATCH --threads:int=≥1
evaluate chain
    --prior:path --first-stage:path --data:path --out:path --image:int=0≥0 --seed:int=0≥0 --threads:int=≥1
evaluate film
    --prior:path --first-stage:path --out:path --strip:path --temperature:float=1.0 --seed:int=0≥0 --threads:int=≥1
evaluate trainings
    --metrics:path* --out:path
evaluate inpainting
    --pictures:path --reference:path --out:path --against:path= --network:str=efficientnet_lite0 --draws:int=1≥1
    --threads:int=≥1
evaluate neighbours
    --samples:path --train:path --out:path --count:int=8≥1 --neighbours:int=10≥1 --threads:int=≥1
paper table
    name:str --plan:json --root:path --out:path
paper figure
    number:int --plan:json --root:path --out:path --evaluation:path=evaluation
paper claims
    --plan:json --root:path --out:path
paper page
    --plan:json --root:path --out:path
paper overview
    --root:path --out:path
paper timeline
    --suite:str --out:path --benchmarks:path=benchmarks
paper remake
    --plan:json --root:path
paper so-far
    --plan:json --root:path --out:path --evaluation:path=evaluation
ledger stages
    --root:path=.
ledger restore
    --root:path=.
ledger record
    targets:str*= --root:path=.
ledger accept
    --yes:flag --root:path=.
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


def written(argument: Argument) -> str:
    """An argument or option as `COMMANDS` writes it."""
    kind, default, parameter = argument.hint, argument.field_info.default, argument.parameter
    many = get_origin(kind) in (list, Sequence)
    kinds = [part for part in get_args(kind) or (kind,) if part is not type(None)]
    if get_origin(kind) is Literal:
        text = "|".join(kinds)
    elif issubclass(kinds[0], Section):
        text = "json"
    else:
        text = {bool: "flag", Path: "path"}.get(kinds[0], kinds[0].__name__) + "*" * many
    text = f"{argument.name.lower()}:{text}"
    if kind is not bool and not argument.required:
        text += "=" + ("" if default in (None, ()) else str(default))
    text += "".join(f"≥{validator.gte}" for validator in parameter.validator)
    return text + "".join(f"${variable}" for variable in parameter.env_var)


def test_the_table_lists_every_command():
    assert sorted(cli.commands()) == sorted(table()), "a new command belongs in this module's COMMANDS"


@pytest.mark.parametrize(("words", "wanted"), table().items())
def test_every_command_takes_what_is_written_here(words, wanted):
    found = {written(argument) for argument in cli.command(words).assemble_argument_collection()}
    assert found == wanted


def said(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    try:
        with patch.object(sys, "argv", ["vqddm", *tokens]), patch("signal.signal"):
            cli.main()
        code: Any = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    captured = capsys.readouterr()
    return code, captured.out, captured.err


FEATURES = ["evaluate", "features", "--data", "x.npy", "--state", "z", "--out", "y.npy"]


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (["tabel"], ": there is no command `tabel`; did you mean `vqddm paper table`?"),
        (["sampel", "faces"], ": there is no command `sampel faces`; did you mean `vqddm sample`?"),
        (["Sample", "faces"], ": there is no command `Sample faces`; did you mean `vqddm sample`?"),
        (["prior", "sampel"], ": there is no command `prior sampel`; did you mean `vqddm prior sample`?"),
        (["prior", "--out"], ": there is no command `prior --out`; `vqddm prior --help` lists what there is"),
        (["--wrong"], ": there is no command `--wrong`; `vqddm --help` lists what there is"),
        (["check", "--wrong"], " check: Unknown option: --wrong."),
        (["check", "one", "two"], " check: 'two' is one argument too many"),
        (["paper", "figure", "one"], " paper figure: 'one' is no whole number"),
        (FEATURES, " evaluate features: --count is missing"),
        ([*FEATURES, "--count", "1.5"], " evaluate features: Invalid value for --count: '1.5' is no whole number"),
        ([*FEATURES, "--count", "0"], ' evaluate features: Invalid value "0" for --count. Must be >= 1.'),
        ([*FEATURES[:-1], "", "--count", "3"], " evaluate features: Invalid value for --out: an empty text is no path"),
        (["show", ""], " show: an empty text names nothing"),
        (["sample", ""], " sample: an empty text names nothing"),
        (
            ["refit", "encode", "--data", "", "--first-stage=x", "--state=z", "--out=y"],
            " refit encode: Invalid value for --data: an empty text is no path",
        ),
        (
            ["prior", "sample", "--prior=x", "--out=y", "--eta=nan"],
            " prior sample: Invalid value for --eta: 'nan' is no finite number",
        ),
        (["show", "x", "--no-tensors"], " show: Unknown option: --no-tensors. Did you mean --tensors?"),
        (["launch", "--processes", "0", "check"], ' launch: Invalid value "0" for --processes. Must be >= 1.'),
    ],
)
def test_what_cannot_be_read_ends_with_one_sentence_and_two(tokens, sentence, capsys):
    assert said(capsys, *tokens) == (2, "", f"vqddm{sentence}\n")


def test_what_the_user_can_mend_ends_with_one_sentence_and_one(capsys, tmp_path):
    (tmp_path / "one.yaml").touch()
    told = f"vqddm: {tmp_path}/none.yaml: no such file (did you mean `one.yaml`?); {tmp_path} has one.yaml\n"
    assert said(capsys, "check", str(tmp_path / "none.yaml")) == (1, "", told)
    code, _, told = said(capsys, "data", "prepare", "--out", str(tmp_path), "--params", '{"sauce": 1}')
    assert code == 1 and "vqddm: --params: " in told and "sauce" in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("nosuch", "nosuch: neither a folder nor a model that comes with vqddm (there are: faces, fashion)"),
        ("x.safetensors", "x.safetensors: no such file"),
        ("models/x.safetensors", "no such file; build it with `snakemake --cores all models/x.safetensors`"),
    ],
)
def test_only_what_the_pipeline_makes_is_said_to_be_made_by_it(checkpoint, words, capsys):
    code, _, told = said(capsys, "show", checkpoint)
    assert code == 1 and told.endswith(f"{words}\n")


def test_a_strangers_file_is_not_said_to_be_worth_deleting(capsys, tmp_path):
    for name in ("picture.safetensors", "picture.png"):
        (tmp_path / name).write_bytes(b"\x89PNG and more")
        code, _, told = said(capsys, "show", str(tmp_path / name))
        assert code == 1 and "not a whole safetensors file" in told and "; delete it" not in told


def test_what_made_a_model_is_shown_by_its_name(capsys):
    code, told, _ = said(capsys, "show", "fashion")
    assert code == 0 and told.index("kind: first stage") < told.index("kind: prior")


def test_a_command_that_counts_says_nothing_of_other_libraries_leaks():
    done = subprocess.run(
        [sys.executable, "-m", "vqddm", "describe", "--help"], capture_output=True, text=True, check=True
    )
    assert "leaked" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "tokens", [[], ["--help"], ["prior"], ["prior", "--help"], *([step] for step in cli.STEPS if step)]
)
def test_lists_name_each_command_and_what_it_does(tokens, capsys):
    code, told, _ = said(capsys, *tokens)
    assert code == 0
    step = tokens[0] if tokens and tokens[0] != "--help" else ""
    text = " ".join(word for word in told.split() if word != "│")
    for name, (reference, *_) in cli.commands().items():
        if name.startswith(step):
            assert name.split()[-1] in text
            assert cli.summary(reference).replace("`", "").split()[0] in text


def test_each_option_has_its_help():
    lacking = [
        f"{name} {argument.name}"
        for name in cli.commands()
        for argument in cli.command(name).assemble_argument_collection(parse_docstring=True)
        if not argument.parameter.help
    ]
    assert not lacking


class Sauce(Section):
    """Settings of `toy`."""

    salt: int


def toy(
    targets: Sequence[str] = (),
    *,
    params: Sauce,
    data: list[Path],
    seed: int = 0,
    save_seconds: float = 60.0,
    yes: bool = False,
    say: Callable[[str], object] = print,
) -> str:
    """Do nothing.

    Args:
        targets: words.
        params: the section `sauce`.
        data: files.
        seed: seed.
        save_seconds: how often.
        yes: do not ask.
        say: is told everything.
    """
    return f"{list(targets)} {params.salt} {[str(path) for path in data]} {seed} {save_seconds} {yes} {say is print}"


@pytest.fixture
def toys(monkeypatch, capsys):
    """What `vqddm toys toy` says, given these options too."""
    monkeypatch.setitem(cli.TABLE, "prior toy TARGETS", f"{__name__}:toy")
    given = ["prior", "toy", "--params", '{"salt": 3}', "--data", "one"]
    return lambda *tokens: said(capsys, *given, *tokens)


def test_values_are_of_the_annotated_types(toys):
    assert toys() == (0, "[] 3 ['one'] 0 60.0 False True\n", "")
    told = toys("a", "b", "--data", "two", "--seed=4", "--save-seconds", "1e3", "--yes")
    assert told == (0, "['a', 'b'] 3 ['one', 'two'] 4 1000.0 True True\n", "")
    assert toys("--params", "{}")[0] == 2  # twice
    assert toys("--params.salt", "3")[0] == 2
    assert toys("--say", "x")[2].startswith("vqddm prior toy: Unknown option: --say.")


def test_a_variable_stands_for_an_option_and_an_empty_one_for_nothing(toys, monkeypatch):
    monkeypatch.setenv("VQDDM_SAVE_SECONDS", "")
    assert " 60.0 " in toys()[1]
    monkeypatch.setenv("VQDDM_SAVE_SECONDS", "3")
    assert " 3.0 " in toys()[1]
    assert " 4.0 " in toys("--save-seconds", "4")[1]
    for wrong in ("soon", "nan", "inf", "-1"):
        monkeypatch.setenv("VQDDM_SAVE_SECONDS", wrong)
        assert toys()[0] == 2 and "VQDDM_SAVE_SECONDS" in toys()[2]


def test_a_key_twice_in_json_is_refused(capsys, tmp_path):
    twice = '{"source": "faces", "source": "fashion"}'
    told = said(capsys, "data", "prepare", "--out", str(tmp_path), "--params", twice)
    assert told == (1, "", "vqddm: --params: the key `source` stands twice; keep one of them\n")


def test_what_is_printed_moves_no_cursor(capsys):
    assert said(capsys, "check", "a\x1b[2J\n.yaml")[2].startswith(r"vqddm: a\x1b[2J\n.yaml: no such file")


@pytest.mark.parametrize(
    ("tokens", "processes", "rest"),
    [
        (
            ["--processes", "4", "prior", "train", "--nodes", "x", "--help"],
            4,
            ["prior", "train", "--nodes", "x", "--help"],
        ),
        (["--processes=2", "launch", "--processes", "3"], 2, ["launch", "--processes", "3"]),
        (["check", "--", "a"], 1, ["check", "--", "a"]),
    ],
)
def test_launch_passes_the_command_on_as_it_is(tokens, processes, rest, monkeypatch, capsys):
    told = []
    monkeypatch.setattr(slurm.os, "execvpe", lambda file, command, environment: told.append(command))
    assert said(capsys, "launch", *tokens)[0] == 0
    assert told[0][-len(rest) - 1 :] == [str(Path("vqddm").resolve()), *rest]
    assert (f"--nproc-per-node={processes}" in told[0]) == (processes > 1)


def test_check_prints_what_the_steps_get(root, capsys):
    code, told, _ = said(capsys, "check", str(root / "params.yaml"), "--resolved", "--dataset", "fashion")
    assert code == 0
    assert params.Dataset.model_validate(yaml.safe_load(told)) == params.load(root / "params.yaml").datasets["fashion"]
    assert said(capsys, "check", str(root / "params.yaml"), "--dataset", "mine")[0] == 1


@pytest.mark.parametrize("tokens", [["--help"], ["evaluate", "--help"]])
def test_lists_of_commands_import_nothing_heavy(tokens):
    script = (
        "import sys, vqddm.cli as cli; cli.run(sys.argv[1:]); "
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'sklearn', 'accelerate', 'yaml'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script, *tokens], capture_output=True, text=True, check=False)
    assert (done.stderr.strip(), done.returncode) == ("", 0)


def test_a_methods_commands_come_from_its_record(monkeypatch):
    lines = {"train": "baselines train-toy", "sample": "baselines sample-toy --toy"}
    monkeypatch.setitem(METHODS, "toy", replace(METHODS["prior"], name="toy", commands=lines))
    assert cli.commands()["baselines train-toy"].reference == METHODS["prior"].train
    options = {argument.name for argument in cli.command("baselines sample-toy").assemble_argument_collection()}
    assert "--toy" in options and "--checkpoint" not in options


def test_every_rules_command_line_can_be_read(root):
    snakemake = [sys.executable, "-m", "snakemake", "-n", "-p", "--forceall", "--cores", "1"]
    snakemake += ["--set-scatter", "samples=3", "codes=2", "features=2", "--", "all", "cost"]
    planned = subprocess.run(snakemake, cwd=root, capture_output=True, text=True, check=True).stdout
    rules = re.findall(r"^(?:local)?rule (\w+):$", planned, re.MULTILINE)
    samplings = rules.count("sample_codes") + rules.count("sample_pixels")
    assert (rules.count("gather_shards"), rules.count("draw_shard")) == (samplings, 3 * samplings)
    for work, shard in (("encode_codes", "encode_shard"), ("extract_features", "extract_shard")):
        assert rules.count(shard) == 2 * rules.count(work) > 0
    read = set()
    for line in set(re.findall(r"^ *(?:Shell command: )?vqddm (.*?)(?: > .*| 2>&1 .*)?$", planned, re.MULTILINE)):
        tokens = shlex.split(line)
        if tokens[0] == "launch":
            tokens = tokens[5:]
        name = next(words for words in (" ".join(tokens[:2]), tokens[0]) if words in cli.commands())
        cli.command(name).parse_args(tokens[len(name.split()) :], exit_on_error=False, print_error=False)
        read.add(name)
    assert {"prior train", "prior sample-shard", "baselines sample-ddpm", "evaluate cost", "paper figure"} <= read
    assert {"refit encode-shard", "evaluate features-shard"} <= read


def test_an_interruption_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(tokens: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 128 + signal.SIGINT
    told = capsys.readouterr()
    assert told.out + told.err == ""


def test_an_interruption_ends_as_quietly_while_the_command_line_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == "cyclopts":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    for module in ("vqddm.cli", "cyclopts"):
        monkeypatch.delitem(sys.modules, module)
    script = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]["vqddm"]
    with pytest.raises(SystemExit) as ended:
        imported(script)()
    assert ended.value.code == 128 + signal.SIGINT
    told = capsys.readouterr()
    assert told.out + told.err == ""
