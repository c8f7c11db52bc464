"use strict";
// Data files fill this: `page` of the whole view, and `nets` by number, when they are asked for.
window.FFTUNE = { page: null, nets: {} };

// An element; attributes that are functions are listeners, children that are texts stay texts.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const ROW = 32;      // pixels of a row, as in viewer.css
const SHORT = 60;    // up to so many rows a table is drawn whole
const COLLATOR = new Intl.Collator("en", { numeric: true });

// A table that sorts and filters row numbers, and draws only the rows in sight.
class Table {
  // columns: {name, value(row), text(row), kind(row), left}; `value` sorts, null comes last.
  constructor(place, { columns, count, pick = null, label, sorted = null }) {
    Object.assign(this, { columns, count, pick, label });
    this.all = Array.from({ length: count }, (_, row) => row);
    this.shown = this.all;
    this.keep = null;
    this.sorting = null;
    this.picked = null;
    this.first = -1;
    this.body = element("tbody");
    this.heads = columns.map((column, at) =>
      element("th", { scope: "col", class: column.left ? "text" : null, "aria-sort": "none" },
        element("button", { type: "button", click: () => this.turn(at) }, column.name)));
    this.table = element("table", { "aria-label": label, "aria-rowcount": count + 1 },
      element("thead", {}, element("tr", {}, this.heads)), this.body);
    this.scroller = element("div", {
      class: count > SHORT ? "scroll" : "scroll short", tabindex: 0, role: "group",
      "aria-label": label, scroll: () => this.draw(), keydown: (event) => this.key(event),
    }, this.table);
    place.replaceChildren(this.scroller);
    if (sorted) this.sort(...sorted);
    else this.draw();
  }

  turn(at) {
    const down = this.sorting && this.sorting[0] === at ? !this.sorting[1] : false;
    this.sort(at, down);
  }

  sort(at, down) {
    const { value } = this.columns[at];
    const keys = Array.from({ length: this.count }, (_, row) => value(row));
    const sign = down ? -1 : 1;
    const texts = keys.some((key) => typeof key === "string");
    const compare = texts
      ? (a, b) => sign * COLLATOR.compare(keys[a] ?? "", keys[b] ?? "") || a - b
      : (a, b) => {
        const x = keys[a], y = keys[b];
        if (x === y) return a - b;
        if (x === null) return 1;
        if (y === null) return -1;
        return sign * (x - y);
      };
    this.all.sort(compare);
    this.sorting = [at, down];
    this.heads.forEach((head, column) => {
      const here = column === at;
      head.setAttribute("aria-sort", here ? (down ? "descending" : "ascending") : "none");
      head.firstChild.textContent = this.columns[column].name + (here ? (down ? " ▼" : " ▲") : "");
    });
    this.filter(this.keep);
  }

  // Show the rows for which `keep(row)` holds, in the order of the table.
  filter(keep) {
    this.keep = keep;
    this.shown = keep ? this.all.filter(keep) : this.all;
    this.table.setAttribute("aria-rowcount", this.shown.length + 1);
    this.scroller.scrollTop = 0;
    this.first = -1;
    this.draw();
  }

  draw() {
    const whole = this.count <= SHORT;
    const room = Math.ceil((this.scroller.clientHeight || 450) / ROW) + 12;
    const top = whole ? 0 : Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - 6);
    const first = Math.min(top, Math.max(0, this.shown.length - room));
    if (first === this.first) return;
    this.first = first;
    const last = whole ? this.shown.length : Math.min(this.shown.length, first + room);
    const gap = (rows) => rows > 0 ? [element("tr", { class: "gap", "aria-hidden": "true" },
      element("td", { colspan: this.columns.length, style: `height:${rows * ROW}px` }))] : [];
    const rows = this.shown.slice(first, last).map((row, at) => this.row(row, first + at));
    this.body.replaceChildren(...gap(first), ...rows, ...gap(this.shown.length - last));
  }

  row(row, at) {
    const cells = this.columns.map((column, place) => {
      const kinds = [column.left ? "text" : "", column.kind ? column.kind(row) : ""].join(" ").trim();
      const text = column.text ? column.text(row) : String(column.value(row) ?? "");
      const attributes = { class: kinds || null, title: text.length > 24 ? text : null };
      return place ? element("td", attributes, text)
        : element("th", { ...attributes, scope: "row" }, text);
    });
    return element("tr", {
      "data-row": this.pick ? row : null, "aria-rowindex": at + 2,
      class: row === this.picked ? "picked" : null,
      click: this.pick ? () => this.choose(row) : null,
    }, cells);
  }

  choose(row, tell = true) {
    this.picked = row;
    this.first = -1;
    this.draw();
    if (tell && this.pick) this.pick(row);
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (!this.pick || !(event.key in steps) || event.target !== this.scroller) return;
    event.preventDefault();
    const at = this.shown.indexOf(this.picked);
    const next = Math.min(this.shown.length - 1, Math.max(0, at + steps[event.key]));
    if (next < 0 || !this.shown.length) return;
    const top = next * ROW;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    const low = top + 2 * ROW - this.scroller.clientHeight;
    if (low > this.scroller.scrollTop) this.scroller.scrollTop = low;
    this.choose(this.shown[next]);
  }
}
