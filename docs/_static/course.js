// Boxes that scroll sideways can be reached by the keyboard; those that hold all that they show are not.
(() => {
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
