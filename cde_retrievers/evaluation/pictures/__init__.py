"""Pictures of evaluations, drawn by matplotlib without windows: figures that `save_picture` writes as PNG or SVG."""

from cde_retrievers.evaluation.pictures.bar_chart import bars
from cde_retrievers.evaluation.pictures.canvas import save_picture
from cde_retrievers.evaluation.pictures.line_plot import size_curve
from cde_retrievers.evaluation.pictures.matrix_plot import heat_map
from cde_retrievers.evaluation.pictures.scatter_plot import Projection, corpus_map

__all__ = ["Projection", "bars", "corpus_map", "heat_map", "save_picture", "size_curve"]
