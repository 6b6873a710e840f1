"""Figure 9: more samples on the dataset in the place of LSUN-Church."""

from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.samples import draw_more_samples, sample_files

FIGURE = PaperFigure(9, "A", sample_files, draw_more_samples, role="lsun_church")
