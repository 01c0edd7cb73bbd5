// Light or dark as Airflow's own choice, which its UI keeps in the storage that a page of the same origin shares.
"use strict";

(() => {
  const follow = () => {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  // Told when another document, such as the frame around this one, stores something.
  addEventListener("storage", (event) => {
    if (event.key !== "theme") return;
    follow();
    window.batchInference?.draw(document);
  });
})();
