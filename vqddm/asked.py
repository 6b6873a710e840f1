"""What Snakemake is asked for, looked at before it plans anything: settings, suites and targets that there are.

Snakemake itself would end in a traceback, or in a sentence that does not say what there is.
"""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from vqddm.artifacts import UserError, sentence
from vqddm.settings import nearest
from vqddm.yaml_file import Written

# Options that replace what they were given before, under all their names.
ONCE = (("--configfile", "--configfiles"), ("--config", "-C"))


@contextmanager
def one_sentence() -> Iterator[None]:
    """What the user can mend ends Snakemake with one sentence."""
    try:
        yield
    except UserError as error:
        sys.exit(sentence(error))


def arguments() -> Any:
    """Snakemake's command line as Snakemake reads it, None where something else runs."""
    *_, folder, name = ("", "", *Path(sys.argv[0]).parts)
    if name != "snakemake" and (folder, name) != ("snakemake", "__main__.py"):
        return None
    return _parsed(tuple(sys.argv[1:]))


@cache
def _parsed(words: tuple[str, ...]) -> Any:
    from snakemake.cli import get_argument_parser

    return get_argument_parser().parse_args(words)


def check_settings() -> None:
    """Check `--configfile` and `--config`: `profiles/default` calls this before Snakemake reads them."""
    given = arguments()
    if given is None:
        return
    options = [word.partition("=")[0] for word in sys.argv[1 : (*sys.argv, "--").index("--")]]
    with one_sentence():
        from vqddm.params import read  # here, so that what is wrong with a record is one sentence too

        for names in ONCE:
            if sum(option in names for option in options) > 1:
                raise UserError(f"{names[0]} stands twice, and the last would hide the others; put all behind one")
        for file in given.configfile or ():
            if not read([file]).values:  # Snakemake refuses it without naming it
                raise UserError(f"{file}: there are no settings in it; fill it, or leave --configfile out")
        read(given.configfile, given.config or ())


def written_for(workflow: Any) -> Written:
    """`params.yaml` with `--configfile` and `--config` laid over it, as Snakemake lays them.

    Raises:
        UserError: one of them is not there, or not what its writer can have meant.
    """
    from vqddm.params import read

    settings, own = workflow.config_settings, Path("params.yaml")
    replaced = settings.replace_workflow_config or (settings.configfiles and not own.exists())
    return read([*([] if replaced else [own]), *settings.configfiles], settings.config_args or ())


def check_targets(workflow: Any, targets: Collection[str] = ()) -> None:
    """Check targets: those given, and those on Snakemake's command line, if that is what runs.

    Args:
        workflow: Snakemake's own, all rules read.
        targets: as Snakemake would be given them.

    Raises:
        UserError: a target is neither a rule nor a file that a rule makes.
    """
    params, given = workflow.globals["PARAMS"], arguments()
    if given is not None:
        targets = given.targets
    options = ("forcerun", "until", "omit_from", "prioritize")
    forced = [target for option in options for target in getattr(given, option, None) or ()]
    plain = [rule for rule in workflow.rules if not rule.has_wildcards()]
    for target in (*targets, *forced):
        if not target:
            raise UserError(f"an empty text is no target; there are {_there_are(plain)}")
        path = target if Path(target).is_absolute() else os.path.relpath(target)
        other = re.match(r"(?:results|evaluation)/([^/]+)/", path)
        if workflow.is_rule(target):
            if target in targets and target not in [rule.name for rule in plain]:
                raise UserError(f"`{target}` makes many files: name one of them, or {_there_are(plain)}")
        elif other and other[1] != params.suite and other[1] in params.suites:
            raise UserError(f"{path} is of another suite than {params.suite}: add `--config suite={other[1]}`")
        elif not any(rule.is_producer(path) for rule in workflow.rules):
            files = [str(file) for rule in plain for file in (*rule.output, *rule.input) if isinstance(file, str)]
            hint = nearest(target, [rule.name for rule in plain] + files)
            raise UserError(f"there is no target `{target}`{hint}; there are {_there_are(plain)}")


def _there_are(rules: Iterable[Any]) -> str:
    """The names of targets that are no jobs themselves, `all` first."""
    names = [rule.name for rule in rules if not rule.shellcmd]
    return ", ".join(sorted(names, key=lambda name: name != "all"))


def look_when_jobs_end(scheduler: Any) -> None:
    """Let Snakemake look for jobs to start when one has ended, not every second as well.

    Its own limit of 100 jobs a second makes it look again a second after each look, and each job that ends begins one
    more such series: 80 jobs into `mini` that took a third of a core. A limit that the user gave stays.
    """
    limit = scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None
