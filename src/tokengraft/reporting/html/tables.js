"use strict";
// Tables can be sorted by a column and filtered; without this script they are whole and in order.
(() => {
  const words = document.body.dataset;
  const keyOf = (cell) => cell.dataset.key ?? cell.textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b);
  };
  const sort = (table, column, heads) => {
    const body = table.tBodies[0];
    const head = heads[column];
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows];
    rows.sort((a, b) => compare(keyOf(a.cells[column]), keyOf(b.cells[column])) * (down ? -1 : 1));
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, heads));
      head.append(button);
    });
    if (table.tBodies[0].rows.length <= 12) continue;
    const box = document.createElement("input");
    box.type = "search";
    box.placeholder = words.filter;
    box.setAttribute("aria-label", `${words.filter}: ${table.caption?.textContent.trim() ?? ""}`);
    const told = document.createElement("p");
    told.className = "note";
    told.setAttribute("role", "status");
    box.addEventListener("input", () => {
      const wanted = box.value.toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      told.textContent = shown ? "" : words.none;
    });
    const scroll = table.closest(".scroll");
    scroll.before(box);
    scroll.after(told);
  }
})();
