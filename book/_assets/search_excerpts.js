// The search fetches each page that it found, to quote from it. On file:// a browser refuses that, so the text comes from
// search_texts.js wherever it is known.
(() => {
  const fetched = window.fetch;
  window.fetch = (address, ...rest) => {
    const root = document.documentElement.dataset.content_root ?? "";
    const text = window.audioattnTexts?.[String(address).slice(root.length).replace(/\.html$/, "")];
    if (text === undefined) return fetched(address, ...rest);
    const main = document.createElement("div");
    main.setAttribute("role", "main");
    main.textContent = text;
    return Promise.resolve(new Response(main.outerHTML));
  };
})();
