// The connections of all nodes, a page at a time.

import { empty, fill, h, table } from "./dom.js";
import { number, plural, span } from "./format.js";
import { pages } from "./paging.js";
import { ask } from "./server.js";

const SIZE = 50;

export const connectionLink = (id) => h("a", { href: `#/connection/${encodeURIComponent(id)}`, class: "mono" }, id);
export const userText = (user) => user ? h("span", { class: "mono" }, user) : h("span", { class: "faint" }, "anonymous");

export function connectionsPage(main, _, query) {
  const user = h("input", { type: "search", id: "user", placeholder: "42", autocomplete: "off", value: query.get("user") ?? "" });
  const client = h("input", { type: "search", id: "client", placeholder: "0b1c…", autocomplete: "off" });
  const box = h("section", { class: "card", "aria-label": "Connections" });
  fill(main, h("h1", {}, "Connections"),
    h("div", { class: "tools" },
      h("div", { class: "field grow" }, h("label", { for: "user" }, "User"), user),
      h("div", { class: "field grow" }, h("label", { for: "client" }, "Connection id begins with"), client)),
    box);
  const list = pages(box, {
    load: (after) => ask("connections", { user: user.value.trim(), client: client.value.trim(), after, limit: SIZE }),
    last: (page) => page.connections.at(-1).client,
    summary: (page, index) => page.connections.length ? `Page ${number(index)} · ${plural(page.matched, "connection")}` : "",
    draw: (page) => page.connections.length
      ? table("Connections", [["User"], ["Connection"], ["Transport"], ["Node"], ["Connected for"], ["Subscriptions", "num"]],
        page.connections.map((each) => [userText(each.user), connectionLink(each.client), each.transport,
          each.node, span(Date.now() / 1000 - each.since), number(each.num_subs)]))
      : user.value || client.value
        ? empty("No connection matches", "The user must match in full, the connection id from its beginning.")
        : empty("Nobody is connected", "Connections appear here as soon as clients connect."),
  });
  user.addEventListener("input", list.restartSoon);
  client.addEventListener("input", list.restartSoon);
  list.restart();
  return () => {};
}
