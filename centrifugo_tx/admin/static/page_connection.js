// One connection: who it is, how it came, what it is subscribed to.

import { empty, failed, fill, h, notice, skeleton, table } from "./dom.js";
import { moment, plural, span } from "./format.js";
import { channelLink } from "./page_channels.js";
import { userText } from "./page_connections.js";
import { api, ask } from "./server.js";
import { json } from "./values.js";

const NAMES = { json: "JSON", protobuf: "Protobuf" };

export function connectionPage(main, id) {
  const box = h("div", {}, skeleton(8));
  fill(main, h("p", { class: "crumbs" }, h("a", { href: "#/connections" }, "Connections")),
    h("h1", { class: "mono wrap" }, id), box);

  async function disconnect(found) {
    if (!confirm(`Disconnect ${found.user ? `user ${found.user}` : "this anonymous connection"}?`)) return;
    try {
      await api("disconnect", { user: found.user, client: id });
      notice("Disconnected");
      setTimeout(load, 300);
    } catch (error) {
      notice(error.message, "bad");
    }
  }

  const pair = (name, ...value) => h("div", { class: "pair" }, h("dt", {}, name), h("dd", {}, ...value));

  async function load() {
    let found;
    try {
      found = await ask("connection", { client: id });
    } catch (error) {
      fill(box, failed(error, load));
      return;
    }
    if (!found) {
      fill(box, h("section", { class: "card" }, empty("Not connected", "No node has a connection with this id. It may have gone.",
        h("a", { class: "button", href: "#/connections" }, "All connections"))));
      return;
    }
    const now = Date.now() / 1000;
    fill(box,
      h("section", { class: "card", "aria-label": "Details" },
        h("dl", { class: "pairs" },
          pair("User", userText(found.user), found.user ? h("a", { class: "aside-link", href: `#/connections?user=${encodeURIComponent(found.user)}` }, "all connections") : ""),
          pair("Connected", `${span(now - found.since)} ago`, h("small", {}, moment(found.since))),
          pair("Transport", found.transport, h("small", {}, `${NAMES[found.protocol] ?? found.protocol}, protocol v${found.protocol_version}${found.unidirectional ? ", unidirectional" : ""}`)),
          pair("Client library", found.library || "not named", found.library_version ? h("small", {}, found.library_version) : ""),
          pair("Address", found.address ? h("span", { class: "mono" }, found.address) : "unknown"),
          pair("Node", found.node),
          pair("Expires", found.expire_at ? `in ${span(found.expire_at - now)}` : "never", found.expire_at ? h("small", {}, moment(found.expire_at)) : ""),
          pair("Info", json(found.info))),
        h("div", { class: "buttons" },
          h("button", { type: "button", class: "quiet", onclick: load }, "Refresh"),
          h("button", { type: "button", class: "danger", onclick: () => disconnect(found) }, "Disconnect…"))),
      h("section", { class: "card", "aria-label": "Subscriptions" },
        h("h2", {}, plural(found.num_subs, "subscription")),
        found.subscriptions.length
          ? table("Subscriptions", [["Channel"], ["Properties"], ["Expires"]], found.subscriptions.map((each) => [
            channelLink(each.channel),
            h("span", { class: "chips" }, [["server_side", "server-side"], ["recoverable", "recoverable"], ["positioned", "positioned"], ["presence", "presence"]]
              .filter(([name]) => each[name]).map(([, text]) => h("em", { class: "chip" }, text))),
            each.expire_at ? `in ${span(each.expire_at - now)}` : "never"]))
          : empty("No subscriptions", "This connection is in no channel."),
        found.num_subs > found.subscriptions.length ? h("p", { class: "hint" }, `The first ${found.subscriptions.length} are shown.`) : null));
  }
  load();
  return () => {};
}
