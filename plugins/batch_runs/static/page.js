// Shows times as Airflow does, refreshes the page of an active run, and opens links that leave the frame.
"use strict";

(() => {
  const PAUSE = 3000;

  // Airflow's UI keeps the time zone that the person chose as JSON; without a choice it takes the browser's.
  function readTimeZone() {
    try {
      const zone = JSON.parse(localStorage.getItem("timezone"));
      return new Intl.DateTimeFormat("sv-SE", { timeZone: zone || undefined }).resolvedOptions().timeZone;
    } catch {
      return "UTC";
    }
  }

  function showTimes(within) {
    const timeZone = readTimeZone();
    // Swedish dates are written as Airflow writes them: 2026-01-31 07:30:00.
    const format = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "medium" });
    for (const time of within.querySelectorAll("time[datetime]")) {
      time.dataset.utc ??= time.textContent;
      time.textContent = format.format(new Date(time.dateTime));
      time.title = timeZone === "UTC" ? "UTC" : `${timeZone}; ${time.dataset.utc}`;
    }
  }
  showTimes(document);
  addEventListener("storage", (event) => event.key === "timezone" && showTimes(document));

  const body = document.getElementById("body");
  let shown = "";

  // What can be unfolded, by its summary and, where several have the same, its number among them.
  function nameDetails() {
    const numbers = new Map();
    return [...body.querySelectorAll("details > summary")].map((summary) => {
      const number = numbers.get(summary.textContent) ?? 0;
      numbers.set(summary.textContent, number + 1);
      return [`${summary.textContent} ${number}`, summary.parentElement];
    });
  }

  function replace(text) {
    if (text === shown) return;
    shown = text;
    const fresh = new DOMParser().parseFromString(text, "text/html").body;
    const before = body.querySelector("[data-state]").dataset.state;
    // What a person has opened, and where they are, stays.
    const opened = new Map(nameDetails().map(([name, details]) => [name, details.open]));
    const focused = document.activeElement?.closest("#body a, #body summary")?.textContent;
    body.replaceChildren(...fresh.childNodes);
    for (const [name, details] of nameDetails()) {
      // What was not there before is opened or folded as it comes.
      details.open = opened.get(name) ?? details.open;
    }
    if (focused) [...body.querySelectorAll("a, summary")].find((each) => each.textContent === focused)?.focus();
    const now = body.querySelector("[data-state]").dataset.state;
    if (now !== before) document.getElementById("said").textContent = `The run is now ${now}.`;
    showTimes(body);
  }

  async function follow() {
    const address = new URL(location.href);
    address.searchParams.set("body_only", "true");
    while (body.querySelector("[data-live]").dataset.live === "yes") {
      // A page that is not complete asks at once: the answer comes when it is.
      if (!body.querySelector("[data-loading]")) await new Promise((resolve) => setTimeout(resolve, PAUSE));
      if (document.hidden && !body.querySelector("[data-loading]")) continue;
      const answer = await fetch(address, { credentials: "same-origin" }).catch(() => null);
      if (answer === null || answer.status >= 500) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        continue;
      }
      // Logged out, or the run is gone: the reloaded page says so.
      if (answer.status >= 400 && answer.status < 500) return location.reload();
      if (answer.ok) replace(await answer.text());
    }
  }

  // Airflow's frame may not open windows or navigate its parent; a link in the parent document may.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-outside]");
    if (!link || window.parent === window) return;
    event.preventDefault();
    const outer = window.parent.document.createElement("a");
    outer.href = link.href;
    if (link.origin !== location.origin) {
      outer.target = "_blank";
      outer.rel = "noopener noreferrer";
    }
    outer.click();
  });

  if (body) follow();
})();
