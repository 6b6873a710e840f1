"""What nobody can have meant in params.yaml, a site's file, `--configfile`, `--config` or a target is said at once."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tiny import BIN, copy_of

from vqddm import params, slurm
from vqddm.artifacts import UserError
from vqddm.ledger.dag import Job, read_dag
from vqddm.ledger.stages import stage
from vqddm.yaml_file import read_entries, read_file

ROOT = Path(__file__).parent.parent
# A million values in seven lines.
PAIRS = zip("abcdef", "bcdefg", strict=True)
LAUGHS = "a: &a [1]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in PAIRS)
SOURCE = (ROOT / "params.yaml").read_text()


def told(folder: Path, old: str, new: str) -> str:
    """What is said of the project's params.yaml with one text changed, where it first stands."""
    assert old in SOURCE
    path = folder / "params.yaml"
    path.write_text(SOURCE.replace(old, new, 1))
    with pytest.raises(UserError) as raised:
        params.load(path)
    line = SOURCE[: SOURCE.index(old)].count("\n") + 1
    told = str(raised.value)
    assert re.search(rf"{path}(, line |: .*, lines ){line}\b", told), told
    return told


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("steps: 2000,", "steps: yes,", "presets.laptop32.vqgan.training.steps", "`yes` is a truth value in YAML"),
        ("seed: 0\n", "seed: true\n", "suites.mini.evaluate.seed", "`true` is a truth value in YAML"),
        ("steps: 2000,", "steps: 1e5,", "vqgan.training.steps", "`1e5` is text in YAML; write 1.0e+5"),
        ("learning_rate: 0.005", "learning_rate: 1e-5", "vqgan.learning_rate", "write 1.0e-5"),
        ("width: 32,", 'width: "32",', "vqgan.autoencoder.width", '`"32"` is text in YAML; write 32'),
        ("width: 32,", "width: 0o10,", "vqgan.autoencoder.width", "text in YAML; write 8"),
        ("width: 32,", "width: 0100,", "vqgan.autoencoder.width", "to base 8 in YAML; write 100"),
        ("temperature: 1.0", "temperature: 12:00:00", "evaluate.temperature", "to base 60"),
        ("title: Faces\n", "title: 1:30\n", "datasets.faces.title", 'write "1:30" in quotes'),
        ("title: Faces\n", "title: 2024-01-01\n", "datasets.faces.title", 'write "2024-01-01" in quotes'),
        ("title: Faces\n", "title: no\n", "datasets.faces.title", 'write "no" in quotes'),
        ("title: Faces\n", "title: 12\n", "datasets.faces.title", 'write "12" in quotes'),
        ("celebahq: faces\n", "celebahq: off\n", "suites.mini.datasets.celebahq", "`off` is a truth value"),
        ("temperature: 1.0", "temperature: .nan", "suites.mini.evaluate.temperature", "finite number"),
        ("temperature: 1.0", "temperature:", "suites.mini.evaluate.temperature", "given: nothing"),
        ("temperature: 1.0", "temperature: ~", "suites.mini.evaluate.temperature", "given: nothing"),
        ("residual: true", 'residual: "true"', "prior.diffusion.residual", "write true or false"),
        ("residual: true", "residual: 1", "prior.diffusion.residual", "write true or false"),
        ("multipliers: [1, 1], gr", "multipliers: [1, x], gr", "autoencoder.multipliers.1", "valid integer"),
        ("steps: 2000,", f"steps: 1{'0' * 30},", "training.steps", "less than or equal to"),
        ("steps: 2000,", f"steps: 1{'0' * 5000},", "training.steps", "cannot be read as a number"),
        ("steps: 2000,", "steps: -3,", "training.steps", "greater than 0"),
        ("  fashion: #", "  no: #", "datasets", "the key `no` is a truth value in YAML"),
        ("  fashion: #", "  1: #", "datasets", "the key `1` is a number in YAML"),
        ("  fashion: #", "  ~: #", "datasets", "the key `~` is nothing in YAML"),
        ("title: Faces\n", "title: !!python/object/apply:os.system [ls]\n", "datasets.faces.title", "the tag"),
        ("title: Faces\n", "title: Fa\0ces\n", "not YAML", "U+0000"),
        ("title: Faces\n", "title: a: b\n", "not YAML", "`title: a: b`"),
        ("  faces: # drawn", "\tfaces: # drawn", "not YAML", "a tab stands in `faces"),
        ("      draws: 3", "      draws:\t3", "not YAML", "a tab stands in `draws"),
        ("preset: laptop32", "preset: laptop23", "datasets.faces.preset", "did you mean `laptop32`?"),
        ("      temperature: 1.0", "      temperatur: 1.0", "evaluate.temperatur", "did you mean `temperature`?"),
        ("      draws: 3", "      draws: 3\u00a0", "evaluate.draws", "U+00A0 (no-break space) stands in it"),
        ("      draws: 3", "      draws:\u00a03", "not YAML", "U+00A0 (no-break space) stands in `draws:"),
        ("      draws: 3", "     \u00a0draws: 3", "not YAML", "U+00A0 (no-break space) stands in `draws:"),
        ("suites:\n", "\ufeffsuites:\n", "(whole)", "U+FEFF (zero width no-break space) stands in the key"),
        ("suite: mini", "suite\u200b: mini", "(whole)", "U+200B (zero width space) stands in the key"),
        ("title: Faces\n", "title: Fa\u2028ces\n", "U+2028 (line separator)", "take it out"),
        ("title: Faces\n", 'title: "Fa\\0ces"\n', "datasets.faces.title", r"one line of text; take '\x00' out"),
        ("title: Faces\n", 'title: "Fa\\nces"\n', "datasets.faces.title", "a title is one line of text"),
        ("steps: 2000,", "steps: 1e400,", "training.steps", "text in YAML; at most 9e+18 is meant"),
        ("learning_rate: 0.005", "learning_rate: 1e400", "learning_rate", "no such number can be computed with"),
        ("presets:\n", "presetz:\n", "presetz", "(did you mean `presets`?); there are suite, suites, presets"),
        ("suite: mini #", "suite: minni #", "suite", "did you mean `mini`?"),
        ("  mini: &mini #", '  "my pics": &mini #', "suites.my pics", "`my_pics` would do"),
        ("  mini: &mini #", '  "a;touch pwned;": &mini #', "suites.a;touch pwned;", "should match pattern"),
        ("  mini: &mini #", "  ..: &mini #", "suites...", "should match pattern"),
        ("  mini: &mini #", "  -n: &mini #", "suites.-n", "should match pattern"),
        ("  mini: &mini #", "  '{x}': &mini #", "suites.{x}", "should match pattern"),
        ("  laptop32: #", "  laptop.32: #", "presets.laptop.32", "should match pattern"),
        ("  fashion: #", "  weights: #", "datasets.weights", "means something else in paths"),
        ("  fashion: #", "  pixels: #", "datasets.pixels", "means something else in paths"),
    ],
)
def test_what_nobody_can_have_meant_is_refused_with_its_line_and_key(tmp_path, old, new, key, words):
    said = told(tmp_path, old, new)
    assert key in said
    assert words in said


@pytest.mark.parametrize(
    ("old", "new", "key", "lines"),
    [
        ("suite: mini #", "suite: paper\nsuite: mini #", "suite", (5, 6)),
        ("suite: mini #", 'suite: paper\n"suite": mini #', "suite", (5, 6)),
        ("      draws: 3", "      draws: 1\n      draws: 3", "suites.mini.evaluate.draws", (22, 23)),
    ],
)
def test_a_key_twice_is_named_with_both_lines(tmp_path, old, new, key, lines):
    assert f"`{key}` stands twice, lines {lines[0]} and {lines[1]}" in told(tmp_path, old, new)


def test_a_name_that_stands_wrong_in_several_places_is_told_once(tmp_path):
    text = SOURCE.replace("  faces: # drawn", "  Faces: # drawn").replace("celebahq: faces\n", "celebahq: Faces\n")
    assert text.count("Faces\n") >= 2
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as raised:
        params.load(tmp_path / "params.yaml")
    said = str(raised.value)
    assert "1 wrong setting(s)" in said and said.count("String should match") == 1 == said.count("`faces` would do")
    assert re.search(r"suites\.mini\.datasets\.celebahq: .*; also .*line \d+: datasets\.Faces$", said, re.MULTILINE)


def test_the_papers_own_networks_must_stay(tmp_path):
    """Every suite's tables have their counts."""
    written = params.read([ROOT / "params.yaml"]).values
    used = {name for name, about in written["datasets"].items() if about.get("preset") == params.PAPER}
    own = {
        **written,
        "presets": {name: preset for name, preset in written["presets"].items() if name != params.PAPER},
        "datasets": {name: about for name, about in written["datasets"].items() if name not in used},
        "suites": {"mini": written["suites"]["mini"]},
    }
    with pytest.raises(UserError, match=r"^params\.yaml: presets\.paper256 lacks vqgan\.autoencoder, .*put the"):
        params.resolve(own)


def test_a_key_twice_in_one_line_and_in_what_is_merged_is_named(tmp_path):
    line = SOURCE[: SOURCE.index("{source: faces")].count("\n") + 1
    with pytest.raises(UserError, match=rf"`datasets\.faces\.data\.source` stands twice in line {line};"):
        told_of(tmp_path, SOURCE.replace("{source: faces", "{source: a, source: faces", 1))
    with pytest.raises(UserError, match=r"`a\.<<\.b` stands twice, lines 3 and 4"):
        told_of(tmp_path, "a:\n  <<:\n    b: 1\n    b: 2\n")


def told_of(folder: Path, text: str | bytes) -> object:
    """What a file with this text says."""
    (folder / "one.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_file(folder / "one.yaml").values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: Grüße\n".encode("latin-1"), "line 1: `title: Grüße` is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "line 1: the file is UTF-16"),
        ("a: -010\n", "line 1: a: `-010` is a number to base 8 in YAML; write -10"),
        (b"\xef\xbb\xbfa: 1\n", "byte order mark"),
        ("- a\n", "must be keys with values"),
        ("hello", "must be keys with values"),
        ("a: 1\n---\nb: 2\n", "line 2: a second YAML document"),
        ("a: &a {b: *a}\n", "line 1: a.b: an alias stands within what it repeats"),
        ("a: &a\n  <<: *a\n", "an alias stands within what it repeats"),
        ("a: *x\n", "line 1: not YAML: found undefined alias"),
        ("a: " + "[" * 5000, "nested too deeply"),
        (LAUGHS, "aliases counted each time"),
        ("? [a]\n: b\n", "a word is meant"),
        ("a: !x b\n", "the tag `!x` means nothing here"),
        ("a: !!set {b, c}\n", "the tag"),
        ('{"a"\n: 1, "a": 2}', "`a` stands twice, lines 1 and 2"),
        ("a:\u00a01\n", "U+00A0 (no-break space) stands in it, where a space may be meant"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_settings_is_named(tmp_path, text, words):
    with pytest.raises(UserError, match=re.escape(words)):
        told_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("---\na: 1\r\nb: x\r\n", {"a": 1, "b": "x"}),
        ("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}\n", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: &a {<<: {b: 1}}\nc: *a\nd: *a\n", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}}),
        ("a: 1e-05\n", {"a": 1e-05}),  # as DVC writes it
        ("a: 1_000\nb: 0x10\nc: +3\nd: .5\n", {"a": 1000, "b": 16, "c": 3, "d": 0.5}),
        ('a: !!str 12\nb: "12:00:00"\nc: "1"\n', {"a": "12", "b": "12:00:00", "c": "1"}),
        ('{\n\t"a": 1e5,\n\t"b": ["x\\ty", true, null]\n}', {"a": 1e5, "b": ["x\ty", True, None]}),
        ("a: |\n  b\tc\n", {"a": "b\tc\n"}),
        ('{"a"\n\t:\n {"b" : [1e5, -1]}}', {"a": {"b": [1e5, -1]}}),
        ('{"c": "\x7f\u2028\u00a0: \\" :"}', {"c": '\x7f\u2028\u00a0: " :'}),
        ("a: Chats\u00a0! # \u00a0\n", {"a": "Chats\u00a0!"}),  # as French has it
    ],
)  # fmt: skip
def test_what_was_read_rightly_still_is(tmp_path, text, values):
    assert told_of(tmp_path, text) == values


def test_words_that_mean_what_they_say_are_taken(tmp_path):
    """`no` for a precision, as DVC writes it, and for a truth value; a whole number with an exponent."""
    text = (
        SOURCE.replace('"no"', "no").replace("residual: true", "residual: yes").replace("train: 8000", "train: 8.0e+3")
    )
    (tmp_path / "params.yaml").write_text(text)
    assert params.load(tmp_path / "params.yaml") == params.load(ROOT / "params.yaml")


def test_a_missing_file_ends_with_those_that_there_are(tmp_path):
    (tmp_path / "tiny.yaml").touch()
    with pytest.raises(UserError, match=r"tinny.yaml: no such file \(did you mean `tiny.yaml`\?\); .* has tiny.yaml"):
        read_file(tmp_path / "tinny.yaml")
    with pytest.raises(UserError, match="there is no folder"):
        read_file(tmp_path / "nowhere" / "tiny.yaml")
    with pytest.raises(UserError, match="this is a folder"):
        read_file(tmp_path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["suite"], "`key=value` is meant"),
        (["1=2"], "`key=value` is meant"),
        (["suite=mini", "suite=paper"], "`suite` stands twice"),
        (["suites={mini: {title: a, title: b}}"], r"`suites\.mini\.title` stands twice"),
        (["suite=12:00"], "to base 60"),
        (["suite=[a"], "not YAML"),
    ],
)
def test_config_is_read_as_a_file_is(entries, words):
    with pytest.raises(UserError, match=f"^--config.*{words}"):
        read_entries(entries)


def test_later_settings_are_laid_over_earlier_ones_and_keep_their_place(tmp_path):
    (tmp_path / "more.yaml").write_text("datasets:\n  faces:\n    prior: {training: {steps: 1e5}}\n")
    whole = params.read([ROOT / "params.yaml", tmp_path / "more.yaml"], ["suites={mini: {evaluate: {seed: 3}}}"])
    assert whole.values["suites"]["mini"]["evaluate"]["seed"] == 3
    with pytest.raises(UserError, match=r"more\.yaml, line 3: datasets\.faces\.prior\.training\.steps"):
        params.resolve(whole.values, places=params.placed(whole))


@pytest.mark.parametrize("kind", ["a100", "nvidia_h100_nvl_1g.12gb", "A100.40"])
def test_a_gpu_type_that_the_executor_takes_is_taken(tmp_path, kind):
    (tmp_path / "site.yaml").write_text(f"gpu_type: {kind}\n")
    site = slurm.load_site(tmp_path / "site.yaml")
    assert site.resources("gpu_partition", gpus=2)["gres"] == f"gpu:{kind}:2"
    assert slurm._gpus(f"gpu:{kind}:4(S:0-1)", kind) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu: 4\n", "gpu: there is no such setting.*allowed here: account, partition"),
        ("gpus: none\n", "gpus: Input should be a valid integer"),
        ("- gpus\n", "must be keys with values"),
        ("gpus: [\n", "not YAML"),
        ("gpu_type: nvidia_a100-sxm4-80gb\n", "line 1: gpu_type: .*leave gpu_type out"),
        ("gpu_type: 3090\n", 'write "3090" in quotes'),
        ("gpus: 1\ngpus: 2\n", "`gpus` stands twice, lines 1 and 2"),
        ("hours: 12:00:00\n", "line 1: hours: `12:00:00` is a number to base 60"),
        ("gpus: yes\n", "`yes` is a truth value"),
        ("gpus: 65\n", "line 1: gpus: Input should be less than or equal to 64"),
        ("nodes: 60000\n", "line 1: nodes: Input should be less than or equal to 10000"),
        ("hours: 1.0e+308\n", "line 1: hours: Input should be less than or equal to 8760"),
        ("hours: '12'\n", "text in YAML; write 12"),
        ("account: 12\n", 'write "12" in quotes'),
        ("partition: a b\n", "should match pattern"),
        ("qos: --wrap\n", "should match pattern"),
    ],
)
def test_a_sites_file_is_read_as_params_yaml_is(tmp_path, text, words):
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        slurm.load_site(tmp_path / "site.yaml")


def test_a_sites_file_that_leads_nowhere_is_not_passed_over(tmp_path):
    (tmp_path / "site.yaml").symlink_to("elsewhere.yaml")
    with pytest.raises(UserError, match="no such file"):
        slurm.load_site(tmp_path / "site.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--configfile", "nowhere.yaml"],
            "nowhere.yaml: no such file; this folder has dvc.yaml, mkdocs.yml, params.yaml",
        ),
        (["--config", "suite=nosuch"], "--config: suite: 'nosuch' is not one of mini, mini3, gpu, paper"),
        (["--config", "suit=mini"], "(did you mean `suite`?)"),
        (["--config", "suite"], "`key=value` is meant"),
        (["--config", "suite=mini", "--config", "suite=paper"], "--config stands twice"),
        (["figure15"], "no target `figure15` (did you mean `figure5`?); there are all, table1, table2"),
        (["tabel1"], "(did you mean `table1`?)"),
        (["-R", "nosuch"], "no target `nosuch`"),
        (["--omit-from", "nosuch"], "no target `nosuch`"),
        ([""], "an empty text is no target; there are all, table1"),
        (["results/mini/tables/tabel1.csv"], "(did you mean `results/mini/tables/table1.csv`?)"),
        (["results/paper/index.html"], "add `--config suite=paper`"),
        (["prepare_data"], "`prepare_data` makes many files"),
    ],
)
def test_what_snakemake_cannot_be_asked_for_is_one_sentence(arguments, words):
    command = [BIN / "snakemake", "--dry-run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert words in done.stderr.split("vqddm: ", 1)[1]
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_an_empty_configfile_is_named(tmp_path):
    """Snakemake's own sentence would not say which."""
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    command = [BIN / "snakemake", "--dry-run", "--configfile", tmp_path / "empty.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"vqddm: {tmp_path}/empty.yaml: there are no settings in it" in done.stderr


def test_the_ledgers_targets_are_checked_too():
    with pytest.raises(UserError, match="no target `figure15`"):
        read_dag(["figure15"], ROOT)


def test_every_value_in_a_shell_is_quoted():
    """All but numbers and the parameters that are several words, which are quoted where they are made."""
    words = {
        "command",
        "examples",
        "sections",
        "sampled",
        "against",
        "beside",
        "steps",
        "sampler",
        "temperature_option",
        "size",
        "metrics",
        "validation",
    }
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for shell in re.findall(r"^ +shell:\n((?: +\".*\"\n)+)", path.read_text(), re.MULTILINE):
            for value in re.findall(r"\{([^}]*)\}", shell):
                known = value == "threads" or value.startswith("resources.") or value.removeprefix("params.") in words
                assert known or value.endswith(":q"), f"{path.name}: {{{value}}}"


def test_dvcs_commands_are_quoted():
    job = Job("table", {}, (), ("results/a b/x's.csv",), (), {}, "1234", False)
    assert "-- 'results/a b/x'\"'\"'s.csv' # shell" in stage(job, {})["cmd"]


def test_any_path_will_do_for_the_project_and_its_environment(tmp_path):
    """Spaces, quotes, braces, `$` and other letters: one job is planned and done, its pictures beside it."""
    folder = copy_of(ROOT, tmp_path / "ö dd'\"{x}$HOME;`é")
    (tmp_path / "v{e}n v$").symlink_to(BIN.parent)
    command = [tmp_path / "v{e}n v$/bin/python", "-m", "snakemake", "--cores", "1"]
    target = ["--configfile", "tests/tiny.yaml", "--", "data/tinyfaces/train.npy"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for options in (["--dry-run"], []):
        done = subprocess.run(
            [*command, *options, *target], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "data/tinyfaces/train.npy").exists()


FOUR_JOBS = """
from vqddm.asked import look_when_jobs_end

onstart:
    look_when_jobs_end(workflow.scheduler)

rule all:
    input: [f"{i}.txt" for i in range(4)]

rule one:
    output: "{i}.txt"
    shell: "sleep 1.2; touch {output}"
"""


def test_jobs_are_looked_for_when_one_has_ended_and_not_each_second(tmp_path):
    """But for who limits how many start in a second, who may wait for the next one."""
    looks = []
    for name, options in (("plain", []), ("limited", ["--max-jobs-per-timespan", "50/1s"])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Snakefile").write_text(FOUR_JOBS)
        command = [BIN / "snakemake", "--cores", "1", "--verbose", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        looks.append(done.stderr.count("Resources before job selection"))
    assert looks[0] <= 5 < looks[1]
    assert "look_when_jobs_end(workflow.scheduler)" in (ROOT / "Snakefile").read_text()
