// Follows Airflow's light or dark theme, which its UI stores in the local storage of the same origin.
"use strict";

(() => {
  const follow = () => {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  // Fires when another document, such as the parent of this frame, changes the storage.
  addEventListener("storage", (event) => {
    if (event.key !== "theme") return;
    follow();
    window.batchInference?.draw(document);
  });
})();
