// Small helps for the desk: j and k walk through the files of a diff, v marks one as viewed, Copy buttons copy. Everything works without.
"use strict";

(() => {
  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

  const step = (by) => {
    const files = [...document.querySelectorAll("details.file > summary")];
    if (files.length === 0) return;
    const at = files.indexOf(document.activeElement);
    const next = files[Math.min(files.length - 1, Math.max(0, at + by))];
    next.focus();
    next.scrollIntoView({ block: "start" });
  };

  const copy = async (button) => {
    await navigator.clipboard.writeText(button.dataset.copy);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
    if (event.key === "v") document.activeElement.closest("details.file")?.querySelector("form.seen button")?.click();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
})();
