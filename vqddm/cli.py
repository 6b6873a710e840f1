"""The command line: `vqddm STEP COMMAND`, a table of the functions that do the work.

A function is imported when its command is called or asked for its help; what its options are, `vqddm/options.py` says.
What it returns as text is printed.
"""

import ast
import atexit
import difflib
import errno
import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from cyclopts import App, CycloptsError, Group, MissingArgumentError, UnusedCliTokensError

from vqddm.artifacts import UserError, sentence
from vqddm.memory import keep_freed
from vqddm.options import application, with_options
from vqddm.registry import imported

STEPS = {
    "": "The project",
    "data": "One array file per dataset and split",
    "vqgan": "The trained first stage",
    "refit": "Rebuilt codebooks, fine-tuned first stages, code maps",
    "prior": "The discrete diffusion prior, samples, completions",
    "baselines": "What the paper compares with",
    "evaluate": "Every measured number, as small JSON",
    "paper": "Tables, figures, claims and the page",
    "ledger": "What Snakemake and DVC know of each other",
}
# Words in capitals are parameters that are given without their names.
TABLE = {
    "sample MODEL": "vqddm.api.commands:sample",
    "reconstruct PICTURES": "vqddm.api.commands:reconstruct",
    "inpaint PICTURE": "vqddm.api.commands:inpaint",
    "demo MODEL": "vqddm.demo.command:demo",
    "export FOLDER": "vqddm.api.export:export",
    "tensorboard FOLDER": "vqddm.api.curves:tensorboard",
    "schema": "vqddm.params:write_schema",
    "check PATH": "vqddm.params:check",
    "show CHECKPOINT": "vqddm.api.commands:show",
    "launch ARGUMENTS": "vqddm.slurm:launch",
    "describe PATH": "vqddm.evaluate.networks:describe",
    "data prepare": "vqddm.data.prepare:prepare",
    "vqgan import CHECKPOINT": "vqddm.vqgan.official:import_official",
    "vqgan weights NAME": "vqddm.data.weights:fetch_weights",
    "refit rebuild": "vqddm.refit.rebuild:rebuild",
    "refit finetune": "vqddm.refit.finetune:finetune",
    "refit encode": "vqddm.refit.codes:encode_splits",
    "refit encode-shard": "vqddm.refit.codes:encode_shard",
    "prior sample-shard": "vqddm.prior.sample:sample_shard",
    "evaluate features": "vqddm.evaluate.measure:extract_features",
    "evaluate features-shard": "vqddm.evaluate.measure:extract_shard",
    "evaluate floor": "vqddm.evaluate.measure:measure_floor",
    "evaluate reconstruction": "vqddm.evaluate.measure:measure_reconstruction",
    "evaluate samples": "vqddm.evaluate.measure:measure_samples",
    "evaluate counts": "vqddm.evaluate.networks:write_counts",
    "evaluate transformer-counts": "vqddm.evaluate.networks:write_transformer_counts",
    "evaluate ddpm-counts": "vqddm.evaluate.networks:write_ddpm_counts",
    "evaluate paper-counts": "vqddm.evaluate.networks:write_paper_counts",
    "evaluate speed": "vqddm.evaluate.speed:measure_speed",
    "evaluate cost": "vqddm.evaluate.cost:write_cost",
    "evaluate chain": "vqddm.evaluate.diffused:draw_diffused",
    "evaluate film": "vqddm.evaluate.film:draw_film",
    "evaluate inpainting": "vqddm.evaluate.inpainting:measure_inpainting",
    "evaluate trainings": "vqddm.evaluate.trainings:average_trainings",
    "evaluate neighbours": "vqddm.evaluate.neighbours:find_neighbours",
    "paper table NAME": "vqddm.paper.tables:write",
    "paper figure NUMBER": "vqddm.paper.figures:draw",
    "paper claims": "vqddm.paper.claims:claims",
    "paper page": "vqddm.paper.page:page",
    "paper overview": "vqddm.paper.overview:overview",
    "paper timeline": "vqddm.paper.timeline:timeline",
    "paper remake": "vqddm.paper.remake:remake",
    "paper so-far": "vqddm.paper.so_far:so_far",
    "ledger stages": "vqddm.ledger.commands:stages",
    "ledger restore": "vqddm.ledger.commands:restore",
    "ledger record TARGETS": "vqddm.ledger.commands:record",
    "ledger accept": "vqddm.ledger.commands:accept",
}
# What methods are asked for. Their records say with which command, and with which option for the checkpoint.
WORK = {
    "sample": "vqddm.prior.sample:sample_images",
    "inpaint": "vqddm.prior.inpaint:inpaint_images",
    "likelihood": "vqddm.evaluate.likelihood:measure_likelihood",
}


class Command(NamedTuple):
    """The `module:function` that it calls, and what the line of the table says besides (see `options.with_options`)."""

    reference: str
    arguments: list[str]
    checkpoint: str


def commands() -> dict[str, Command]:
    """All commands by their words, in the order in which they are listed."""
    from vqddm.first_stages import FIRST_STAGES  # here, so that `main` tells what is wrong with a record
    from vqddm.methods import METHODS

    lines = {kind.command: kind.train for kind in FIRST_STAGES.values() if kind.train}
    for method in METHODS.values():
        work = WORK | {"train": method.train}
        lines |= {line: work[kind] for kind, line in method.commands.items() if kind in work}
    found = {}
    for line, reference in (lines | TABLE).items():
        words = line.split()
        arguments = [word.lower() for word in words if word.isupper()]
        checkpoint = next((word[2:] for word in words if word.startswith("--")), "checkpoint")
        name = " ".join(word for word in words if word[0].islower())
        found[name] = Command(reference, arguments, checkpoint)
    return found


def summary(reference: str) -> str:
    """The first line of a function's docstring, read from the source: nothing is imported for a list of commands."""
    module, name = reference.split(":")
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin, f"{module} is missing"
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n")[0]
    raise AssertionError(f"{module} has no function {name}")


def command(name: str) -> App:
    """The application of one command, its function imported."""
    reference, arguments, checkpoint = commands()[name]
    app = application(f"vqddm {name}")
    with uncollected():
        function = imported(reference)
    app.default(with_options(function, arguments, checkpoint))
    return app


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's garbage collector, which never looks at what is made here: imported modules stay anyway.

    A step that imports torch takes 0.6 s less so.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if "triton" in sys.modules:  # it complains of what is left when Python ends
            atexit.register(gc.unfreeze)


def overview(step: str = "") -> App:
    """An application that only lists: all commands, or those of a step."""
    app = application(f"vqddm {step}".strip())
    app.help = STEPS[step] + "." if step else "VQ-DDM, step by step. `vqddm STEP COMMAND --help` tells more."
    titles = {name: f"{name}: {title}" if name else title for name, title in STEPS.items()}
    groups = {name: Group(title, sort_key=position) for position, (name, title) in enumerate(titles.items())}
    for position, (name, (reference, *_)) in enumerate(commands().items()):
        of, last = name.split() if " " in name else ("", name)
        if step == "":
            app.command(App(name=name, help=summary(reference), group=groups[of], sort_key=position))
        elif step == of:
            app.command(App(name=last, help=summary(reference), sort_key=position))
    return app


class Usage(Exception):
    """A command line that cannot be read."""


def run(tokens: Sequence[str]) -> None:
    """Do what a command line says.

    Raises:
        Usage: there is no such command, or it takes no such option or value.
    """
    if list(tokens) == ["--version"]:
        print(metadata.version("vqddm"))
        return
    name = next((words for words in (" ".join(tokens[:2]), " ".join(tokens[:1])) if words in commands()), None)
    if name is None:
        words = [token for token in tokens if token != "--help"]
        if words and words not in [[step] for step in STEPS]:
            raise Usage(_unknown(words))
        overview(*words).help_print([])
        return
    rest = list(tokens[len(name.split()) :])
    if name == "launch":
        rest = _untouched(rest)
    try:
        result = command(name)(rest, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise Usage(f"vqddm {name}: {_misread(error)}") from None
    if isinstance(result, str):
        print(result)


def _misread(error: CycloptsError) -> str:
    """The sentence on a command line that a command cannot take."""
    left = error.unused_tokens or []
    if isinstance(error, MissingArgumentError) and error.argument and error.keyword is None:
        unknown = [token for token in left if token.startswith("--")]
        return f"there is no option `{unknown[0]}`" if unknown else f"{error.argument.name} is missing"
    if isinstance(error, UnusedCliTokensError) and left:
        return f"'{left[0]}' is one argument too many"
    return " ".join(str(error).split())


def _unknown(words: Sequence[str]) -> str:
    """The sentence on a command that there is not."""
    step = words[0] if words[0] in STEPS else ""
    names = [name for name in commands() if name.startswith(step)]
    known = {name.split()[-1]: name for name in names} | {name: name for name in names}
    named = " ".join(words[:2])
    hint = f"`{f'vqddm {step}'.strip()} --help` lists what there is"
    alone = {name: name for name in names if " " not in name}
    near = difflib.get_close_matches(words[0].lower(), alone, n=1) or difflib.get_close_matches(named, known, n=1)
    if "-" not in [word[:1] for word in words[:2]] and near:
        hint = f"did you mean `vqddm {known[near[0]]}`?"
    return f"vqddm: there is no command `{named}`; {hint}"


def _untouched(tokens: list[str]) -> list[str]:
    """Tokens of `launch` with `--` before the command that it passes on."""
    at = 0
    while at < len(tokens) and tokens[at].startswith("-"):
        at += 1 if "=" in tokens[at] or tokens[at] == "--help" else 2
    return [*tokens[:at], "--", *tokens[at:]]


def main() -> None:
    """Run the command line. What the user can mend ends in one sentence and exit code 1, wrong usage in 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that half-written files go away
    keep_freed()
    try:
        run(sys.argv[1:])
    except Usage as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # Ctrl-C, before a step or in one that does not say more of it
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UserError as error:
        sys.exit(sentence(error))
    except ModuleNotFoundError as error:
        if (error.name or "vqddm").split(".")[0] == "vqddm":
            raise
        sys.exit(f"vqddm: {error.name} is not installed; this needs `pip install 'vqddm[workflow]'`")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"vqddm: {error.filename or 'output'}: the disk is full; free some space and run it again")
        sys.exit(f"vqddm: {error.filename or ''}: {error.strerror or error}")
