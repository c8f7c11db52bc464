"use strict";
// Colours of the figures on a dark page, by those on a light one.
const ON_DARK = {
  "#0b6e99": "#5cc0ec", "#d9480f": "#ff9b66", "#2b8a3e": "#7bd88f", "#862e9c": "#e0a3f2",
  "#a67c00": "#f2c94c", "#495057": "#ced4da", "#868e96": "#adb5bd",
  "rgba(255, 255, 255, 0.75)": "rgba(20, 23, 26, 0.75)",
};
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Figures of a study, in each of which the picked trial is ringed.
class Charts {
  constructor(place, figures, risks, trials, pick) {
    Object.assign(this, { figures, trials, pick, picked: null });
    this.places = figures.map((_, at) =>
      element("div", { class: "chart", role: "img", "aria-label": `natural risk against ${risks[at]}; the table below has all numbers` }));
    place.replaceChildren(...this.places);
    const script = element("script", { src: "plotly.js", load: () => this.draw() });
    document.head.append(script);
    DARK.addEventListener("change", () => this.draw());
  }

  draw() {
    this.figures.forEach((figure, at) => {
      let text = JSON.stringify(figure);
      if (DARK.matches) for (const [light, dark] of Object.entries(ON_DARK)) text = text.replaceAll(light, dark);
      const { data, layout } = JSON.parse(text);
      if (DARK.matches) for (const trace of data) trace.opacity = Math.max(trace.opacity ?? 1, 0.8);
      data.push({ type: "scatter", mode: "markers", x: [], y: [], name: "picked", hoverinfo: "skip",
        showlegend: false, marker: { size: 20, symbol: "circle-open", color: colour("--text"), line: { width: 3 } } });
      const lines = { gridcolor: colour("--line"), zerolinecolor: colour("--line") };
      Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: colour("--text") }, clickmode: "event",
        modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--text") } });
      for (const axis of ["xaxis", "yaxis"]) Object.assign(layout[axis], lines);
      const narrow = window.innerWidth < 640;
      if (narrow) Object.assign(layout.margin, { l: 55, r: 40 });
      for (const menu of layout.updatemenus || []) Object.assign(menu, { bgcolor: colour("--head"), bordercolor: colour("--soft"), font: { color: colour("--text") },
        showactive: !DARK.matches }); // what is active is nearly white, on any page
      for (const note of layout.annotations || []) if (note.showarrow) Object.assign(note, { arrowcolor: colour("--soft"), font: { color: colour("--text") } });
      Plotly.newPlot(this.places[at], data, layout, { responsive: true, displaylogo: false, showSendToCloud: false,
        modeBarButtonsToRemove: ["select2d", "lasso2d"] });
      this.places[at].on("plotly_click", ({ points }) => {
        const last = (points[0].customdata || []).at(-1);
        if (Number.isInteger(last)) this.pick(last);
      });
    });
    if (this.picked !== null) this.show(this.picked);
  }

  // Ring the trial at this place of the list.
  show(at) {
    this.picked = at;
    if (!window.Plotly) return;
    this.places.forEach((place, figure) => {
      if (!place.data) return;
      const [x, y] = this.trials[at].at[figure];
      Plotly.restyle(place, { x: [[x]], y: [[y]] }, [place.data.length - 1]);
    });
  }
}
