// Whoever has no mouse scrolls with keys: a picture, table or listing that is wider than its place can be focused.
(() => {
  const places = document.querySelectorAll(".bd-content :is(.aa-scroll, .cell_output table, table.dataframe, pre, .pst-scrollable-table-container)");
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth + 1 ? 0 : -1;
  });
  for (const place of places) watch.observe(place);
})();
