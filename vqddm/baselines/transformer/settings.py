"""The section `baselines.transformer` of `params.yaml`."""

from pydantic import Field

from vqddm.settings import PositiveInt, TrainedParams


class TransformerParams(TrainedParams):
    """The autoregressive prior over the same code maps, which the paper compares with (Table 2, Figure 8)."""

    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    window: PositiveInt = Field(description="side of the code map seen at once; it slides over a larger map")
    top_k: PositiveInt | None = Field(description="draw from the likeliest codes only; null: from all")
    learning_rate: float = Field(gt=0, description="AdamW's learning rate at the start of the cosine annealing")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate first rises")
    gradient_clip: float | None = Field(gt=0, description="largest norm of the gradient")

    def fits(self, section: str, resolution: int, side: int) -> None:
        """The window is no larger than the code map."""
        if self.window > side:
            raise ValueError(f"{section}.window is more than the {side} x {side} codes of a map")
