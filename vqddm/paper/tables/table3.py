"""Table 3: the layers of encoder and decoder, read off the models, beside the paper's brief table."""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from vqddm.paper.metrics import Metrics
from vqddm.paper.render import DASH, short
from vqddm.paper.reported import reported
from vqddm.paper.tables.record import Table

PAPER_CODEBOOK = "1024"
STAGE = re.compile(r"(?P<stage>conv_in|conv_out|mid|(?:down|up)\.\d+)")


def gather(metrics: Metrics) -> pd.DataFrame:
    """One row for each convolution of the first stage at the paper's size and at the suite's, then the sizes.

    The suite's is that of the main dataset's first prior.

    Columns `network` (`paper` or the suite's), `part`, `name`, channels, kernel, and `parameters` (only in the rows
    named `(all)`).
    """
    sizes = {"paper": (metrics.read("paper_counts") or {}).get(PAPER_CODEBOOK)}
    sizes["suite"] = metrics.read("counts", metrics.plan.roles.celebahq, method="prior")
    rows: list[dict[str, Any]] = []
    for network, counts in sizes.items():
        autoencoder = counts["autoencoder"] if counts else {"layers": []}
        for part in ("encoder", "decoder"):
            rows += [
                {"network": network, "part": part, "name": name}
                | dict(zip(("output_channels", "input_channels", "kernel"), shape, strict=True))
                for owner, name, *shape in autoencoder["layers"]
                if owner == part
            ]
            rows.append(
                {"network": network, "part": part, "name": "(all)"}
                | {"parameters": autoencoder.get(f"{part}_parameters"), "macs": autoencoder.get(f"{part}_macs")}
            )
    columns = ["network", "part", "name", "output_channels", "input_channels", "kernel", "parameters", "macs"]
    return pd.DataFrame(rows, columns=columns)


def stage_of(name: str) -> str:
    """The stage that a layer belongs to, e.g. `down.2.block.0.conv1` to `down.2`; the name itself for others."""
    match = STAGE.match(name)
    return match["stage"] if match else name


def describe(layers: pd.DataFrame) -> str:
    """What one stage holds, in words; a dash where the network has no such stage."""
    if layers.empty:
        return DASH
    names = list(layers["name"])
    first, last = layers.iloc[0], layers.iloc[-1]
    blocks = {match[0] for name in names if (match := re.search(r"block[._]\d+", name))}
    attention = {match[0] for name in names if (match := re.search(r"attn[._]\d+", name))}
    if not blocks:
        size = int(first["kernel"])
        return f"conv {size}×{size}, {int(first['input_channels'])} → {int(last['output_channels'])}"
    inside = layers[[".block" in f".{name}" and "nin" not in name for name in names]]
    channels = f"{int(inside.iloc[0]['input_channels'])} → {int(inside.iloc[-1]['output_channels'])}"
    parts = [f"{len(blocks)} residual block{'s' if len(blocks) > 1 else ''}, {channels}"]
    if attention:
        parts.append(f"{len(attention)} attention")
    parts += [f"{way}sampling" for way in ("down", "up") if any(f"{way}sample" in name for name in names)]
    return "; ".join(parts)


def _order(part: str, stages: Iterable[str] = ()) -> list[str]:
    """Stages as they run, the decoder's levels counted down; of none, those that the four rows of the paper's are."""
    down = part == "encoder"
    levels = sorted((s for s in stages if "." in s), key=lambda s: int(s.split(".")[1]), reverse=not down)
    levels = levels or ["down" if down else "up"]
    return ["conv_in", *levels, "mid", "conv_out"] if down else ["conv_in", "mid", *levels, "conv_out"]


def display(tidy: pd.DataFrame) -> pd.DataFrame:
    """Table 3 as it is read: a row for each stage, the paper's brief text, its size and the suite's."""
    rows = []
    for part in ("encoder", "decoder"):
        mine = tidy[tidy["part"] == part]
        layers = mine[mine["name"] != "(all)"]
        stages = pd.Series([stage_of(name) for name in layers["name"]], index=layers.index, dtype=object)
        brief = dict(zip(_order(part), reported()["table3"][part], strict=True))
        for stage in _order(part, stages.unique()):
            both = [
                describe(layers[(stages == stage) & (layers["network"] == network)]) for network in ("paper", "suite")
            ]
            rows.append((part, brief[stage.split(".")[0]], stage, *both))
        total = mine[mine["name"] == "(all)"].set_index("network")
        sizes = [_size(total["parameters"][network], total["macs"][network]) for network in ("paper", "suite")]
        rows.append((part, DASH, "whole", *sizes))
    columns = [("", "Part"), ("paper", "Table 3"), ("", "Stage"),
               ("read off the model", "at the paper's size"), ("read off the model", "in this suite")]  # fmt: skip
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(columns))


def _size(parameters: Any, macs: Any) -> str:
    return DASH if pd.isna(parameters) else f"{short(parameters)} parameters, {short(macs)} MACs"


TABLE = Table("table3", "A", gather, display)
