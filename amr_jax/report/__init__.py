"""Reports: one self-contained HTML page per run, evaluation and comparison.

`page.write` writes `report.html` into a workdir after everything else; a page needs no network.
"""
