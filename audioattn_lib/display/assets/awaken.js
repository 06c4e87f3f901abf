// Start pictures and players when their elements are complete: in a page that is still being parsed, and in an output
// that a notebook attaches after its script has run. Stands before every script that needs it.
//   name      window[name].wake(within) starts what waits, in the page or within an element
//   waiting   class of elements that wait; it is taken away at the start
//   isWhole   whether an element is there to its last part
//   version   hash of the script: a page that outlives an upgrade, as JupyterLab does, gets the new one, and the old one ends
window.audioattnAwaken = (name, waiting, isWhole, start, version) => {
  window[name]?.end?.();
  const roots = document.getElementsByClassName(waiting);
  const wake = (within = document) => {
    for (const root of [...within.getElementsByClassName(waiting)]) {
      if (!isWhole(root)) continue;
      root.classList.remove(waiting);
      try {
        start(root);
      } catch (error) { // what waits behind it starts all the same
        reportError(error);
      }
    }
  };
  const watcher = new MutationObserver(() => { if (roots.length) wake(); });
  window[name] = { wake, version, end: () => watcher.disconnect() };
  wake();
  document.addEventListener("DOMContentLoaded", () => wake());
  watcher.observe(document.documentElement, { childList: true, subtree: true });
};
