// Sorts a table by a column; the page is complete without it.
for (const head of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const key = (row) => {
      const cell = row.cells[head.cellIndex];
      const figure = cell.querySelector("[data-value]");
      const text = figure ? figure.dataset.value : cell.textContent.trim();
      if (text === "infinity") return Infinity;
      return text === "" || isNaN(text) ? text : Number(text);
    };
    const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
    const rows = [...body.rows].sort((a, b) => order(key(a), key(b)) * (ascending ? 1 : -1));
    body.append(...rows);
  });
}
