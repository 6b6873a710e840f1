"""From a function's signature to the options of a command.

Its parameters are the options, with their annotations' types, their defaults, and the help that `Args:` of its
docstring gives; the docstring is the command's help.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

from cyclopts import App, Parameter, Token
from cyclopts.validators import Number

from vqddm.settings import Section, parse

# What holds for a parameter of that name in every command.
ONE = ("count", "draws", "images", "micro_batch", "neighbours", "nodes", "processes", "threads")
LEAST = {**dict.fromkeys(ONE, 1), "image": 0, "seed": 0}
ENVIRONMENT = {"save_seconds": "VQDDM_SAVE_SECONDS", "micro_batch": "VQDDM_MICRO_BATCH"}


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
            name = checkpoint if parameter.name == "checkpoint" else parameter.name
            read: Any = Annotated[parameter.annotation, option(name, parameter.annotation, named)]
            parameters.append(parameter.replace(kind=kind, annotation=read))

    def call(*values: Any, **options: Any) -> Any:
        return function(**dict(zip(arguments, values, strict=False)), **options)

    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    call.__doc__, call.__signature__ = function.__doc__, signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return call


def option(name: str, annotation: Any, named: bool = True) -> Parameter:
    """How a parameter is read: a section as JSON, whole numbers strictly, everything else as cyclopts does."""
    given: dict[str, Any] = {"name": "--" + name.replace("_", "-")} if named else {}
    if name in LEAST:
        given["validator"] = Number(gte=LEAST[name])
    if (variable := ENVIRONMENT.get(name)) and os.environ.get(variable) != "":  # an empty one is as good as none
        given["env_var"] = variable
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
