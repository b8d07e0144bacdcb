// All nodes, with charts of the last quarter of an hour.

import { chart } from "./charts.js";
import { empty, failed, fill, h, skeleton, table } from "./dom.js";
import { bytes, compact, lag, number, percent, plural, span } from "./format.js";
import * as nodes from "./nodes.js";

const sum = (list, name) => list.reduce((total, node) => total + node[name], 0);

/** Return one line: at each time the sum over all nodes. */
function total(list, name) {
  const sums = new Map();
  for (const node of list) {
    for (const [time, value] of nodes.series(node.uid)[name] ?? []) {
      sums.set(time, (sums.get(time) ?? 0) + value);
    }
  }
  return [...sums].sort((a, b) => a[0] - b[0]);
}

const each = (list, name) => list.map((node) => ({ name: node.name, points: nodes.series(node.uid)[name] ?? [] }));

export function statusPage(main) {
  const tiles = h("div", { class: "tiles" });
  const charts = {
    clients: chart("Clients", compact),
    subs: chart("Subscriptions", compact),
    messages: chart("Messages sent per second", compact),
    cpu: chart("CPU, busiest node", percent, { least: 10 }),
    memory: chart("Memory, largest node", bytes, { least: 1e6 }),
    lag: chart("Reactor lag, slowest node", lag, { least: 0.01 }),
  };
  const list = h("section", { class: "card", "aria-label": "Nodes" }, skeleton(3));
  const trouble = h("div");
  fill(main, h("h1", {}, "Status"), trouble, tiles,
    h("div", { class: "charts" }, Object.values(charts).map((each) => each.element)), list);

  function tile(name, value, note = "") {
    return h("div", { class: "tile" }, h("span", {}, name), h("strong", {}, value), h("small", {}, note));
  }

  function draw() {
    fill(trouble, nodes.problem ? failed(nodes.problem) : null);
    const found = nodes.latest;
    if (!found) return;
    const all = found.nodes;
    const channels = sum(all, "num_channels");
    const rated = all.filter((node) => node.rates);
    const rate = (name) => rated.reduce((count, node) => count + node.rates[name], 0);
    // The same user or channel may be on several nodes, each of which counts it.
    const most = all.length > 1 ? "up to " : "";
    fill(tiles,
      tile("Nodes", number(all.length), all.length === 1 ? "running alone" : "in the cluster"),
      tile("Clients", number(sum(all, "num_clients")), most + plural(sum(all, "num_users"), "user")),
      tile("Subscriptions", number(sum(all, "num_subs")), most + plural(channels, "channel")),
      tile("Messages out", rated.length ? `${compact(rate("sent"))}/s` : "–", rated.length ? `${bytes(rate("sent_bytes"))}/s` : "measuring…"),
      tile("Published", rated.length ? `${compact(rate("published"))}/s` : "–", rated.length ? `${compact(rate("received"))}/s received` : "measuring…"));
    const { time } = found;
    charts.clients.draw([{ name: "all", points: total(all, "clients") }], time);
    charts.subs.draw([{ name: "all", points: total(all, "subs") }], time);
    charts.messages.draw([{ name: "all", points: total(all, "sent") }], time);
    charts.cpu.draw(each(all, "cpu"), time);
    charts.memory.draw(each(all, "memory"), time);
    charts.lag.draw(each(all, "lag"), time);
    const several = all.length > 1;
    const rows = all.map((node, index) => [
      h("span", { class: "node" }, several ? h("i", { class: `dot c${index % 6}` }) : null, node.name,
        several && node.uid === found.answered_by ? h("em", { class: "chip" }, "answers this page") : null),
      node.version, span(node.uptime), number(node.num_clients), number(node.num_users),
      number(node.num_subs), number(node.num_channels),
      node.rates ? percent(node.rates.cpu) : "–",
      node.measures ? bytes(node.measures.memory_bytes) : "–",
      node.measures ? lag(node.measures.lag_seconds) : "–",
      node.rates ? compact(node.rates.sent) : "–",
    ]);
    fill(list, h("h2", {}, plural(all.length, "node")),
      rows.length ? table("Nodes", [["Name"], ["Version"], ["Up for"], ["Clients", "num"], ["Users", "num"],
        ["Subscriptions", "num"], ["Channels", "num"], ["CPU", "num"], ["Memory", "num"], ["Lag", "num"], ["Sent/s", "num"]], rows)
        : empty("No nodes", "That cannot be."));
  }
  return nodes.watch(draw);
}
