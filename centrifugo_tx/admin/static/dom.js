// Elements out of plain values.  Text is only ever set as text, never as HTML.

/** Return an element; attributes that are functions listen, `null` ones are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child);
  }
}

/** Return an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Replace all children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

let notices = 0;

/** Show a message for a few seconds; screen readers read it out. */
export function notice(text, kind = "good") {
  const box = document.getElementById("notices");
  const shown = h("div", { class: `notice ${kind}`, id: `notice-${++notices}` }, text);
  box.append(shown);
  while (box.childElementCount > 3) box.firstElementChild.remove();
  setTimeout(() => shown.remove(), 5000);
}

/** Return a table that scrolls sideways where it is too wide. */
export function table(label, columns, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, columns.map(([name, kind]) =>
        h("th", { scope: "col", class: kind || null }, name)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) =>
        h("td", { class: columns[index][1] || null }, cell)))))));
}

/** Return what is shown where there is nothing. */
export function empty(title, text, ...more) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, text), more);
}

/** Return what is shown where something failed. */
export function failed(error, again) {
  return h("div", { class: "empty bad", role: "alert" },
    h("strong", {}, error.title || "That did not work"), h("p", {}, error.message),
    again ? h("button", { type: "button", onclick: again }, "Try again") : null);
}

/** Return grey bars in the shape of what is being loaded. */
export function skeleton(lines = 4) {
  return h("div", { class: "skeleton", "aria-busy": "true", "aria-label": "Loading" },
    Array.from({ length: lines }, () => h("div", {})));
}

/** Return a button that copies a text. */
export function copyButton(text) {
  const button = h("button", { type: "button", class: "quiet small" }, "Copy");
  button.addEventListener("click", async () => {
    const value = typeof text === "function" ? text() : text;
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      const area = h("textarea", { class: "aside", value });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}
