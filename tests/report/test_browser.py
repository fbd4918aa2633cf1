"""Reports in a browser: no errors, pictures load, tables sort, nothing leaves the page."""

import shutil

import numpy as np
import pytest

from amr_jax.report import comparison, page
from amr_jax.run import workdir
from amr_jax.studies import tables
from configs import compare
from tests.report import handmade
from tests.report.parsed import Page
from tests.studies.handmade import row

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The three reports, of workdirs made by hand."""
    folder = tmp_path_factory.mktemp("reports") / "compared"
    config = compare.get_config("nwucla")
    run = handmade.a_run(folder / "amr")
    judged, _ = handmade.an_evaluation(folder / "amr" / "linear", folder / "amr", num_classes=12)
    workdir.start(folder, config, set())
    rows = {
        "amr": [row("amr", linear=0.9, knn=0.8, title="AMR <b>")],
        "mamp": [row("mamp", linear=0.85, knn=0.7, training_seconds=3700.0)],
    }
    rows["mamp"][0]["finished"] = "2026-11-22T09:00:00+00:00"
    for name, (cell,) in rows.items():
        config.rows[name].title = cell["title"]
    tables.write(folder, config, rows, "amr-jax compare")
    page.write(folder, lambda: comparison.content(folder, "amr-jax compare", rows))
    return {"run": run, "evaluation": judged, "comparison": folder / page.FILE}


def test_a_comparison_has_its_tables_and_links_to_the_reports_of_its_rows(pages):
    shown = Page(pages["comparison"])
    shown.check()
    lines = shown.table("method")
    assert [line["method"] for line in lines] == ["mamp".upper(), "AMR <b>", "random encoder"]
    assert [line["linear %"] for line in lines] == ["85.0", "90.0", "50.0"]
    assert "Ahead of AMR <b>" in shown.text
    links = [a["href"] for tag, a in shown.tags if tag == "a"]
    assert {"amr/report.html", "amr/linear/report.html", "comparison.csv"} <= {*links}


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright: pip install '.[test]'")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_pages_load_without_errors_or_requests_and_tables_sort(pages, browser):
    tab = browser.new_page(viewport={"width": 420, "height": 800})
    wrong, asked = [], []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    for path in pages.values():
        tab.goto(path.as_uri())
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        # Wide tables scroll in themselves, not the page.
        assert tab.evaluate("document.documentElement.scrollWidth") == 420
    assert wrong == []
    asked = [url for url in asked if not url.startswith("data:")]
    assert asked == [path.as_uri() for path in pages.values()]

    def column(head: str) -> list[str]:
        """A click on a head, and the texts of its column then."""
        cell = tab.locator("thead th", has_text=head).first
        cell.click()
        return cell.evaluate(
            "x => [...x.closest('table').tBodies[0].rows].map(r => r.cells[x.cellIndex].innerText)"
        )

    assert column("finished") == ["2026-11-22 09:00", "2026-11-23 10:00"]
    assert column("training time") == ["10:00", "1:01:40", "–"]
    assert column("training time") == ["1:01:40", "10:00", "–"]
    assert column("method") == ["AMR <b>", "MAMP", "random encoder"]
    tab.goto(pages["evaluation"].as_uri())
    found = [float(text) for text in column("pretrained %")]
    assert found == sorted(found)
    assert len(np.unique(found)) > 5
