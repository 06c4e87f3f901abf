// The list of clips of an explorer: filters, order and keyboard are the browser's, so they answer at once.
const HEIGHT = 26;
const REST = 120; // milliseconds without another key before the kernel is asked
const COLUMNS = [["clip", "Clip"], ["label", "Label"], ["predicted", "Prediction"], ["confidence", "Confidence"], ["inside", "Inside event"]];
const OF_NUMBERS = COLUMNS.with(3, ["error", "Error"]);
const FILTERS = {
  all: ["All clips", () => true],
  wrong: ["Wrong", (row) => row.right === false],
  right: ["Right", (row) => row.right === true],
  unsure: ["Unsure", (row, limits) => row.confidence !== null && row.confidence < limits.sure],
  outside: ["Attention outside the event", (row) => row.inside !== null && row.inside < 0.5],
};
const make = (tag, name, attributes = {}) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const number = (value) => (typeof value === "number" ? value.toFixed(2) : value ?? "\u2013");
let lists = 0;

const render = ({ model, el }) => {
  const id = `aa-list-${++lists}`;
  let shown = [];
  let timer = null;
  const root = make("div", "audioattn aa-clips");
  const filters = make("div", "aa-filters");
  const heads = make("div", "aa-row aa-heads");
  const body = make("div", "aa-body", { role: "listbox", tabindex: "0", "aria-label": model.get("about") });
  const count = make("span", "", { "aria-live": "polite" });
  const search = make("input", "", { type: "search", "aria-label": "Search the list", placeholder: "Search" });

  const choice = (trait, label, options) => {
    const text = make("label");
    const select = make("select", "", { "data-choice": trait });
    const fill = () => {
      select.replaceChildren(...options().map(([value, name]) => {
        const option = make("option", "", { value });
        option.textContent = name;
        return option;
      }));
      select.value = model.get(trait);
    };
    select.addEventListener("change", () => { model.set(trait, select.value); model.save_changes(); });
    fill();
    model.on(`change:${trait}`, () => { select.value = model.get(trait); list(); });
    model.on("change:rows", fill);
    text.append(`${label} `, select);
    filters.append(text);
  };
  const rows = () => model.get("rows");
  const classes = () => [...new Set(rows().flatMap((row) => String(row.label).split(";")))].filter(Boolean).sort();

  const given = model.get("columns");
  const columns = given.length ? given : "error" in (rows()[0] ?? {}) ? OF_NUMBERS : COLUMNS;
  if (given.length) root.style.setProperty("--aa-columns", `minmax(8rem, 1.6fr) repeat(${given.length - 1}, minmax(4rem, 1fr))`);
  for (const [key, title] of columns) {
    const button = make("button", "", { type: "button", "data-key": key });
    button.textContent = title;
    button.addEventListener("click", () => {
      const [old, way] = model.get("order").split(" ");
      model.set("order", `${key} ${old === key && way === "up" ? "down" : "up"}`);
      model.save_changes();
    });
    heads.append(button);
  }
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const list = () => {
    const [key, way] = model.get("order").split(" ");
    const test = FILTERS[model.get("only")][1];
    const wanted = model.get("of_class");
    const limits = { sure: model.get("sure") };
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const said = (row) => Object.values(row).join(" ").toLowerCase();
    shown = rows().filter((row) => words.every((word) => said(row).includes(word)) && test(row, limits) && (!wanted || String(row.label).split(";").includes(wanted)));
    const sign = way === "down" ? -1 : 1;
    shown.sort((a, b) => (a[key] === null || b[key] === null ? compare(a[key], b[key]) : sign * compare(a[key], b[key])));
    for (const button of heads.children) {
      button.removeAttribute("data-order");
      if (button.dataset.key === key) button.dataset.order = way;
    }
    count.textContent = `${shown.length} of ${rows().length}`;
    reveal();
    draw();
  };
  const place = () => shown.findIndex((row) => row.clip === model.get("selected"));
  const draw = () => {
    const first = Math.max(Math.floor(body.scrollTop / HEIGHT) - 4, 0);
    const space = make("div");
    space.style.height = `${shown.length * HEIGHT}px`;
    const drawn = shown.slice(first, first + 20).map((row, i) => {
      const line = make("div", "aa-row", { role: "option", id: `${id}-${first + i}`, "aria-selected": String(row.clip === model.get("selected")) });
      line.style.top = `${(first + i) * HEIGHT}px`;
      for (const [key] of columns) {
        const cell = make("span", key === "predicted" && row.right === false ? "aa-wrong" : "");
        cell.textContent = number(row[key]);
        cell.title = cell.textContent;
        line.append(cell);
      }
      line.addEventListener("click", () => { choose(row.clip, true); body.focus({ preventScroll: true }); });
      return line;
    });
    if (!shown.length) {
      const none = make("div", "aa-none");
      none.textContent = "Nothing is like this.";
      drawn.push(none);
    }
    body.replaceChildren(space, ...drawn);
    const at = place();
    if (at >= 0) body.setAttribute("aria-activedescendant", `${id}-${at}`);
    else body.removeAttribute("aria-activedescendant");
  };
  const reveal = () => {
    const at = place();
    if (at < 0) return;
    const top = at * HEIGHT;
    if (top < body.scrollTop) body.scrollTop = top;
    else if (top + HEIGHT > body.scrollTop + body.clientHeight) body.scrollTop = top + HEIGHT - body.clientHeight;
  };
  const choose = (clip, isNow = false) => {
    model.set("selected", clip);
    reveal();
    draw();
    clearTimeout(timer);
    timer = setTimeout(() => model.save_changes(), isNow ? 0 : REST);
  };
  body.addEventListener("scroll", draw);
  body.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || !shown.length) return;
    event.preventDefault();
    event.stopPropagation();
    const at = place();
    const next = at < 0 ? 0 : Math.min(Math.max(at + moves[event.key], 0), shown.length - 1);
    choose(shown[next].clip);
  });

  search.addEventListener("input", () => list());
  search.addEventListener("keydown", (event) => event.stopPropagation());
  const possible = Object.entries(FILTERS).filter(([key]) => key === "all" || columns === COLUMNS || key === "outside");
  if (!given.length) choice("only", "Show", () => possible.map(([key, [name]]) => [key, name]));
  if (columns === COLUMNS) choice("of_class", "Class", () => [["", "All"], ...classes().map((name) => [name, name])]);
  filters.append(search, count);
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.append(filters, heads, body);
  el.append(root);
  list();
  requestAnimationFrame(() => { reveal(); draw(); });
  for (const name of ["rows", "order"]) model.on(`change:${name}`, list);
  model.on("change:selected", () => { reveal(); draw(); });
  return () => clearTimeout(timer);
};
export default { render };
