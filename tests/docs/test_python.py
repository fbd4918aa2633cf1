"""The notebook runs, and the page on Python names what exists."""

import ast
import json
import re

import pytest

import amr_jax as amr
from tests.docs import pages
from tests.docs.pages import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_steps.ipynb"


def test_the_notebook_runs():
    scope = {"__name__": "notebook"}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        *lines, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(lines, []), NOTEBOOK.name, "exec"), scope)
        assert isinstance(last, ast.Expr), "a cell ends with what it shows"
        shown = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), scope)
        assert repr(shown)
        if hasattr(shown, "_repr_png_"):
            assert shown._repr_png_().startswith(b"\x89PNG")
    assert scope["run"].metrics["loss"][-1] < scope["run"].metrics["loss"][0]
    assert scope["probe"].accuracy > 0.5


@pytest.mark.parametrize("page", ["python.md", "zoo.md"])
def test_the_pages_name_what_exists(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for code in pages.blocks(ROOT / "docs" / page, "python"):
        ast.parse(code)
    for name in re.findall(r"\bamr\.(\w+)", text):
        assert hasattr(amr, name), name
    kinds = {"run": amr.Run, "probe": amr.Evaluation, "model": amr.TrainedModel, "data": amr.Data}
    for kind, name in re.findall(r"\b(run|probe|model|data)\.(\w+)", text):
        made = {"workdir", "config", "results", "classes", "safetensors"}
        assert hasattr(kinds[kind], name) or name in made, f"{kind}.{name}"
