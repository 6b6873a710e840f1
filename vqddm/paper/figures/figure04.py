"""Figure 4: reconstructions by VQ-GAN and ReFiT on the dataset in the place of CelebA-HQ."""

from functools import partial

from vqddm.paper.figures.reconstructions import draw_reconstructions, reconstruction_files
from vqddm.paper.figures.record import PaperFigure

ROWS = ("vqgan", "refit", "refit_smaller_k")  # its (b), (c) and (d)
FIGURE = PaperFigure(4, "4.2", partial(reconstruction_files, rows=ROWS), partial(draw_reconstructions, rows=ROWS))
