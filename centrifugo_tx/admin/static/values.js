// JSON values as people read them.

import { h } from "./dom.js";

/** Return JSON in one line, cut where it becomes long. */
export function brief(value, most = 160) {
  const text = JSON.stringify(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** Return a value that opens when it is long. */
export function json(value) {
  if (value === undefined || value === null) return h("span", { class: "faint" }, "–");
  const text = JSON.stringify(value);
  if (text.length <= 100) return h("code", {}, text);
  return h("details", {}, h("summary", {}, h("code", {}, brief(value, 100))),
    h("pre", {}, JSON.stringify(value, null, 2)));
}

/** Return what is wrong with a text as JSON, empty if nothing. */
export function flaw(text) {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return error.message;
  }
}
