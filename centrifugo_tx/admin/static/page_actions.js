// The server API as forms.

import { copyButton, fill, h } from "./dom.js";
import { GROUPS } from "./methods.js";
import { call } from "./server.js";
import { flaw } from "./values.js";

const METHODS = GROUPS.flatMap(([, methods]) => methods);
const EXAMPLES = { data: '{"text": "Hello"}' };
const DANGEROUS = new Set(["disconnect", "history_remove", "map_clear", "map_remove", "unsubscribe"]);

/** Return a text as one word of a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function actionsPage(main, method) {
  const [name, about, fields] = METHODS.find(([each]) => each === method) ?? METHODS[0];
  const menu = h("nav", { class: "menu", "aria-label": "Methods" }, GROUPS.map(([title, methods]) => [
    h("h3", {}, title),
    h("ul", {}, methods.map(([each]) => h("li", {}, h("a", { href: `#/actions/${each}`, "aria-current": each === name ? "page" : null }, each)))),
  ]));
  const select = h("select", { id: "method", onchange: () => { location.hash = `#/actions/${select.value}`; } },
    GROUPS.map(([title, methods]) => h("optgroup", { label: title }, methods.map(([each]) =>
      h("option", { value: each, selected: each === name }, each)))));
  const inputs = fields.map((field) => input(field));
  const send = h("button", { class: DANGEROUS.has(name) ? "danger" : null }, "Send");
  const request = h("pre", { class: "code", id: "request" });
  const curl = h("pre", { class: "code", id: "curl" });
  const answer = h("div", { class: "answer", role: "status" });

  fill(main, h("h1", {}, "Actions"), h("div", { class: "actions" }, menu,
    h("div", {},
      h("div", { class: "field only-phone" }, h("label", { for: "method" }, "Method"), select),
      h("form", { class: "card", "aria-label": name, onsubmit: run },
        h("h2", { class: "mono" }, name), h("p", { class: "hint" }, about),
        inputs.filter((each) => each.first).map((each) => each.element),
        more(inputs.filter((each) => !each.first)),
        h("div", { class: "buttons" }, send)),
      h("section", { class: "card", "aria-label": "Answer" }, h("h2", {}, "Answer"), answer),
      h("section", { class: "card", "aria-label": "Request" },
        h("div", { class: "head" }, h("h2", {}, "As a command"), copyButton(() => curl.textContent)), curl,
        h("p", { class: "hint" }, "Put in an API key; the address is right if the API is served where this page is.")))));
  fill(answer, h("p", { class: "faint" }, "Nothing sent yet."));

  function more(rest) {
    if (!rest.length) return null;
    return h("details", { class: "more" }, h("summary", {}, "More fields"), rest.map((each) => each.element));
  }

  function update() {
    const parts = [];
    let right = true;
    for (const each of inputs) {
      const [text, wrong] = each.read();
      each.complain(wrong);
      right &&= !wrong;
      if (text !== "") parts.push(`${JSON.stringify(each.name)}:${text}`);
    }
    const body = `{${parts.join(",")}}`;
    request.textContent = body;
    curl.textContent = `curl -X POST ${location.origin}/api/${name} \\\n  -H 'X-API-Key: API_KEY' \\\n  -d ${quoted(body)}`;
    send.disabled = !right;
    return right ? body : null;
  }

  async function run(event) {
    event.preventDefault();
    for (const each of inputs) each.touched = true;
    const body = update();
    if (body === null) return;
    send.disabled = true;
    fill(answer, h("p", { class: "faint" }, "Sending…"));
    const began = performance.now();
    try {
      const text = await call(name, body);
      const took = `${Math.round(performance.now() - began)} ms`;
      const found = JSON.parse(text);
      fill(answer, h("p", {}, h("em", { class: `chip ${found.error ? "bad" : "good"}` }, found.error ? `error ${found.error.code}: ${found.error.message}` : "done"), h("small", {}, ` ${took}`)),
        h("div", { class: "with-copy" }, h("pre", { class: "code" }, JSON.stringify(found.error ? found.error : found.result, null, 2)), copyButton(text)));
    } catch (error) {
      fill(answer, h("p", {}, h("em", { class: "chip bad" }, error.title ?? "Failed")), h("p", {}, error.message));
    }
    send.disabled = false;
  }

  for (const each of inputs) each.control.addEventListener("input", () => { each.touched = true; update(); });
  update();
  return () => {};
}

/** Return one field: its element, and `read`, which returns JSON and what is wrong. */
function input([marked, kind, label]) {
  const name = marked.replace("*", "");
  const required = marked.endsWith("*");
  const id = `field-${name}`;
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, "aria-live": "polite" });
  const common = { id, autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-wrong` };
  let control;
  if (kind === "flag") control = h("input", { ...common, type: "checkbox" });
  else if (kind === "number") control = h("input", { ...common, type: "text", inputmode: "numeric" });
  else if (kind === "text") control = h("input", { ...common, type: "text" });
  else control = h("textarea", { ...common, rows: kind === "json" ? "4" : "2" }, required && EXAMPLES[name] || "");
  const title = h("label", { for: id }, label, required ? h("b", { class: "required", title: "required" }, " *") : null);
  const element = kind === "flag"
    ? h("div", { class: "field check" }, control, title)
    : h("div", { class: "field" }, title, control, wrong);

  function read() {
    if (kind === "flag") return [control.checked ? "true" : "", ""];
    const text = control.value;
    if (!text.trim()) return ["", required ? "This is required." : ""];
    if (kind === "text") return [JSON.stringify(text), ""];
    if (kind === "number") return /^-?\d+$/.test(text.trim()) ? [text.trim(), ""] : ["", "This must be a whole number."];
    if (kind === "list") return [JSON.stringify(text.split("\n").map((each) => each.trim()).filter(Boolean)), ""];
    const found = flaw(text);
    if (found) return ["", found];
    if (kind === "object" && !text.trim().startsWith("{")) return ["", "This must be an object."];
    return [text.trim(), ""];
  }

  const field = { name, element, control, read, touched: false, first: required || ["limit", "user", "pattern"].includes(name) };
  field.complain = (text) => {
    wrong.textContent = field.touched || text !== "This is required." ? text : "";
    control.setAttribute("aria-invalid", String(Boolean(wrong.textContent)));
  };
  return field;
}
