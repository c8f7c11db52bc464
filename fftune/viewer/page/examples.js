"use strict";
const HOLDS = 0, FOOLED = 1, STAYS = 2, CONCEALED = 3, UNTRIED = 4;
const VERDICTS = ["right, and stays so", "fooled", "wrong, and stays so", "concealed", "not attacked"];
const KINDS = ["holds", "fooled", "", "concealed", ""];

// What came of each image of a net: a verdict, and the attacks that broke it.
function judge(net, view) {
  const counting = view.attacks.map((attack, at) => [attack, at]).filter(([attack]) => attack.counts);
  return net.ids.map((_, row) => {
    const clean = view.clean[row], label = net.y[row];
    if (clean === null) return { verdict: UNTRIED, breakers: [] };
    const right = clean === label, breakers = [];
    for (const [attack, at] of counting) {
      const pred = attack.pred[row];
      if (pred !== null && (pred === label) !== right) breakers.push(at);
    }
    const verdict = right ? (breakers.length ? FOOLED : HOLDS) : (breakers.length ? CONCEALED : STAYS);
    return { verdict, breakers };
  });
}

function attackName(attack) {
  return attack.goal === "targeted" ? attack.name : `${attack.name} (${attack.goal})`;
}

// The table of a net's images, its filters, and the picked image.
class Examples {
  constructor() {
    this.inputs = Object.fromEntries(["find", "verdict", "label", "breaker", "pictured"].map((id) => [id, document.getElementById(id)]));
    for (const input of Object.values(this.inputs)) input.addEventListener("input", () => this.filter());
    this.inputs.verdict.replaceChildren(element("option", { value: "" }, "anything"),
      ...VERDICTS.map((name, at) => element("option", { value: at }, name)));
  }

  show(net, view) {
    Object.assign(this, { net, view, judged: judge(net, view) });
    const { names } = net, { attacks } = view, judged = this.judged;
    this.broken = judged.map(({ breakers }) => breakers.map((at) => attackName(attacks[at])).join(", "));
    const after = (row) => judged[row].breakers.length ? attacks[judged[row].breakers[0]].pred[row] : null;
    const named = (label) => label === null ? "" : names[label] ?? `class ${label}`;
    this.texts = net.ids.map((id, row) => `${id} ${named(net.y[row])} ${named(view.clean[row])} ${this.broken[row]}`.toLowerCase());
    const counting = attacks.filter((attack) => attack.counts);
    this.inputs.label.replaceChildren(element("option", { value: "" }, "any"),
      ...[...new Set(net.y)].sort((a, b) => a - b).map((label) => element("option", { value: label }, named(label))));
    this.inputs.breaker.replaceChildren(element("option", { value: "" }, "any or none"),
      ...counting.map((attack) => element("option", { value: attacks.indexOf(attack) }, attackName(attack))));
    const some = Object.keys(net.pictures).length;
    document.getElementById("pictured-label").hidden = !some;
    this.inputs.pictured.checked = this.inputs.pictured.checked && some > 0;
    const pictured = (row) => String(net.ids[row]) in net.pictures;
    this.table = new Table(document.getElementById("examples"), {
      label: "images", count: net.ids.length, pick: (row) => this.open(row),
      columns: [
        { name: "id", value: (row) => net.ids[row] },
        { name: "class", left: true, value: (row) => net.y[row], text: (row) => named(net.y[row]) },
        { name: "says", left: true, value: (row) => view.clean[row], text: (row) => named(view.clean[row]) },
        { name: "what came of it", left: true, value: (row) => judged[row].verdict,
          text: (row) => VERDICTS[judged[row].verdict], kind: (row) => KINDS[judged[row].verdict] },
        { name: "says then", left: true, value: after, text: (row) => named(after(row)) },
        { name: "broken by", value: (row) => judged[row].breakers.length, left: true,
          text: (row) => this.broken[row] || "nobody" },
        ...(some ? [{ name: "pictures", left: true, value: (row) => pictured(row) ? 0 : 1, text: (row) => pictured(row) ? "yes" : "" }] : []),
      ],
    });
    document.getElementById("example").replaceChildren(element("p", {}, "Pick an image in the table."));
    this.filter();
    if (some) {
      const rows = this.table.all.filter(pictured);
      const telling = [CONCEALED, FOOLED, STAYS].map((kind) => rows.find((row) => judged[row].verdict === kind));
      this.table.choose(telling.find((row) => row !== undefined) ?? rows[0]);
    }
  }

  filter() {
    if (!this.table) return;
    const { find, verdict, label, breaker, pictured } = this.inputs;
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { net, judged, texts } = this;
    this.table.filter((row) =>
      (verdict.value === "" || judged[row].verdict === +verdict.value)
      && (label.value === "" || net.y[row] === +label.value)
      && (breaker.value === "" || judged[row].breakers.includes(+breaker.value))
      && (!pictured.checked || String(net.ids[row]) in net.pictures)
      && words.every((word) => texts[row].includes(word)));
    const n = this.table.shown.length.toLocaleString("en");
    document.getElementById("count").textContent = `${n} of ${net.ids.length.toLocaleString("en")} images of the ${net.split} split`;
  }

  open(row) {
    const { net } = this, id = net.ids[row];
    const named = (label) => label === null || label === undefined ? "–" : net.names[label] ?? `class ${label}`;
    const answers = net.views.map((view) => element("p", {}, `${view.title}: says `, element("b", {}, named(view.clean[row])),
      " of the clean image"));
    const pictures = (net.pictures[String(id)] || []).map((picture) => this.strip(picture, named));
    document.getElementById("example").replaceChildren(
      element("h3", {}, `Image ${id}: ${named(net.y[row])}`), ...answers, ...pictures,
      pictures.length ? "" : element("p", { class: "soft" }, "There are no pictures of this image: --images brings them."),
      this.attacks(row, named));
  }

  strip(picture, named) {
    const figure = (file, caption) => element("figure", {}, element("img", { src: file, alt: caption }),
      element("figcaption", {}, caption));
    const behind = this.net.views.slice(1).map((view) => {
      const found = view.attacks.find((attack) => attack.name === picture.attack && attack.goal === picture.goal);
      const row = this.net.ids.indexOf(this.table.picked === null ? -1 : this.net.ids[this.table.picked]);
      return found && found.pred[row] !== null ? `; ${view.title}: ${named(found.pred[row])}` : "";
    });
    return element("div", {}, element("p", {}, element("b", {}, `${picture.attack}, ${picture.goal}`)),
      element("div", { class: "strip" },
        figure(picture.clean, "clean"),
        figure(picture.perturbed, `perturbed: the net says ${named(picture.pred)}${behind.join("")}`),
        figure(picture.difference, picture.most ? `difference, ${picture.times.toFixed(1)} times, about grey; at most ${(255 * picture.most).toFixed(1)}/255` : "no difference")));
  }

  attacks(row, named) {
    const { net } = this, label = net.y[row];
    const keys = new Map();
    net.views.forEach((view) => view.attacks.forEach((attack) => keys.set(attackName(attack), attack)));
    const cell = (view, name) => {
      const attack = view.attacks.find((one) => attackName(one) === name);
      const pred = attack ? attack.pred[row] : null;
      if (pred === null || view.clean[row] === null) return element("td", { class: "text" }, "–");
      const right = view.clean[row] === label;
      const broke = (pred === label) !== right;
      const won = attack.won[row];
      const draws = view.draws > 1 && won !== null ? `, wins in ${won} of ${view.draws} draws` : "";
      return element("td", { class: `text ${broke ? KINDS[right ? FOOLED : CONCEALED] : ""}` }, named(pred) + draws);
    };
    return element("div", { class: "scroll short", tabindex: 0, role: "group", "aria-label": "attacks on this image" }, element("table", {},
      element("thead", {}, element("tr", {}, ["attack", ...net.views.map((view) => view.title)].map((name) =>
        element("th", { scope: "col", class: "text", style: "padding:0 .7rem" }, name)))),
      element("tbody", {}, [...keys.keys()].map((name) => element("tr", {}, element("th", { scope: "row", class: "text" }, name),
        net.views.map((view) => cell(view, name)))))));
  }
}
