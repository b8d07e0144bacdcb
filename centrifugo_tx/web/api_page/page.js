// Shows the OpenAPI document beside this file, and sends its requests.
"use strict";

// Makes an element; strings among the children become text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const nameOf = (reference) => reference.split("/").pop();

// Returns the nodes that say which type a schema has.
function typeOf(schema) {
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return [make("a", { href: `#${name}` }, name)];
  }
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  if (schema.additionalProperties) return ["map of ", ...typeOf(schema.additionalProperties)];
  if (schema.contentEncoding) return [`${schema.type}, ${schema.contentEncoding}`];
  return [schema.type || "any JSON value"];
}

function fieldsOf(schema) {
  const fields = Object.entries(schema.properties || {});
  if (!fields.length) return make("p", {}, "No fields.");
  const rows = fields.map(([name, type]) =>
    make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, ...typeOf(type))));
  const head = make("tr", {}, make("th", {}, "Field"), make("th", {}, "Type"));
  return make("table", {}, head, ...rows);
}

// Returns the address of the API; null if this page may not call it.
function addressOf(server) {
  if (!server.variables) return { url: new URL(server.url, location.href).href, here: true };
  return { url: server.url.replace("{host}", location.hostname), here: false };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function operation(path, about, api, secured) {
  const example = JSON.stringify(about.requestBody.content["application/json"].example, null, 2);
  const schema = about.requestBody.content["application/json"].schema;
  const url = api.url.replace(/\/$/, "") + path;
  const id = about.operationId;
  const input = make("textarea", { spellcheck: "false", rows: String(example.split("\n").length + 1) });
  input.value = example;
  const send = make("button", { type: "button" }, "Send");
  const copy = make("button", { type: "button", class: "plain" }, "Copy as curl");
  const output = make("div", { role: "status" });
  const key = document.getElementById("key");

  function show(status, bad, text) {
    const shown = text ? [make("pre", {}, text)] : [];
    output.replaceChildren(make("span", { class: bad ? "status bad" : "status" }, status), ...shown);
  }

  send.disabled = !api.here;
  send.addEventListener("click", async () => {
    try {
      JSON.parse(input.value);
    } catch (error) {
      return show("Not sent: this is not JSON", true, error.message);
    }
    send.disabled = true;
    try {
      const headers = { "Content-Type": "application/json" };
      if (secured) headers["X-API-Key"] = key.value;
      const response = await fetch(url, { method: "POST", headers, body: input.value });
      let text = await response.text();
      let failed = !response.ok;
      try {
        const answer = JSON.parse(text);
        failed = failed || "error" in answer;
        text = JSON.stringify(answer, null, 2);
      } catch { /* shown as it is */ }
      show(`${response.status} ${response.statusText}`, failed, text);
    } catch (error) {
      show("No answer", true, error.message);
    } finally {
      send.disabled = false;
    }
  });
  copy.addEventListener("click", async () => {
    const header = secured ? " -H 'X-API-Key: KEY'" : "";
    const line = `curl${header} -d ${quoted(input.value)} ${quoted(url)}`;
    let said = secured ? "Copied; put your key in" : "Copied";
    try {
      await navigator.clipboard.writeText(line);
    } catch {
      said = "Copy this line";
    }
    show(said, false, line);
  });

  const label = make("label", {}, "Request ", make("a", { href: `#${nameOf(schema.$ref)}` }, nameOf(schema.$ref)), input);
  const body = make("div", { class: "body" }, label, make("div", { class: "bar" }, send, copy), output);
  const summary = make("summary", {},
    make("span", { class: "verb" }, "POST"), make("code", { class: "path" }, path),
    make("span", { class: "about" }, about.summary));
  return make("details", { id: `method-${id}` }, summary, body);
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

async function start() {
  const notice = document.getElementById("notice");
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: ${response.status}`);
  const description = await response.json();
  const api = addressOf(description.servers[0]);
  const secured = Boolean(description.security);
  document.getElementById("version").textContent = description.info.version;
  document.getElementById("key-label").hidden = !secured;
  if (!api.here) notice.textContent = "The API is on another port, which this page cannot call; use the curl lines.";
  const methods = Object.entries(description.paths);
  document.getElementById("methods").append(
    ...methods.map(([path, item]) => operation(path, item.post, api, secured)));
  const schemas = Object.entries(description.components.schemas);
  document.getElementById("schemas").append(...schemas.map(([name, schema]) =>
    make("details", { id: name }, make("summary", {}, make("code", { class: "path" }, name)),
      make("div", { class: "body" }, fieldsOf(schema)))));
  addEventListener("hashchange", openTarget);
  openTarget();
}

start().catch((error) => {
  document.getElementById("notice").textContent = `The document cannot be shown: ${error.message}`;
});
