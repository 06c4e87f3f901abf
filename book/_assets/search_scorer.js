// Order of search results: chapters and foundations, then the pages about them, and the reference of the library last.
var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    if (/^book\/api\/|^genindex|^py-modindex/.test(docname)) return score - 40;
    if (/^book\/contributing\//.test(docname)) return score - 20;
    return /^book\/(chapters|glossary)/.test(docname) ? score + 20 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
