// The channels that have subscribers, a page at a time.

import { empty, fill, h, table } from "./dom.js";
import { number, plural } from "./format.js";
import { pages } from "./paging.js";
import { ask } from "./server.js";

const SIZE = 50;

export const channelLink = (name) => h("a", { href: `#/channel/${encodeURIComponent(name)}`, class: "mono" }, name);

export function channelsPage(main) {
  const filter = h("input", { type: "search", id: "filter", placeholder: "news: or chat:*:private", autocomplete: "off", spellcheck: "false" });
  const open = h("input", { type: "text", id: "open", placeholder: "any channel", autocomplete: "off", spellcheck: "false" });
  const box = h("section", { class: "card", "aria-label": "Channels" });
  fill(main, h("h1", {}, "Channels"),
    h("div", { class: "tools" },
      h("div", { class: "field grow" }, h("label", { for: "filter" }, "Begins with, or matches a pattern with * and ?"), filter),
      h("form", { class: "field", onsubmit: (event) => {
        event.preventDefault();
        if (open.value) location.hash = `#/channel/${encodeURIComponent(open.value)}`;
      } }, h("label", { for: "open" }, "Open by name"), h("div", { class: "joined" }, open, h("button", {}, "Open")))),
    box);

  const list = pages(box, {
    load: (after) => {
      const text = filter.value.trim();
      const glob = /[*?[{]/.test(text);
      return ask("channels", { [glob ? "pattern" : "prefix"]: text, after, limit: SIZE });
    },
    last: (page) => page.channels.at(-1).name,
    summary: (page, index) => page.channels.length
      ? `Page ${number(index)} · ${page.exact ? "" : "up to "}${plural(page.matched, "channel")}` : "",
    draw: (page) => [
      page.silent.length ? h("p", { class: "hint" }, `Without what ${page.silent.join(", ")} has: such nodes do not answer this question.`) : null,
      page.channels.length
        ? table("Channels", [["Channel"], ["Subscribers", "num"]],
          page.channels.map((each) => [channelLink(each.name), number(each.num_clients)]))
        : filter.value
          ? empty("No channel matches", "Only channels with subscribers are listed. You can open any other by its name.")
          : empty("No channels yet", "A channel appears here as soon as a client subscribes to it."),
    ],
  });
  filter.addEventListener("input", list.restartSoon);
  list.restart();
  return () => {};
}
