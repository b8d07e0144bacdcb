// The login.

import { fill, h } from "./dom.js";
import { login } from "./server.js";

export function loginPage(main, entered) {
  const password = h("input", { type: "password", id: "password", autocomplete: "current-password", required: true, "aria-describedby": "wrong" });
  const wrong = h("p", { class: "wrong", id: "wrong", role: "alert" });
  const button = h("button", {}, "Log in");
  async function send(event) {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    let problem;
    try {
      problem = await login(password.value);
    } catch (error) {
      problem = `${error.title ?? "Failed"}. ${error.message}`;
    }
    button.disabled = false;
    if (!problem) { entered(); return; }
    wrong.textContent = problem;
    password.setAttribute("aria-invalid", "true");
    password.select();
  }
  fill(main, h("form", { class: "card login", onsubmit: send },
    h("img", { src: "icon.svg", alt: "", width: "48", height: "48" }),
    h("h1", {}, "Centrifugo admin"),
    h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password, wrong), button));
  password.focus();
  return () => {};
}
