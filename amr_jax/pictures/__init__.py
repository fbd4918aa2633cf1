"""Pictures: skeletons, what pre-training sees, features and curves, as matplotlib figures.

Every function returns a `matplotlib.figure.Figure` and touches no global state (no pyplot). All
share one style (`style`): widths of a paper's column and page, 8 pt type, colours that colour-blind
readers tell apart. `style.save` and `style.png` write them.
"""
