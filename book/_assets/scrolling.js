// What is wider than its place fades at an edge behind which more is, and can be focused: whoever has no mouse scrolls with keys.
// A table to sort says by itself what it hides.
(() => {
  const places = document.querySelectorAll(".bd-content :is(.aa-scroll, .aa-table:not(.aa-sortable *), .cell_output table, table.dataframe, pre, div.math, .pst-scrollable-table-container)");
  const show = (place) => {
    const hidden = place.scrollWidth - place.clientWidth;
    place.tabIndex = hidden > 1 ? 0 : -1;
    place.classList.toggle("aa-more-before", hidden > 1 && place.scrollLeft > 1);
    place.classList.toggle("aa-more-behind", hidden > 1 && place.scrollLeft < hidden - 1);
  };
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => show(target)));
  for (const place of places) {
    watch.observe(place);
    place.addEventListener("scroll", () => show(place), { passive: true });
  }
})();
