// One channel: live, its history, those who are in it, and what they have received.

import { empty, failed, fill, h, notice, skeleton, table } from "./dom.js";
import { clock, number, plural, span } from "./format.js";
import { connectionLink, userText } from "./page_connections.js";
import { pages } from "./paging.js";
import { api, ask, call, follow } from "./server.js";
import { brief, flaw, json } from "./values.js";

const KEPT = 200;
const HISTORY = 20;
const TABS = [["live", "Live"], ["history", "History"], ["presence", "Presence"], ["receipts", "Receipts"]];

export function channelPage(main, name, query) {
  const chips = h("p", { class: "chips" });
  const tabs = h("nav", { class: "tabs", "aria-label": "Views of this channel" });
  const body = h("div");
  const chosen = TABS.some(([id]) => id === query.get("tab")) ? query.get("tab") : "live";
  fill(main, h("p", { class: "crumbs" }, h("a", { href: "#/channels" }, "Channels")),
    h("h1", { class: "mono wrap" }, name), chips, tabs, body);
  fill(tabs, TABS.map(([id, title]) => h("a", {
    href: `#/channel/${encodeURIComponent(name)}?tab=${id}`, "aria-current": id === chosen ? "page" : null,
  }, title)));

  let stopped = false;
  let timer = null;

  async function describe() {
    try {
      const found = await ask("channel", { channel: name });
      if (stopped) return;
      const chip = (text, kind = "") => h("em", { class: `chip ${kind}` }, text);
      fill(chips, chip(plural(found.num_clients, "subscriber"), "strong"), chip(found.kind),
        chip(found.history_size ? `history ${number(found.history_size)} for ${span(found.history_ttl)}` : "no history"),
        chip(found.presence ? "presence" : "no presence"),
        found.join_leave ? chip("join and leave") : null, found.recovery ? chip("recovery") : null);
    } catch (error) {
      if (!stopped) fill(chips, h("em", { class: "chip bad" }, error.message));
    }
    if (!stopped) timer = setTimeout(describe, 5000);
  }
  describe();
  const leave = { live, history, presence, receipts }[chosen](body, name);
  return () => { stopped = true; clearTimeout(timer); leave(); };
}

// --- Live ---------------------------------------------------------------------------

function live(body, name) {
  const state = h("span", { class: "state", role: "status" }, "connecting…");
  const list = h("ol", { class: "feed", "aria-label": "Live messages, newest first" });
  const none = empty("Waiting for messages", "What is published into this channel appears here at once.");
  const pause = h("button", { type: "button", class: "quiet", "aria-pressed": "false" }, "Pause");
  const clear = h("button", { type: "button", class: "quiet" }, "Clear");
  const data = h("textarea", { id: "data", rows: "3", spellcheck: "false" }, '{"text": "Hello"}');
  const wrong = h("p", { class: "wrong", id: "data-wrong", "aria-live": "polite" });
  const publish = h("button", {}, "Publish");
  const controller = new AbortController();
  let paused = false;
  let waiting = [];
  let count = 0;

  fill(body, h("div", { class: "split" },
    h("section", { class: "card", "aria-label": "Live" },
      h("div", { class: "head" }, state, h("span", { class: "buttons" }, pause, clear)), none, list),
    h("form", { class: "card", "aria-label": "Publish", onsubmit: send },
      h("h2", {}, "Publish"),
      h("div", { class: "field" }, h("label", { for: "data" }, "Data (JSON)"), data, wrong),
      h("div", { class: "buttons" }, publish))));

  function check() {
    const found = flaw(data.value);
    wrong.textContent = found;
    data.setAttribute("aria-invalid", String(Boolean(found)));
    publish.disabled = Boolean(found);
    return !found;
  }
  data.addEventListener("input", check);

  async function send(event) {
    event.preventDefault();
    if (!check()) return;
    publish.disabled = true;
    try {
      const text = await call("publish", `{"channel":${JSON.stringify(name)},"data":${data.value}}`);
      const answer = JSON.parse(text);
      if (answer.error) notice(`Error ${answer.error.code}: ${answer.error.message}`, "bad");
      else notice(answer.result.offset ? `Published at offset ${number(answer.result.offset)}` : "Published");
    } catch (error) {
      notice(error.message, "bad");
    }
    publish.disabled = false;
  }

  function row(kind, text, value, extra) {
    const item = h("li", { class: kind }, h("time", {}, clock()), h("em", { class: `chip ${kind}` }, text),
      h("div", { class: "what" }, value, extra ? h("small", {}, extra) : null));
    if (paused) {
      waiting.unshift(item);
      waiting.length = Math.min(waiting.length, KEPT);
      pause.textContent = `Resume (${waiting.length})`;
      return;
    }
    list.prepend(item);
    while (list.childElementCount > KEPT) list.lastElementChild.remove();
    none.hidden = true;
  }

  function take(line) {
    if (line.pub) {
      const { pub } = line;
      count += 1;
      const from = pub.info ? `from ${pub.info.user || "anonymous"}` : "";
      const tags = pub.tags ? brief(pub.tags, 80) : "";
      const key = pub.key ? `key ${pub.key}${pub.removed ? ", removed" : ""}` : "";
      row("pub", pub.offset ? `#${pub.offset}` : "message", json(pub.data), [key, from, tags].filter(Boolean).join(" · "));
    } else if (line.join) {
      row("join", "join", h("span", {}, userText(line.join.info.user), " ", connectionLink(line.join.info.client)));
    } else if (line.leave) {
      row("leave", "leave", h("span", {}, userText(line.leave.info.user), " ", h("span", { class: "mono" }, line.leave.info.client)));
    } else if (line.skipped) {
      row("gap", "skipped", `${plural(line.skipped, "message")} more than can be shown`);
    } else if (line.too_large) {
      row("gap", "large", `a message of ${number(line.too_large)} bytes`);
    } else if (line.binary) {
      row("gap", "binary", "a message that is not JSON");
    } else if (line.error) {
      throw Object.assign(new Error(line.error.message), { title: "The channel cannot be followed" });
    }
    state.className = "state on";
    state.textContent = count ? `live · ${plural(count, "message")}` : "live";
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    if (!paused) {
      list.prepend(...waiting);
      waiting = [];
      while (list.childElementCount > KEPT) list.lastElementChild.remove();
      none.hidden = Boolean(list.childElementCount);
    }
  });
  clear.addEventListener("click", () => { list.replaceChildren(); none.hidden = false; });

  async function run() {
    for (let delay = 1000; !controller.signal.aborted; delay = Math.min(delay * 2, 15000)) {
      try {
        await follow(name, (line) => { delay = 1000; take(line); }, controller.signal);
        if (controller.signal.aborted) return;
        state.textContent = "the server ended the feed; connecting again…";
      } catch (error) {
        if (controller.signal.aborted) return;
        state.textContent = `${error.title ?? "Connection lost"}: ${error.message}`;
        if (error.code) { state.className = "state off"; return; }
      }
      state.className = "state off";
      await new Promise((done) => setTimeout(done, delay));
    }
  }
  run();
  return () => controller.abort();
}

// --- History ------------------------------------------------------------------------

function history(body, name) {
  const box = h("section", { class: "card", "aria-label": "History" });
  const remove = h("button", { type: "button", class: "danger" }, "Remove history…");
  fill(body, box, h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", onclick: () => list.restart() }, "Refresh"), remove));
  let epoch = "";
  const list = pages(box, {
    load: async (after) => {
      const since = after ? { since: { offset: Number(after), epoch } } : {};
      const found = await api("history", { channel: name, limit: HISTORY + 1, reverse: true, ...since });
      epoch = found.epoch;
      return { ...found, publications: found.publications.slice(0, HISTORY), more: found.publications.length > HISTORY };
    },
    last: (page) => String(page.publications.at(-1).offset),
    summary: (page, index) => `Page ${number(index)} · top offset ${number(page.offset)} · epoch ${page.epoch}`,
    draw: (page) => page.publications.length
      ? table("History, newest first", [["Offset", "num"], ["Data"], ["From"], ["Tags"]], page.publications.map((each) => [
        number(each.offset), json(each.data),
        each.info ? h("span", {}, userText(each.info.user)) : h("span", { class: "faint" }, "server API"), json(each.tags)]))
      : empty("No history", "Nothing was published within the time that this channel keeps."),
  });
  remove.addEventListener("click", async () => {
    if (!confirm(`Remove the history of ${name}?`)) return;
    try {
      await api("history_remove", { channel: name });
      notice("History removed");
      list.restart();
    } catch (error) {
      notice(error.message, "bad");
    }
  });
  list.restart();
  return () => {};
}

// --- Presence -----------------------------------------------------------------------

function presence(body, name) {
  const user = h("input", { type: "search", id: "user", placeholder: "42", autocomplete: "off" });
  const box = h("section", { class: "card", "aria-label": "Presence" });
  fill(body, h("div", { class: "tools" }, h("div", { class: "field grow" }, h("label", { for: "user" }, "User"), user),
    h("div", { class: "field" }, h("button", { type: "button", class: "quiet", onclick: () => list.restart() }, "Refresh"))), box);
  const list = pages(box, {
    load: (after) => ask("presence", { channel: name, user: user.value.trim(), after, limit: 50 }),
    last: (page) => page.rows.at(-1).client,
    summary: (page, index) => page.rows.length ? `Page ${number(index)} · ${number(page.matched)} of ${plural(page.total, "connection")}` : "",
    draw: (page) => page.rows.length
      ? table("Presence", [["User"], ["Connection"], ["Connection info"], ["Channel info"]], page.rows.map((each) =>
        [userText(each.user), connectionLink(each.client), json(each.conn_info), json(each.chan_info)]))
      : empty(page.total ? "No connection matches" : "Nobody is here", page.total ? "The user must match in full." : "Subscribers appear here as they come."),
  });
  user.addEventListener("input", list.restartSoon);
  list.restart();
  return () => {};
}

// --- Receipts -----------------------------------------------------------------------

const STATES = ["received", "pending", "away", "unknown", "missed"];
const NOT_AVAILABLE = 108;

function receipts(body, name) {
  const offset = h("input", { type: "number", id: "offset", min: "1", placeholder: "newest", autocomplete: "off" });
  const box = h("section", { class: "card", "aria-label": "Receipts" });
  fill(body, h("div", { class: "tools" }, h("div", { class: "field grow" }, h("label", { for: "offset" }, "Offset of the publication"), offset),
    h("div", { class: "field" }, h("button", { type: "button", class: "quiet", onclick: () => list.restart() }, "Refresh"))), box);

  async function load(cursor) {
    try {
      const at = Number(offset.value) || (await api("history", { channel: name })).offset;
      const page = await api("receipts", { channel: name, offset: at || 1, limit: 50, cursor });
      return { ...page, users: at ? page.users ?? [] : [], at, more: Boolean(page.cursor) };
    } catch (error) {
      if (error.code !== NOT_AVAILABLE) throw error;
      return { disabled: true, users: [], counts: {} };
    }
  }

  function none(page) {
    if (page.disabled) return empty("No receipts", "They need history and the option receipts of the namespace.");
    return page.at ? empty("Nobody is here", "No user is subscribed, or has left lately.") : empty("No history", "Nothing was published yet.");
  }

  const list = pages(box, {
    load,
    last: (page) => page.cursor,
    summary: (page) => page.at
      ? `Offset ${number(page.at)} · ${STATES.filter((state) => page.counts[state]).map((state) => `${number(page.counts[state])} ${state}`).join(" · ")}` : "",
    draw: (page) => page.users.length
      ? table("Receipts", [["User"], ["State"], ["Confirmed", "num"], ["Behind by", "num"], ["Last answer"]], page.users.map((each) => [
        userText(each.user), h("em", { class: `chip ${each.state === "received" ? "strong" : ""}` }, each.state),
        number(each.offset), number(Math.max(0, page.at - each.offset)),
        each.at ? clock(new Date(each.at * 1000)) : h("span", { class: "faint" }, "none")]))
      : none(page),
  });
  offset.addEventListener("input", list.restartSoon);
  list.restart();
  return () => {};
}
