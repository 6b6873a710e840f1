"""Figure 3: reconstructions by VQ-GAN and ReFiT on the dataset in the place of ImageNet."""

from functools import partial

from vqddm.paper.figures.reconstructions import draw_reconstructions, reconstruction_files
from vqddm.paper.figures.record import PaperFigure

ROWS = ("vqgan_larger", "vqgan", "refit_larger_p", "refit", "refit_smaller_k")
FIGURE = PaperFigure(
    3, "4.2", partial(reconstruction_files, rows=ROWS), partial(draw_reconstructions, rows=ROWS), role="imagenet"
)
