// Whoever has no mouse scrolls with keys: a picture, table or listing that is wider than its place can be focused.
(() => {
  const places = document.querySelectorAll(".bd-content :is(.aa-scroll, .cell_output table, table.dataframe, pre, .pst-scrollable-table-container)");
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth + 1;
      if (scrolls && !target.hasAttribute("tabindex")) target.tabIndex = 0;
      if (!scrolls && target.tabIndex === 0) target.removeAttribute("tabindex");
    }
  });
  for (const place of places) watch.observe(place);
})();
