// Definitions of glossary terms on hover, focus and first touch. The page carries them (book/_ext/glossary_terms.py).
(() => {
  const source = document.getElementById("aa-terms");
  if (!source) return;
  const definitions = JSON.parse(source.textContent);
  const box = document.createElement("div");
  box.id = "aa-definition";
  box.className = "aa-definition";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let shown = null;
  let waiting = 0;

  const place = (link) => {
    // of a link over two lines the first piece
    const at = link.getClientRects()[0] ?? link.getBoundingClientRect();
    const room = document.documentElement.clientWidth - box.offsetWidth - 8;
    const below = at.bottom + 6 + box.offsetHeight <= window.innerHeight || at.top < box.offsetHeight + 6;
    box.style.left = `${Math.max(8, Math.min(at.left, room)) + window.scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + window.scrollY}px`;
  };
  const hide = () => {
    window.clearTimeout(waiting);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  };
  // the pointer may move into the box, to read on
  const hideSoon = () => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(hide, 200);
  };
  const show = (link, text) => {
    window.clearTimeout(waiting);
    if (shown === link) return;
    hide();
    shown = link;
    box.innerHTML = text;
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    place(link);
    const drawn = window.MathJax?.typesetPromise?.([box]);
    drawn?.then(() => shown === link && place(link));
  };

  for (const inside of document.querySelectorAll("a > .std-term")) {
    const link = inside.parentElement;
    const text = definitions[decodeURIComponent(link.hash.slice(1))];
    if (!text) continue;
    link.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(link, text));
    link.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hideSoon());
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link, text));
    link.addEventListener("blur", hideSoon);
    link.addEventListener("click", (event) => {
      // a finger cannot hover: the first touch shows the definition, the second follows the link
      if (event.pointerType === "touch" && shown !== link) {
        event.preventDefault();
        show(link, text);
      }
    });
  }
  box.addEventListener("pointerenter", () => window.clearTimeout(waiting));
  box.addEventListener("pointerleave", hideSoon);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("pointerdown", (event) => {
    if (shown && !box.contains(event.target) && !shown.contains(event.target)) hide();
  });
})();
