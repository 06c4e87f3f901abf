// A table that is sorted by the button in a heading, and filtered by the boxes above; rows stay those of the page.
(() => {
"use strict";
if (window.audioattnSortable?.version === "@VERSION@") { window.audioattnSortable.wake(); return; }

const start = (root) => {
  const body = root.querySelector("tbody"), bar = root.querySelector(".aa-filters");
  const rows = [...body.rows], heads = [...root.querySelectorAll("thead th")];
  const selects = [...bar.querySelectorAll("select")];
  const name = bar.querySelector("input[type=search]"), only = bar.querySelector("input[type=checkbox]");
  const count = bar.querySelector("output");

  let counted = "";
  const filter = () => {
    const text = name.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const isReference = row.classList.contains("aa-reference");
      const matches = selects.every((select, i) => !select.value || (i > 0 && isReference)
        || row.getAttribute(`data-filter-${select.dataset.filter}`) === select.value);
      const isNamed = !text || row.cells[0].textContent.toLowerCase().includes(text);
      row.hidden = !(matches && isNamed && (!only?.checked || row.hasAttribute("data-reliable")));
      shown += !row.hidden;
    }
    for (const select of selects) {
      if (!select.dataset.hides) continue;  // one value chosen: its column would repeat it in every row
      for (const row of [heads[0].parentElement, ...rows]) row.cells[select.dataset.hides].hidden = select.value !== "";
    }
    counted = `${shown} of ${rows.length} rows`;
    tell();
  };

  // Which edges of the box hide something, for the eye and in words.
  const box = root.querySelector(".aa-table");
  const tell = () => {
    const right = box.scrollWidth - box.clientWidth, below = box.scrollHeight - box.clientHeight;
    const hides = [right - box.scrollLeft > 1, below - box.scrollTop > 1];
    box.classList.toggle("aa-more-right", hides[0]);
    box.classList.toggle("aa-more-below", hides[1]);
    box.classList.toggle("aa-more", hides.includes(true));
    const more = [...(below > 1 ? ["rows"] : []), ...(right > 1 ? ["columns"] : [])].join(" and ");
    const text = more ? `${counted}; scroll the table for more ${more}` : counted;
    if (count.textContent !== text) count.textContent = text;
  };
  box.addEventListener("scroll", tell, { passive: true });
  new ResizeObserver(tell).observe(box);

  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b, sign) => {
    if (a === "" || b === "") return (a === "") - (b === "");  // what is missing is last in either order
    const numbers = [Number(a), Number(b)];
    return sign * (numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1]);
  };
  const sort = (column) => {
    const head = heads[column], first = rows.some((row) => Number.isNaN(Number(key(row, column)))) ? "ascending" : "descending";
    const before = head.getAttribute("aria-sort");
    const order = !before ? first : before === "ascending" ? "descending" : "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    rows.sort((a, b) => compare(key(a, column), key(b, column), order === "ascending" ? 1 : -1));
    body.append(...rows);
  };

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
  for (const control of [...selects, only]) control?.addEventListener("change", filter);
  name.addEventListener("input", filter);
  bar.hidden = false;
  filter();
};

window.audioattnAwaken("audioattnSortable", "aa-sortable-waiting", (root) => root.querySelector(".aa-sortable-end"), start, "@VERSION@");
})();
