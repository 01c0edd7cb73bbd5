// Draws each plot of the page from the data beside it. Colours are names of the style sheet, read when drawing, so that
// the same data serves light and dark.
"use strict";

window.batchInference = (() => {
  const settings = { displayModeBar: false, responsive: true, displaylogo: false };

  function coloured(value, style) {
    if (typeof value === "string") {
      return value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((each) => coloured(each, style));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, coloured(each, style)]));
    }
    return value;
  }

  function draw(within) {
    const style = getComputedStyle(document.documentElement);
    for (const figure of within.querySelectorAll("figure[data-chart]")) {
      const plot = figure.querySelector(".plot");
      const { data, layout } = coloured(JSON.parse(figure.querySelector("script").textContent), style);
      Plotly.react(plot, data, layout, settings);
      // One that was drawn before may stand in a narrower place now.
      Plotly.Plots.resize(plot);
    }
  }

  return { draw };
})();

document.addEventListener("DOMContentLoaded", () => window.batchInference.draw(document));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.batchInference.draw(document));
