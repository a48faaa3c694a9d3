"""Pictures show the figures that they are of, in words that do not cover each other."""

import subprocess
import sys

import numpy as np
import pytest
from evaluated import comparison, matrix

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.evaluation.pictures import Projection, bars, corpus_map, heat_map, save_picture, size_curve
from cde_retrievers.evaluation.pictures.canvas import INK, picture_bytes, shortened
from cde_retrievers.evaluation.pictures.scatter_plot import placed_labels

LONG = {
    f"context of a corpus whose name is long and ends in the number {place}": 0.3 + place / 50 for place in range(8)
}


def words(figure) -> list[tuple[str, object]]:
    """What is drawn in words, and where, in pixels."""
    drawn, draw = [], Text.draw

    def recorded(text, renderer, *arguments, **options):
        drawn.append(text)
        return draw(text, renderer, *arguments, **options)

    canvas = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", recorded)
        canvas.draw()
    shown = [text for text in dict.fromkeys(drawn) if text.get_text().strip() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown]


def assert_words_are_apart(figure) -> None:
    found = words(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for place, (text, box) in enumerate(found):
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert box.y0 >= 0, text
        assert box.y1 <= height, text
        for other, its in found[:place]:
            # Boxes have a little air around the letters, which may touch.
            apart = box.x0 >= its.x1 - 1 or its.x0 >= box.x1 - 1 or box.y0 >= its.y1 - 1 or its.y0 >= box.y1 - 1
            assert apart, f"{text!r} covers {other!r}"


def test_each_bar_is_as_long_as_the_mean_of_its_row_and_has_its_interval():
    compared = comparison(0.5, 0.4, BM25=0.3)
    axes = bars(compared).axes[0]
    means = [row.evaluation.mean() for row in compared.rows]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * mean.mean for mean in means])
    # Lines and caps of the three intervals.
    segments = [collection.get_segments()[0] for collection in axes.collections]
    assert np.array(segments)[:, :, 0] == pytest.approx(np.array([[100 * m.low, 100 * m.high] for m in means]))


def test_bars_show_the_measure_that_is_asked_for():
    compared = comparison()
    compared.own.values["map"] = np.full(30, 0.25)
    axes = bars(compared, "map").axes[0]
    assert axes.patches[0].get_width() == pytest.approx(25)
    assert axes.get_xlabel().startswith("AP of set")
    with pytest.raises(ConfigurationError, match="measure 'map@3' is unknown"):
        bars(compared, "map@3")


def test_the_own_context_has_a_colour_of_its_own():
    own, *others = [to_hex(bar.get_facecolor()) for bar in bars(comparison(BM25=0.3)).axes[0].patches]
    assert own not in others


def test_ten_long_names_do_not_cover_each_other():
    figure = bars(comparison(**LONG))
    assert_words_are_apart(figure)
    shown = [text for text, _ in words(figure)]
    assert sum(text.endswith(f"number {place}") for place in range(8) for text in shown) == 8


def test_a_bar_of_nothing_can_be_drawn():
    compared = comparison(0.0, 0.0)
    for row in compared.rows:
        row.evaluation.values["ndcg@10"] = np.zeros(30)
    assert picture_bytes(bars(compared), "png").startswith(b"\x89PNG")


def test_shortened_labels_keep_both_ends():
    assert shortened("as it is", 8) == "as it is"
    assert shortened("the beginning and the end", 12) == "the beg…end"
    assert len(shortened("x" * 100, 12)) == 12


@pytest.fixture
def gains():
    return np.array([[2.5, -1.0, -1.5], [0.0, 1.5, -0.5], [-2.0, 1.0, 0.5]])


def test_the_heat_map_shows_every_gain(gains):
    figure = heat_map(matrix(gains, ("cats", "dogs", "birds")))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), gains, atol=1e-9)
    cells = [note.get_text().replace("\N{MINUS SIGN}", "-") for note in figure.axes[0].texts]
    assert [float(cell) for cell in cells] == pytest.approx(gains.ravel())
    # Searched corpora are rows, contexts are columns.
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("searched", "context of")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cats", "dogs", "birds"]


def test_the_heat_map_gives_gain_and_loss_equal_strength_and_marks_own_contexts(gains):
    axes = heat_map(matrix(gains, ("cats", "dogs", "birds"))).axes[0]
    assert axes.images[0].get_clim() == pytest.approx((-2.5, 2.5))
    middles = [(line.get_xdata()[:4].mean(), line.get_ydata()[:4].mean()) for line in axes.lines]
    np.testing.assert_allclose(middles, [(0, 0), (1, 1), (2, 2)], atol=1e-9)


def test_ten_sets_with_long_names_have_room_on_a_heat_map():
    names = tuple(f"a set with a long name {place}" for place in range(10))
    figure = heat_map(matrix(np.random.default_rng(0).normal(0, 9, (10, 10)), names))
    # Slanting names overlap as boxes, not as words.
    for tick in figure.axes[0].get_xticklabels():
        tick.set_rotation(90)
    assert_words_are_apart(figure)


def test_the_curve_over_sizes_has_each_mean_and_its_interval():
    compared = comparison(sizes={64: 0.5, 16: 0.45, 256: 0.52})
    axes = size_curve(compared).axes[0]
    rows = sorted(compared.of("size"), key=lambda row: row.size)
    means = [row.evaluation.mean() for row in rows]
    curve, without = axes.lines
    np.testing.assert_allclose(
        curve.get_xydata(), [[s, 100 * m.mean] for s, m in zip((16, 64, 256), means, strict=True)]
    )
    assert without.get_ydata() == pytest.approx([40, 40])
    corners = {tuple(corner) for corner in axes.collections[0].get_paths()[0].vertices.round(6).tolist()}
    for size, mean in zip((16, 64, 256), means, strict=True):
        assert {(size, round(100 * mean.low, 6)), (size, round(100 * mean.high, 6))} <= corners


def test_many_sizes_do_not_cover_each_other():
    figure = size_curve(comparison(sizes={size: 0.5 for size in range(100, 2_000, 37)}))
    assert_words_are_apart(figure)


def test_a_curve_needs_two_sizes():
    with pytest.raises(ConfigurationError, match=r"at least two of them, found 1; compare with sizes="):
        size_curve(comparison(sizes={16: 0.5}))


@pytest.fixture
def embeddings():
    rows = np.random.default_rng(3).normal(size=(60, 8)) * np.linspace(3, 0.2, 8)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_projection_is_onto_the_eigenvectors_of_the_covariance(embeddings):
    found = Projection.of(embeddings)
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    slow = centred @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(found.points), np.abs(slow), atol=1e-9)
    assert found.shares == pytest.approx((values[-1] / values.sum(), values[-2] / values.sum()))


def test_the_projection_has_one_sign(embeddings):
    padded = np.hstack([embeddings, np.zeros((60, 1), dtype=np.float32)])
    np.testing.assert_allclose(Projection.of(padded).points, Projection.of(embeddings).points, atol=1e-6)
    # The same documents in another order lie where they lay.
    np.testing.assert_allclose(
        Projection.of(embeddings[::-1]).points, Projection.of(embeddings).points[::-1], atol=1e-6
    )


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (4,)])
def test_a_projection_needs_two_dimensions(shape):
    with pytest.raises(ConfigurationError, match="at least two embeddings of at least two numbers, found shape"):
        Projection.of(np.ones(shape, dtype=np.float32))


def test_equal_documents_are_one_point():
    found = Projection.of(np.ones((3, 4), dtype=np.float32))
    assert (found.points == 0).all()
    assert found.shares == (0, 0)


def test_the_map_marks_the_documents_of_the_context(embeddings):
    projection = Projection.of(embeddings)
    others, chosen = corpus_map(projection, [5, 2, 40]).axes[0].collections
    np.testing.assert_array_equal(chosen.get_offsets(), projection.points[[5, 2, 40]])
    assert len(others.get_offsets()) == 57


def test_numbers_stand_beside_their_documents_and_cover_no_other(embeddings):
    projection = Projection.of(embeddings)
    context = list(range(40))
    figure = corpus_map(projection, context)
    assert_words_are_apart(figure)
    FigureCanvasAgg(figure).draw()
    marks = figure.axes[0].transData.transform(projection.points[context])
    numbers = {int(text): box for text, box in words(figure) if text.isdigit()}
    assert len(numbers) >= 30
    for number, box in numbers.items():
        middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
        assert np.linalg.norm(middle - marks[number - 1]) < 20
        inside = (marks > (box.x0, box.y0)).all(axis=1) & (marks < (box.x1, box.y1)).all(axis=1)
        assert not inside.any()


def test_labels_stay_within_the_picture():
    corner, bounds = np.array([[2.0, 2.0]]), np.array([0.0, 0.0, 100.0, 100.0])
    (middle,) = placed_labels(corner, np.array([[20.0, 10.0]]), bounds, radius=3).values()
    assert (middle >= (10, 5)).all()
    assert placed_labels(corner, np.array([[20.0, 10.0]]), bounds / 10, radius=3) == {}


@pytest.mark.parametrize("context", [[1, 1], [60], [-1]])
def test_a_map_refuses_places_that_are_none(embeddings, context):
    with pytest.raises(ConfigurationError, match="distinct positions among 60 documents"):
        corpus_map(Projection.of(embeddings), context)


def test_many_documents_do_not_fill_an_svg(embeddings):
    many = Projection.of(np.random.default_rng(0).normal(size=(5_000, 3)).astype(np.float32))
    assert len(picture_bytes(corpus_map(many, [0, 1]), "svg")) < 400_000


def test_pictures_are_written_as_png_and_svg(tmp_path):
    figure = bars(comparison())
    save_picture(figure, tmp_path / "bars.png")
    save_picture(figure, tmp_path / "bars.SVG")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "bars.SVG").read_bytes()
    with pytest.raises(ConfigurationError, match=r"must end in \.png or \.svg, found 'bars\.jpg'"):
        save_picture(figure, tmp_path / "bars.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bars.SVG", "bars.png"]


def test_a_picture_takes_the_ink_of_its_page():
    figure = bars(comparison())
    dark = picture_bytes(figure, "svg", ink="#fafafa")
    assert (INK.encode() in dark, b"#fafafa" in dark) == (False, True)
    assert INK.encode() in picture_bytes(figure, "svg")


def test_a_name_with_dollars_is_no_formula():
    assert picture_bytes(bars(comparison(**{"costs $\\frac$": 0.3})), "svg")


def test_pictures_of_saved_figures_need_no_torch():
    code = "import sys, cde_retrievers.evaluation.pictures; sys.stdout.write(str('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False"
