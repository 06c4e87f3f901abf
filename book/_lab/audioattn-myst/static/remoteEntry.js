// JupyterLab shows the source of MyST roles; this shows what the book shows: {footcite:t}`key` as authors and year, empty
// links to pages with the title of the page, and the references of the notebook at its end. It changes the rendered text
// alone, never the notebook. A page is opened in JupyterLab when its link is clicked.
(() => {
"use strict";
const NAME = "audioattn-myst";
const settings = () => JSON.parse(document.getElementById("jupyter-config-data").textContent);
const kept = new Map();
const read = (path) => {
  if (!kept.has(path)) {
    const address = `${settings().baseUrl}files/${path}`;
    const headers = { "X-XSRFToken": document.cookie.match(/\b_xsrf=([^;]*)/)?.[1] ?? "" }; // JupyterLab asks for it
    kept.set(path, fetch(address, { headers }).then((answer) => (answer.ok ? answer.text() : "")).catch(() => ""));
  }
  return kept.get(path);
};

const plain = (text) => text.replace(/\\['"`^~=.]\{?\\?(\w)\}?/g, "$1").replace(/[{}]/g, "").replace(/\s+/g, " ").trim();
const field = (entry, name) => {
  const found = entry.match(new RegExp(`\\b${name}\\s*=\\s*(?:\\{((?:[^{}]|\\{(?:[^{}]|\\{[^{}]*\\})*\\})*)\\}|"([^"]*)"|(\\d+))`, "i"));
  return found ? plain(found[1] ?? found[2] ?? found[3]) : "";
};
const references = async () => {
  const found = new Map();
  const text = await read("book/references.bib");
  for (const entry of text.split(/^@/m).slice(1)) {
    const key = entry.match(/^\w+\{\s*([^,\s]+)/)?.[1];
    if (!key) continue;
    const names = field(entry, "author").split(/ and /).map((name) => (name.includes(",") ? name.split(",")[0] : name.split(" ").at(-1)).trim());
    const who = names.length > 2 ? `${names[0]} et al.` : names.join(" and ");
    found.set(key, { who, year: field(entry, "year"), title: field(entry, "title") });
  }
  return found;
};
const titleOf = async (path) => {
  const text = await read(path);
  if (!path.endsWith(".ipynb")) return text.match(/^# (.+)$/m)?.[1] ?? "";
  try {
    return JSON.parse(text).cells.map((cell) => [cell.source].flat().join("")).join("\n").match(/^# (.+)$/m)?.[1] ?? "";
  } catch {
    return "";
  }
};

const cite = (known, keys, isTextual) => {
  const parts = keys.map((key) => {
    const one = known.get(key);
    if (!one) return key;
    return isTextual ? `${one.who} (${one.year})` : `${one.who}, ${one.year}`;
  });
  return isTextual ? parts.join("; ") : `(${parts.join("; ")})`;
};
const cited = new WeakMap(); // of each notebook: Lab takes cells out of the page that are not in view
const fill = async (list, keys) => {
  const known = await references();
  const items = [...keys].filter((key) => known.has(key)).map((key) => {
    const { who, year, title } = known.get(key);
    return `${who} (${year}). ${title}.`;
  });
  if (list.dataset.count === String(items.length)) return;
  list.dataset.count = items.length;
  list.replaceChildren(...items.sort().map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
};
const mend = async (root, app) => {
  const panel = root.closest(".jp-NotebookPanel") ?? document.body;
  if (!cited.has(panel)) cited.set(panel, new Set());
  for (const code of root.querySelectorAll("code")) {
    const before = code.previousSibling;
    const role = before?.nodeType === Node.TEXT_NODE && before.data.match(/\{(footcite:[tp]|ref|doc)\}$/);
    if (!role) continue;
    const shown = document.createElement("span");
    const content = code.textContent;
    before.data = before.data.slice(0, -role[0].length);
    if (role[1].startsWith("footcite")) {
      const keys = content.split(",").map((key) => key.trim());
      shown.className = "aa-cited";
      for (const key of keys) cited.get(panel).add(key);
      shown.textContent = cite(await references(), keys, role[1].endsWith("t"));
    } else {
      shown.textContent = content.replace(/\s*<[^>]*>$/, "").replace(/[-_]/g, " ");
    }
    code.replaceWith(shown);
  }
  for (const link of root.querySelectorAll("a:not([data-aa-page])")) {
    const name = decodeURIComponent(link.getAttribute("href") ?? "").match(/([\w-]+)\.(md|ipynb)(?:[?#]|$)/);
    if (!name) continue;
    const path = name[2] === "md" ? `book/${name[1]}.md` : `notebooks/${name[1]}.ipynb`;
    link.dataset.aaPage = path;
    if (!link.textContent.trim()) link.textContent = (await titleOf(path)) || name[1].replace(/_/g, " ");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      event.stopPropagation();
      const factory = name[2] === "md" ? "Markdown Preview" : undefined;
      app.commands.execute("docmanager:open", { path, factory });
    }, true);
  }
  for (const list of root.querySelectorAll("pre")) {
    if (!/footbibliography/.test(list.innerHTML + list.className)) continue;
    const made = document.createElement("ul");
    made.className = "aa-references";
    list.replaceWith(made);
  }
  for (const list of panel.querySelectorAll(".aa-references")) await fill(list, cited.get(panel));
};

const plugin = {
  id: `${NAME}:plugin`,
  autoStart: true,
  activate: (app) => {
    let isWaiting = false;
    const look = () => {
      isWaiting = false;
      for (const root of document.querySelectorAll(".jp-RenderedMarkdown")) mend(root, app).catch((error) => console.warn(NAME, error));
    };
    new MutationObserver(() => {
      if (isWaiting) return;
      isWaiting = true;
      setTimeout(look, 150);
    }).observe(document.body, { childList: true, subtree: true });
  },
};
window._JUPYTERLAB = window._JUPYTERLAB || {};
window._JUPYTERLAB[NAME] = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
})();
