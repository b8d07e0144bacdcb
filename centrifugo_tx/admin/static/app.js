// Decides which page is shown; the rest of the address is behind the `#`.

import { failed, fill, h } from "./dom.js";
import { actionsPage } from "./page_actions.js";
import { channelPage } from "./page_channel.js";
import { channelsPage } from "./page_channels.js";
import { connectionPage } from "./page_connection.js";
import { connectionsPage } from "./page_connections.js";
import { loginPage } from "./page_login.js";
import { statusPage } from "./page_status.js";
import * as server from "./server.js";

const THEME = "centrifugo.admin.theme";
const TABS = [["", "Status"], ["channels", "Channels"], ["connections", "Connections"], ["actions", "Actions"]];
const PAGES = {
  "": [statusPage, "Status", ""], channels: [channelsPage, "Channels", "channels"], channel: [channelPage, "Channel", "channels"],
  connections: [connectionsPage, "Connections", "connections"], connection: [connectionPage, "Connection", "connections"],
  actions: [actionsPage, "Actions", "actions"],
};

const main = document.getElementById("main");
const bar = document.getElementById("bar");
let leave = () => {};
let inside = false;

// --- Light and dark -----------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light")) === "dark";

function paint() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  const button = document.getElementById("theme");
  if (button) {
    button.textContent = isDark() ? "☀" : "☾";
    button.setAttribute("aria-label", isDark() ? "Use light colors" : "Use dark colors");
  }
}
dark.addEventListener("change", paint);

function switchTheme() {
  localStorage.setItem(THEME, isDark() ? "light" : "dark");
  paint();
}

// --- Pages --------------------------------------------------------------------------

function drawBar(current) {
  fill(bar, h("div", { class: "inner" },
    h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: "26", height: "26" }), h("span", {}, "Centrifugo")),
    inside ? h("nav", { class: "main", "aria-label": "Pages" }, TABS.map(([id, title]) =>
      h("a", { href: `#/${id}`, "aria-current": id === current ? "page" : null }, title))) : null,
    h("span", { class: "right" },
      server.insecure ? h("em", { class: "chip bad", title: "admin.insecure is set: everybody may use this page" }, "insecure") : null,
      h("button", { type: "button", id: "theme", class: "quiet icon", onclick: switchTheme }),
      inside && !server.insecure ? h("button", { type: "button", class: "quiet", onclick: server.logout }, "Log out") : null)));
  paint();
}

function show() {
  leave();
  leave = () => {};
  if (!inside) {
    drawBar();
    document.title = "Log in · Centrifugo";
    leave = loginPage(main, () => { inside = true; show(); });
    return;
  }
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const [page, title, tab] = PAGES[name] ?? PAGES[""];
  let argument;
  try { argument = decodeURIComponent(rest.join("/")); } catch { argument = rest.join("/"); }
  drawBar(tab);
  document.title = `${argument || title} · Centrifugo`;
  scrollTo(0, 0);
  leave = page(main, argument, new URLSearchParams(query)) ?? (() => {});
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

async function start() {
  paint();
  try {
    inside = await server.begin(() => { if (inside) { inside = false; show(); } });
    show();
  } catch (error) {
    drawBar();
    fill(main, failed(error, start));
  }
}
start();
