// Follows Airflow's UI. Alone, by its choice of light or dark in the local storage of the same origin; in its frame, by the
// colours that it shows.
"use strict";

(() => {
  const root = document.documentElement;
  // Our colours, and the tokens of Airflow's UI, which an administrator may have changed.
  const TOKENS = { ground: "bg", text: "fg", soft: "fg-muted", line: "border-emphasized", link: "fg-info" };
  const framed = window.parent !== window;

  const readTheme = () => {
    const shown = framed && ["light", "dark"].find((theme) => window.parent.document.documentElement.classList.contains(theme));
    return shown || localStorage.getItem("theme");
  };

  const follow = () => {
    const theme = readTheme();
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    if (!framed) return;
    const style = getComputedStyle(window.parent.document.documentElement);
    for (const [ours, token] of Object.entries(TOKENS)) {
      const colour = style.getPropertyValue(`--chakra-colors-${token}`).trim();
      if (colour) root.style.setProperty(`--${ours}`, colour);
    }
  };
  follow();
  // Fires when another document, such as the parent of this frame, changes the storage.
  addEventListener("storage", (event) => event.key === "theme" && follow());
  if (framed) {
    new MutationObserver(follow).observe(window.parent.document.documentElement, { attributeFilter: ["class"] });
    // The tab of this very run: Airflow's header above it has its name, and the grid beside it its tasks.
    const query = new URLSearchParams(location.search);
    const at = `/dags/${query.get("dag_id")}/runs/${query.get("run_id")}`;
    const path = decodeURIComponent(window.parent.location.pathname);
    if (path.endsWith(at) || path.includes(`${at}/`)) root.dataset.tab = "yes";
  }
})();
