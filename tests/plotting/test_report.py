"""The page about a fit: everything in one file, readable without pictures, the same for the same fit."""

from __future__ import annotations

import re

import dask.array as da
import numpy as np
import pytest
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

from dask_gmm import GaussianMixture
from dask_gmm.cli import gmm as command

pytest.importorskip("matplotlib").use("Agg")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(600, 3)) + np.repeat([[0.0, 0, 0], [4, 2, 0]], 300, axis=0)


@pytest.fixture(scope="module")
def gm(rows):
    return GaussianMixture(2, random_state=0).fit(rows)


def page_of(gm, path, *rows):
    gm.report(path, *rows)
    return path.read_text(encoding="utf-8")


def test_everything_is_in_one_file(gm, rows, tmp_path):
    page = page_of(gm, tmp_path / "fit.html", rows)
    assert page.startswith("<!DOCTYPE html>")
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", page)
    assert "<link" not in page
    assert "@import" not in page


def test_the_table_holds_the_weights_and_can_be_sorted(gm, tmp_path):
    page = page_of(gm, tmp_path / "fit.html")
    table = page[page.index("<table") : page.index("</table>")]
    told = [float(value) for value in re.findall(r'data-value="?\'?([-0-9.e+]+)', table)]
    for weight in gm.weights_:
        assert np.isclose(told, weight, rtol=1e-6).any()
    assert "<button" in table
    assert "aria-sort" in page


def test_every_picture_says_what_it_shows(gm, rows, tmp_path):
    page = page_of(gm, tmp_path / "fit.html", rows)
    pictures = re.findall("<svg[^>]*>", page)
    assert len(pictures) >= 4
    assert all('aria-label="' in picture for picture in pictures)


def test_names_are_text_not_markup(rows, tmp_path):
    pd = pytest.importorskip("pandas")
    gm = GaussianMixture(2, random_state=0).fit(pd.DataFrame(rows, columns=["<script>", "b&c", "d"]))
    page = page_of(gm, tmp_path / "fit.html")
    assert "<script>:" not in page
    assert "&lt;script&gt;" in page


def test_a_fit_short_of_convergence_says_what_to_do(rows, tmp_path):
    with pytest.warns(Warning, match="did not converge"):
        gm = GaussianMixture(3, max_iter=2, tol=0, random_state=0).fit(rows)
    assert "max_iter" in page_of(gm, tmp_path / "fit.html")


@pytest.mark.parametrize("n_components", [1, 2])
def test_one_feature_is_reported(n_components, tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 1))
    gm = GaussianMixture(n_components, random_state=0).fit(x)
    assert "</html>" in page_of(gm, tmp_path / "fit.html", x)


def test_command_draws_what_a_model_file_keeps(gm, tmp_path):
    gm.save(tmp_path / "m.npz")
    again = GaussianMixture.load(tmp_path / "m.npz")
    assert_frame_equal(again.history_.to_frame(), gm.history_.to_frame())
    out = tmp_path / "fit.html"
    argv = ["report", str(tmp_path / "m.npz"), "--out", str(out)]
    assert CliRunner().invoke(command, argv).exit_code == 0
    assert "gains, by iteration" in out.read_text(encoding="utf-8")
    assert CliRunner().invoke(command, argv).exit_code == 2


def test_rows_are_read_once_for_the_whole_page(gm, rows, tmp_path):
    reads = []

    def counted(block):
        reads.append(len(block))
        return block

    lazy = da.from_array(rows, chunks=(200, 3)).map_blocks(counted, dtype=rows.dtype, meta=rows[:0])
    gm.report(tmp_path / "fit.html", lazy)
    assert reads == [200] * 3
