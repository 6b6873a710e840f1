"""Figure 10: more samples on the dataset in the place of CelebA-HQ."""

from vqddm.paper.figures.record import PaperFigure
from vqddm.paper.figures.samples import draw_more_samples, sample_files

FIGURE = PaperFigure(10, "A", sample_files, draw_more_samples)
