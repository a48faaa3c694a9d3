"""Pictures of evaluations, drawn by matplotlib without windows: figures that `save_picture` writes as PNG or SVG."""

from cde_retrievers.evaluation.pictures.bars import bars
from cde_retrievers.evaluation.pictures.canvas import save_picture
from cde_retrievers.evaluation.pictures.corpus_map import Projection, corpus_map
from cde_retrievers.evaluation.pictures.heat_map import heat_map
from cde_retrievers.evaluation.pictures.size_curve import size_curve

__all__ = ["Projection", "bars", "corpus_map", "heat_map", "save_picture", "size_curve"]
