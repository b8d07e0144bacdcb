// Lists that the server pages through: it is told the last name of the page before.

import { failed, fill, h, skeleton } from "./dom.js";

/**
 * Show pages in `box`.  `load(after)` returns a page `{more, …}`, `draw(page)` what is
 * shown of it, `last(page)` the name after which the next page begins.
 */
export function pages(box, { load, draw, last, summary }) {
  const body = h("div", {}, skeleton(6));
  const about = h("span", { class: "about" });
  const back = h("button", { type: "button", class: "quiet" }, "← Previous");
  const next = h("button", { type: "button", class: "quiet" }, "Next →");
  const buttons = h("span", { class: "buttons", hidden: true }, back, next);
  const pager = h("div", { class: "pager", hidden: true }, about, buttons);
  fill(box, body, pager);
  let cursors = [""];
  let current = null;
  let run = 0;

  function wait() {
    back.disabled = next.disabled = true;
    box.setAttribute("aria-busy", "true");
    return ++run;
  }

  function restart() {
    cursors = [""];
    return show();
  }

  async function show() {
    const mine = wait();
    const slow = setTimeout(() => { if (mine === run) fill(body, skeleton(6)); }, 300);
    try {
      const page = await load(cursors.at(-1));
      if (mine !== run) return;
      current = page;
      fill(body, draw(page));
      about.textContent = summary(page, cursors.length);
    } catch (error) {
      if (mine !== run || error.name === "AbortError") return;
      current = null;
      about.textContent = "";
      fill(body, failed(error, show));
    } finally {
      clearTimeout(slow);
      if (mine === run) {
        box.removeAttribute("aria-busy");
        back.disabled = cursors.length === 1;
        next.disabled = !current?.more;
        buttons.hidden = back.disabled && next.disabled;
        pager.hidden = buttons.hidden && !about.textContent;
      }
    }
  }

  back.addEventListener("click", () => { cursors.pop(); show(); });
  next.addEventListener("click", () => { cursors.push(last(current)); show(); });
  let timer = null;
  return {
    restart,
    refresh: show,
    /** Begin anew when nothing was typed for a moment; nobody pages on until then. */
    restartSoon() { wait(); clearTimeout(timer); timer = setTimeout(restart, 250); },
  };
}
