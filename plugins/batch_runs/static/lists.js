// Filters and sorts the list of pipelines without a request, and keeps both in the page's address. Moves between bars.
"use strict";

(() => {
  const table = document.getElementById("pipelines");
  const filters = document.getElementById("filters");

  function readAddress() {
    return new URL(location.href).searchParams;
  }

  function writeAddress(changes) {
    const address = new URL(location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
    }
    history.replaceState(null, "", address);
  }

  function filter() {
    const name = filters.elements.name.value.trim().toLowerCase();
    const team = filters.elements.team ? filters.elements.team.value : "";
    const state = filters.elements.state.value;
    let shown = 0;
    for (const row of table.tBodies) {
      const fits =
        row.dataset.name.toLowerCase().includes(name) &&
        (!team || row.dataset.team === team) &&
        (!state || row.dataset.states.split("|").includes(state));
      row.hidden = !fits;
      if (fits) shown += 1;
    }
    const isFiltered = Boolean(name || team || state);
    document.getElementById("shown").textContent = isFiltered ? `${shown} of ${table.tBodies.length} shown` : "";
    filters.querySelector("button").hidden = !isFiltered;
    for (const word of document.querySelectorAll("a[data-state]")) {
      if (word.dataset.state === state) word.setAttribute("aria-current", "true");
      else word.removeAttribute("aria-current");
    }
    writeAddress({ name, team, state });
  }

  // The value of a row by which a column is sorted: what needs a look first for the state, no value always last.
  function valueOf(row, column) {
    if (column === "name") return row.dataset.name;
    const text = column === "state" ? row.dataset.place : row.dataset[column];
    return text === "" ? null : Number(text);
  }

  function sort(column, descending) {
    const rows = [...table.tBodies].sort((one, other) => {
      const [a, b] = [valueOf(one, column), valueOf(other, column)];
      if (a === null || b === null) return (a === null) - (b === null) || one.dataset.place - other.dataset.place;
      const order = column === "name" ? a.localeCompare(b) : a - b;
      return (descending ? -order : order) || one.dataset.place - other.dataset.place;
    });
    table.append(...rows);
    for (const head of table.querySelectorAll("th[data-sort]")) {
      if (head.dataset.sort === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function chooseOrder(head) {
    const column = head.dataset.sort;
    const isNumber = column !== "name" && column !== "state" && column !== "next";
    const order = head.getAttribute("aria-sort");
    const descending = order ? order === "ascending" : isNumber;
    sort(column, descending);
    writeAddress({ sort: column, order: descending ? "descending" : "ascending" });
  }

  if (table) {
    for (const head of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => chooseOrder(head));
      head.append(button);
    }
    const given = readAddress();
    for (const element of filters.elements) {
      if (element.name && given.get(element.name)) element.value = given.get(element.name);
    }
    const column = [...table.querySelectorAll("th[data-sort]")].find((head) => head.dataset.sort === given.get("sort"));
    if (column) sort(column.dataset.sort, given.get("order") === "descending");
    filter();
    filters.addEventListener("input", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(filter));
    for (const word of document.querySelectorAll("a[data-state]")) {
      word.addEventListener("click", (event) => {
        event.preventDefault();
        const chosen = filters.elements.state;
        chosen.value = chosen.value === word.dataset.state ? "" : word.dataset.state;
        filter();
      });
    }
  }

  // One bar of a row is reached with Tab, its neighbours with the arrows.
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const bar = event.target.closest(".bars a");
    if (!step || !bar) return;
    const bars = [...bar.parentElement.querySelectorAll("a")];
    const next = bars[bars.indexOf(bar) + step];
    if (!next) return;
    event.preventDefault();
    bar.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
})();
