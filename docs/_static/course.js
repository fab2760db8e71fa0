// What every page needs: a search that works from a folder, and boxes that scroll by the keyboard.
(() => {
  // A page from a folder may not read the others, from which the search takes its extracts.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  const boxes = document.querySelectorAll(".table-box, mjx-container[display], div.math");
  const update = () => {
    for (const box of boxes) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  addEventListener("load", update);
  addEventListener("resize", update);
  document.addEventListener("toggle", update, true);
  update();
})();
