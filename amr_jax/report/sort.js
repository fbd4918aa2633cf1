// A click on a head of a table sorts its rows: numbers and times (1:02:03) by value, '–' last.
const value = (cell) => {
  const text = cell.textContent.trim().replaceAll(",", "").replace("−", "-");
  if (/^\d+(:\d\d)+$/.test(text)) return text.split(":").reduce((sum, x) => sum * 60 + +x, 0);
  return /^[+-]?\d*\.?\d+(e[+-]?\d+)?([\s%×–]|$)/.test(text) ? parseFloat(text) : text;
};
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
  : typeof a === typeof b ? a.localeCompare(b) : typeof a === "number" ? -1 : 1);
for (const head of document.querySelectorAll("thead th")) {
  head.onclick = () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = head.closest("table").tBodies[0], rows = [...body.rows], i = head.cellIndex;
    const missing = (row) => ["–", ""].includes(row.cells[i].textContent.trim());
    rows.sort((a, b) => missing(a) - missing(b)
      || (down ? -1 : 1) * compare(value(a.cells[i]), value(b.cells[i])));
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };
}
