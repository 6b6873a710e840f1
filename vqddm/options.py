"""From a function's signature to the options of a command.

Its parameters are the options, with their annotations' types and their defaults; its docstring is the command's help.
An option's own help is what `Args:` says of the parameter, else that of its name below, else what its section is.
"""

import inspect
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from cyclopts import App, Parameter, Token
from cyclopts.validators import Number

from vqddm.settings import Section, parse

# What holds for a parameter of that name in every command.
ONE = ("count", "draws", "images", "micro_batch", "neighbours", "nodes", "port", "processes", "threads")
SIZES = ("codebook_size", "resolution", "sampled_features")
LEAST = {**dict.fromkeys((*ONE, *SIZES), 1), "image": 0, "save_seconds": 0, "seed": 0}
SHORT = {"count": "-n", "out": "-o"}
ENVIRONMENT = {"save_seconds": "VQDDM_SAVE_SECONDS", "micro_batch": "VQDDM_MICRO_BATCH"}
HELP = {
    "checkpoint": "checkpoint of a trained method.",
    "codebook_size": "capacity K of the codebook.",
    "codes": "code maps of the training images, uint16 (N, h, w).",
    "codes_test": "code maps of the test images.",
    "codes_train": "code maps of the training images.",
    "count": "number of images.",
    "curve": "CSV of every loss, to write.",
    "data": "a prepared split, such as `train.npy`.",
    "device": "cpu or cuda; left out: cuda where there is a GPU.",
    "draws": "equal parts of the images, measured apart for the spread.",
    "evaluation": "the folder `evaluation`, which holds the suites' arrays.",
    "first_stage": "checkpoint of the first stage, of any kind.",
    "micro_batch": "code maps at once, if memory is short; changes rounding.",
    "model": "name of a model that comes with vqddm, or a folder: an exported one, or that of a trained pair.",
    "network": "feature network: efficientnet_lite0 or inception.",
    "out": "file to write; what is measured is JSON, what is trained a checkpoint.",
    "reference": "features of the training images.",
    "resolution": "height and width of the images.",
    "root": "the suite's results folder; for the ledgers the project's folder.",
    "samples": "sampled images, uint8 (n, H, W, 3).",
    "save_seconds": "how often the resumable state is saved; changes no result.",
    "seed": "seed of what is drawn at random.",
    "source": "checkpoint of the trained VQ-GAN.",
    "state": "folder of the resumable state.",
    "temperature": "divides the logits of the codes.",
    "threads": "CPU threads; last bits may differ with their number.",
    "validation": "validation examples, whose loss the curve shows too; no weight depends on them.",
}


def application(name: str) -> App:
    """An application of cyclopts that does nothing yet."""
    app = App(
        name=name,
        help_flags="--help",
        version_flags=(),
        help_format="markdown",
        default_parameter=Parameter(negative=()),  # no `--no-tensors` beside `--tensors`
        result_action="return_value",
    )
    app["--help"].show = False
    return app


def with_options(
    function: Callable[..., Any], arguments: Sequence[str] = (), checkpoint: str = "checkpoint"
) -> Callable[..., Any]:
    """`function` with a signature that tells cyclopts how to read each parameter.

    Args:
        function: parameters of it that are called (`say`) are no options.
        arguments: the parameters that are given without their names.
        checkpoint: what the option is called that gives the parameter `checkpoint`.
    """
    signature = inspect.signature(function, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        if get_origin(parameter.annotation) is not Callable:
            named = parameter.name not in arguments
            kind = inspect.Parameter.KEYWORD_ONLY if named else inspect.Parameter.POSITIONAL_ONLY
            told = re.search(rf"^ +{parameter.name}: ", function.__doc__ or "", re.MULTILINE) is not None
            name = checkpoint if parameter.name == "checkpoint" else parameter.name
            read: Any = Annotated[parameter.annotation, option(parameter, name if named else None, told)]
            parameters.append(parameter.replace(kind=kind, annotation=read))

    def call(*values: Any, **options: Any) -> Any:
        return function(**dict(zip(arguments, values, strict=False)), **options)

    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    call.__doc__, call.__signature__ = function.__doc__, signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return call


def option(parameter: inspect.Parameter, name: str | None, told: bool) -> Parameter:
    """How a parameter is read: a section as JSON, numbers and texts strictly, everything else as cyclopts does.

    Args:
        name: of the option; None: it is given without a name.
        told: the function's docstring has its help.
    """
    own, annotation = parameter.name, parameter.annotation
    names = ["--" + name.replace("_", "-"), *filter(None, [SHORT.get(own)])] if name else []
    given: dict[str, Any] = {"name": names} if names else {}
    if own in LEAST:
        given["validator"] = Number(gte=LEAST[own])
    if (variable := ENVIRONMENT.get(own)) and os.environ.get(variable) != "":  # an empty one is as good as none
        given["env_var"] = variable
    choices = (annotation,) if get_origin(annotation) in (list, Sequence) else (annotation, *get_args(annotation))
    types = [kind for kind in choices if isinstance(kind, type)]
    if section := next((kind for kind in types if issubclass(kind, Section)), None):
        given |= {"converter": _section(section, f"--{own}"), "accepts_keys": False, "n_tokens": 1, "metavar": "JSON"}
    elif int in types:
        given["converter"] = _whole
    elif float in types:
        given["converter"] = _number
    elif Path in (*types, *get_args(annotation)):
        given["converter"] = _path
    elif str in types and get_origin(annotation) not in (list, Sequence):
        given["converter"] = _text
    elif bool in types:
        given["show_default"] = False
    if not told:
        given["help"] = (section.__doc__ or "").split("\n")[0] if section else HELP.get(own, "")
    return Parameter(**given)


def _section(section: type[Section], where: str) -> Callable[[Any, Sequence[Token]], Section]:
    return lambda _, tokens: parse(section, tokens[0].value, where)


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"'{tokens[0].value}' is no whole number") from None


def _number(_: Any, tokens: Sequence[Token]) -> float:
    try:
        if math.isfinite(number := float(tokens[0].value)):
            return number
    except ValueError:
        pass
    raise ValueError(f"'{tokens[0].value}' is no finite number")


def _text(_: Any, tokens: Sequence[Token]) -> str:
    if text := tokens[0].value:
        return text
    raise ValueError("an empty text names nothing")


def _path(kind: Any, tokens: Sequence[Token]) -> Path | list[Path]:
    if not all(token.value for token in tokens):
        raise ValueError("an empty text is no path")
    paths = [Path(token.value) for token in tokens]
    return paths if get_origin(kind) in (list, Sequence) else paths[0]
