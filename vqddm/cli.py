"""The command line: `vqddm STEP COMMAND`, a table of the functions that do the work.

A function is imported when its command is called or asked for its help. Its parameters are the options, with their
annotations' types, their defaults, and the help that `Args:` of its docstring gives; its docstring is the command's.
What it returns as text is printed.
"""

from __future__ import annotations

import ast
import difflib
import errno
import importlib.util
import inspect
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from cyclopts import App, CycloptsError, Group, Parameter, Token
from cyclopts.validators import Number

from vqddm.artifacts import UserError
from vqddm.first_stages import FIRST_STAGES
from vqddm.interim import REFERENCES, mended
from vqddm.methods import METHODS
from vqddm.registry import imported
from vqddm.settings import Section, parse

STEPS = {
    "": "The project",
    "data": "One array file per dataset and split",
    "vqgan": "The trained first stage",
    "refit": "Rebuilt codebooks, fine-tuned first stages, code maps",
    "prior": "The discrete diffusion prior, samples, inpaintings",
    "baselines": "What the paper compares with",
    "evaluate": "Every measured number, as small JSON",
    "paper": "Tables, figures, claims and the page",
    "ledger": "What Snakemake and DVC know of each other",
}
# Words in capitals are parameters that are given without their names. Trainings are added from the records.
TABLE = {
    "schema": "vqddm.params:write_schema",
    "check PATH": "vqddm.params:check",
    "show CHECKPOINT": "vqddm.artifacts:show_checkpoint",
    "launch ARGUMENTS": "vqddm.slurm:launch",
    "describe": "vqddm.evaluate.networks:describe",
    "data prepare": "vqddm.data.prepare:prepare",
    "vqgan import CHECKPOINT": "vqddm.vqgan.official:import_official",
    "vqgan weights NAME": "vqddm.vqgan.weights:fetch_weights",
    "refit rebuild": "vqddm.refit.rebuild:rebuild",
    "refit finetune": "vqddm.refit.finetune:finetune",
    "refit encode": "vqddm.refit.codes:encode",
    "prior sample": "vqddm.prior.sample:sample_images",
    "prior inpaint": "vqddm.prior.inpaint:inpaint_images",
    "baselines sample-transformer": "vqddm.baselines.transformer.sample:sample_images",
    "baselines inpaint-transformer": "vqddm.baselines.transformer.sample:inpaint_images",
    "baselines sample-ddpm": "vqddm.baselines.ddpm.sample:sample_images",
    "evaluate features": "vqddm.evaluate.measure:extract_features",
    "evaluate floor": "vqddm.evaluate.measure:measure_floor",
    "evaluate reconstruction": "vqddm.evaluate.measure:measure_reconstruction",
    "evaluate samples": "vqddm.evaluate.measure:measure_samples",
    "evaluate likelihood": "vqddm.evaluate.likelihood:measure_likelihood",
    "evaluate transformer-likelihood": "vqddm.evaluate.likelihood:measure_transformer_likelihood",
    "evaluate counts": "vqddm.evaluate.networks:write_counts",
    "evaluate transformer-counts": "vqddm.evaluate.networks:write_transformer_counts",
    "evaluate ddpm-counts": "vqddm.evaluate.networks:write_ddpm_counts",
    "evaluate paper-counts": "vqddm.evaluate.networks:write_paper_counts",
    "evaluate speed": "vqddm.evaluate.speed:measure_speed",
    "evaluate cost": "vqddm.evaluate.cost:write_cost",
    "evaluate chain": "vqddm.evaluate.chain:draw_chain",
    "evaluate inpainting": "vqddm.evaluate.inpainting:measure_inpainting",
    "evaluate neighbours": "vqddm.evaluate.neighbours:find_neighbours",
    "paper table NAME": "vqddm.paper.tables:table",
    "paper figure NUMBER": "vqddm.paper.figures:figure",
    "paper claims": "vqddm.paper.claims:claims",
    "paper page": "vqddm.paper.page:page",
    "paper so-far": "vqddm.paper.so_far:so_far",
    "ledger stages": "vqddm.ledger.commands:stages",
    "ledger restore": "vqddm.ledger.commands:restore",
    "ledger record TARGETS": "vqddm.ledger.commands:record",
    "ledger accept": "vqddm.ledger.commands:accept",
}
# What holds for a parameter of that name in every command.
ONE = ("count", "draws", "images", "micro_batch", "neighbours", "nodes", "processes", "threads")
LEAST = {**dict.fromkeys(ONE, 1), "image": 0, "seed": 0}
ENVIRONMENT = {"save_seconds": "VQDDM_SAVE_SECONDS", "micro_batch": "VQDDM_MICRO_BATCH"}


def commands() -> dict[str, tuple[list[str], str]]:
    """Each command's arguments and `module:function`, by its words, in the order in which they are listed."""
    trainings = {kind.command: kind.train for kind in FIRST_STAGES.values() if kind.train}
    trainings |= {method.commands["train"]: method.train for method in METHODS.values()}
    found = {}
    for line, reference in [*trainings.items(), *TABLE.items()]:
        words = line.split()
        name = " ".join(word for word in words if not word.isupper())
        found[name] = [word.lower() for word in words if word.isupper()], REFERENCES.get(reference, reference)
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


def application(name: str) -> App:
    """A command as cyclopts parses it, or without `name` none."""
    app = App(
        name=f"vqddm {name}".strip(),
        help_flags="--help",
        version_flags=(),
        help_format="markdown",
        default_parameter=Parameter(negative=()),  # no `--no-tensors` beside `--tensors`
        result_action="return_value",
    )
    app["--help"].show = False
    return app


def command(name: str) -> App:
    """The application of one command, its function imported."""
    arguments, reference = commands()[name]
    app = application(name)
    app.default(parsed(mended(name, imported(reference)), arguments))
    return app


def overview(step: str = "") -> App:
    """An application that only lists: all commands, or those of a step."""
    app = application(step)
    app.help = STEPS[step] + "." if step else "VQ-DDM, step by step. `vqddm STEP COMMAND --help` tells more."
    titles = {name: f"{name}: {title}" if name else title for name, title in STEPS.items()}
    groups = {name: Group(title, sort_key=position) for position, (name, title) in enumerate(titles.items())}
    for position, (name, (_, reference)) in enumerate(commands().items()):
        of, last = name.split() if " " in name else ("", name)
        if step == "":
            app.command(App(name=name, help=summary(reference), group=groups[of], sort_key=position))
        elif step == of:
            app.command(App(name=last, help=summary(reference), sort_key=position))
    return app


def parsed(function: Callable[..., Any], arguments: Sequence[str]) -> Callable[..., Any]:
    """`function` with a signature that tells cyclopts what is an option and what an argument, and how to read it.

    A parameter that is called (`say`) is no option.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        if get_origin(parameter.annotation) is not Callable:
            positional = parameter.name in arguments
            kind = inspect.Parameter.POSITIONAL_ONLY if positional else inspect.Parameter.KEYWORD_ONLY
            annotation = Annotated[parameter.annotation, option(parameter.name, parameter.annotation, not positional)]
            parameters.append(parameter.replace(kind=kind, annotation=annotation))

    def call(*values: Any, **options: Any) -> Any:
        return function(**dict(zip(arguments, values, strict=False)), **options)

    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    call.__doc__, call.__signature__ = function.__doc__, signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return call


def option(name: str, annotation: Any, named: bool) -> Parameter:
    """How a parameter is read: a section as JSON, whole numbers strictly, everything else as cyclopts does."""
    given: dict[str, Any] = {"name": "--" + name.replace("_", "-")} if named else {}
    if name in LEAST:
        given["validator"] = Number(gte=LEAST[name])
    if name in ENVIRONMENT:
        given["env_var"] = ENVIRONMENT[name]
    choices = (annotation,) if get_origin(annotation) in (list, Sequence) else (annotation, *get_args(annotation))
    types = [kind for kind in choices if isinstance(kind, type)]
    if section := next((kind for kind in types if issubclass(kind, Section)), None):
        given |= {"converter": _section(section, f"--{name}"), "accepts_keys": False, "n_tokens": 1, "metavar": "JSON"}
    elif int in types:
        given["converter"] = _whole
    elif bool in types:
        given["show_default"] = False
    return Parameter(**given)


def _section(section: type[Section], where: str) -> Callable[[Any, Sequence[Token]], Section]:
    return lambda _, tokens: parse(section, tokens[0].value, where)


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"'{tokens[0].value}' is no whole number") from None


class Usage(Exception):
    """A command line that cannot be read."""


def run(tokens: Sequence[str]) -> None:
    """Do what a command line says.

    Raises:
        Usage: there is no such command, or it takes no such option or value.
    """
    name = next((name for n in (2, 1) if (name := " ".join(tokens[:n])) in commands()), None)
    if name is None:
        words = [token for token in tokens if token != "--help"]
        if words and words not in [[step] for step in STEPS]:
            raise Usage(_unknown(words))
        overview(*words).help_print([])
        return
    rest = list(tokens[len(name.split()) :])
    if name == "launch":
        rest = _untouched(rest)
    for variable in ENVIRONMENT.values():
        if not os.environ.get(variable):  # as good as none
            os.environ.pop(variable, None)
    try:
        result = command(name)(rest, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise Usage(f"vqddm {name}: {' '.join(str(error).split())}") from None
    if isinstance(result, str):
        print(result)


def _unknown(words: Sequence[str]) -> str:
    """The sentence on a command that there is not."""
    step = words[0] if words[0] in STEPS else ""
    names = [name for name in commands() if name.startswith(step)]
    known = {name.split()[-1]: name for name in names} | {name: name for name in names}
    named = " ".join(words[:2])
    near = [] if "-" in (words[0][0], words[-1][0]) else difflib.get_close_matches(named, known, n=1)
    hint = (
        f"did you mean `vqddm {known[near[0]]}`?" if near else f"`{f'vqddm {step}'.strip()} --help` lists what there is"
    )
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
    try:
        run(sys.argv[1:])
    except Usage as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except UserError as error:
        sys.exit(f"vqddm: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"vqddm: {error.filename or 'output'}: the disk is full; free some space and run it again")
        sys.exit(f"vqddm: {error.filename or ''}: {error.strerror or error}")
