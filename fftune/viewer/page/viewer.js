"use strict";
const { page } = FFTUNE;
const byId = (id) => document.getElementById(id);
const examples = new Examples();
let shownNet = null, chosenView = -1;

function rate(column) {
  return { value: (row) => column(row)[0], text: (row) => column(row)[1] };
}

// Load the data of a net once; scripts can be read from a disk where fetch cannot.
function withNet(number, then) {
  if (FFTUNE.nets[number]) return then(FFTUNE.nets[number]);
  document.head.append(element("script", { src: `net-${number}.js`, load: () => then(FFTUNE.nets[number]),
    error: () => { byId("count").textContent = `net-${number}.js is missing from this folder`; } }));
}

function showNet(number) {
  shownNet = number;
  byId("net-choice").value = number;
  withNet(number, (net) => {
    if (shownNet !== number) return;
    byId("view").replaceChildren(...net.views.map((view, at) => element("option", { value: at }, view.title)));
    byId("view").selectedIndex = Math.min(chosenView < 0 ? (page.defended ? 1 : 0) : chosenView, net.views.length - 1);
    showView(net);
  });
}

function showView(net) {
  const view = net.views[byId("view").selectedIndex];
  byId("worst").textContent = view.worst.length ? view.worst.join(" ")
    : "No class stands out: there are too few images or attacks.";
  const names = ["natural risk", "adversarial risk", "hypocritical risk"];
  new Table(byId("classes"), {
    label: "risks by class", count: view.classes.length,
    columns: [{ name: "class", left: true, value: (row) => row, text: (row) => view.classes[row][0] },
      ...names.map((name, at) => ({ name, ...rate((row) => view.classes[row][at + 1]) }))
        .filter((column) => view.classes.some((_, row) => column.value(row) !== null))],
  });
  examples.show(net, view);
}

function card(trial) {
  const settings = trial.settings.length ? trial.settings.map(([path, value]) => element("div", {}, `${path} = ${value}`)) : ["none were searched"];
  const rates = element("table", {}, element("thead", {}, element("tr", {}, ["", "test", "validation"].map((name) =>
    element("th", { scope: "col", class: "text", style: "padding:0 .7rem" }, name)))),
  element("tbody", {}, trial.rates.map(([name, ...cells]) => element("tr", {},
    element("th", { scope: "row", class: "text" }, name), cells.map(([, text]) => element("td", { class: "text" }, text))))));
  const commands = trial.commands.map(([what, command]) => element("div", {}, element("div", { class: "soft" }, what),
    element("div", { class: "command" }, element("pre", { tabindex: 0 }, command), copier(command))));
  const state = trial.front ? "on the front" : "dominated: another trial is better in every risk";
  return element("div", { class: "card" }, element("h3", {}, `Trial ${trial.trial}: ${trial.name || "no settings"}; ${state}`),
    element("div", { class: "columns" },
      element("div", {}, element("div", { class: "soft" }, "settings"), settings),
      element("div", { class: "scroll short", tabindex: 0, role: "group", "aria-label": "rates of the trial" }, rates)), commands);
}

function copier(text) {
  const button = element("button", { type: "button", click: () => {
    const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => { button.textContent = "select it"; });
    else button.textContent = "select it";
  } }, "copy");
  return button;
}

function startTradeOffs() {
  const { trials, risks } = page;
  byId("trade-offs").hidden = false;
  const members = trials.map((trial, at) => [trial, at]).filter(([trial]) => trial.front).map(([, at]) => at);
  const slider = byId("pick");
  slider.max = Math.max(0, members.length - 1);
  const pick = (at) => {
    byId("picked").replaceChildren(card(trials[at]));
    if (members.includes(at)) slider.value = members.indexOf(at);
    slider.setAttribute("aria-valuetext", `trial ${trials[at].trial}, ${trials[at].name}`);
    charts.show(at);
    table.choose(at, false);
    if (trials[at].nets.length) showNet(trials[at].nets[0]);
  };
  const paths = [...new Set(trials.flatMap((trial) => trial.settings.map(([path]) => path)))];
  const setting = (at, path) => (trials[at].settings.find(([name]) => name === path) || ["", ""])[1];
  const number = (text) => text !== "" && Number.isFinite(+text) ? +text : null;
  const table = new Table(byId("trials"), {
    label: "all trials", count: trials.length, pick,
    columns: [
      { name: "trial", value: (at) => trials[at].trial },
      ...paths.map((path) => ({ name: path, text: (at) => setting(at, path),
        value: trials.every((_, at) => setting(at, path) === "" || number(setting(at, path)) !== null)
          ? (at) => number(setting(at, path)) : (at) => setting(at, path) })),
      { name: "front", left: true, value: (at) => trials[at].front ? 0 : 1, text: (at) => trials[at].front ? "on it" : "" },
      ...["natural risk", ...risks].map((risk) => ({ name: `${risk}, test`,
        ...rate((at) => trials[at].rates.find(([name]) => name === risk)[1]) })),
    ],
  });
  const charts = new Charts(byId("figures"), page.figures, risks, trials,
    (number) => pick(trials.findIndex((trial) => trial.trial === number)));
  slider.addEventListener("input", () => pick(members[+slider.value]));
  pick(members.length ? members[0] : 0);
}

function start() {
  document.title = `fftune: ${page.title}`;
  byId("title").textContent = page.title;
  byId("sentences").replaceChildren(...page.sentences.map((line) => element("p", { class: "finding" }, line)));
  byId("caveats").replaceChildren(element("ul", {}, [...page.notes, ...page.caveats].map((line) => element("li", {}, line))));
  byId("net-choice").replaceChildren(...page.nets.map((name, at) => element("option", { value: at }, name)));
  byId("net-choice").addEventListener("change", (event) => showNet(+event.target.value));
  byId("net-label").hidden = page.nets.length < 2;
  byId("view").addEventListener("change", (event) => {
    chosenView = event.target.selectedIndex;
    withNet(shownNet, showView);
  });
  byId("net").hidden = !page.nets.length;
  if (page.rates) {
    byId("rates").hidden = false;
    new Table(byId("rates-table"), {
      label: "rates", count: page.rates.length,
      columns: [{ name: "attack", left: true, value: (row) => page.rates[row][1] },
        { name: "defense", left: true, value: (row) => page.rates[row][0] },
        ...["accuracy", "risk", "inflation", "undecided"].map((name, at) => ({ name, ...rate((row) => page.rates[row][at + 2]) }))],
    });
  }
  if (page.trials && page.trials.length) startTradeOffs();
  else if (page.nets.length) showNet(0);
}

start();
