// What the page asks of the server, with the session token in a header.

const KEY = "centrifugo.admin.token";

/** Whether the server asks for no login; known after `begin`. */
export let insecure = false;

let onLogout = () => {};

class ServerError extends Error {
  constructor(title, message, code = 0) {
    super(message);
    this.title = title;
    this.code = code;
  }
}

function headers() {
  const token = localStorage.getItem(KEY);
  return token ? { Authorization: `token ${token}` } : {};
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached", "It may be restarting, or the network is down.");
  }
  if (response.status === 401) {
    logout();
    throw new ServerError("Your session has ended", "Log in again to go on.");
  }
  if (response.status === 403) throw new ServerError("Permission denied", "The server refuses requests from this page.");
  return response;
}

/** Ask whether a login is needed; return whether we are in. */
export async function begin(loggedOut) {
  onLogout = loggedOut;
  const response = await send("admin/init", { headers: headers() });
  if (!response.ok) throw new ServerError("The server answered oddly", `Its status was ${response.status}.`);
  const found = await response.json();
  insecure = found.insecure;
  return found.authenticated;
}

/** Log in; return why that failed, or nothing. */
export async function login(password) {
  const response = await send("admin/auth", { method: "POST", body: new URLSearchParams({ password }) });
  if (response.status === 429) return "Too many attempts. Wait a moment and try again.";
  if (response.status === 400) return "That is not the password.";
  if (!response.ok) return `The server answered with status ${response.status}.`;
  localStorage.setItem(KEY, (await response.json()).token);
  return "";
}

/** Forget the token. */
export function logout() {
  localStorage.removeItem(KEY);
  onLogout();
}

async function post(path, body, options = {}) {
  const response = await send(path, {
    method: "POST", headers: { ...headers(), "Content-Type": "application/json" },
    body, ...options,
  });
  if (response.status === 503) throw new ServerError("The server is busy", "Try again in a moment.");
  if (response.status === 413) throw new ServerError("Too large", "The request is larger than the server takes.");
  if (!response.ok) throw new ServerError("The server refused the request", `Its status was ${response.status}.`);
  return response;
}

/** Ask one of the page's own questions: `nodes`, `channels`, … */
export async function ask(question, request = {}, options = {}) {
  const answer = await (await post(`admin/${question}`, JSON.stringify(request), options)).json();
  if (answer.error) throw new ServerError("The server answered with an error", answer.error.message, answer.error.code);
  return answer.result;
}

/** Call a method of the server API with JSON text; return the whole answer as text. */
export async function call(method, params) {
  return (await post("admin/api", `{"method":${JSON.stringify(method)},"params":${params}}`)).text();
}

/** Call a method of the server API; return its result. */
export async function api(method, params) {
  const answer = JSON.parse(await call(method, JSON.stringify(params)));
  if (answer.error) throw new ServerError(`Error ${answer.error.code}`, answer.error.message, answer.error.code);
  return answer.result;
}

/** Follow a channel: call `take` with each line until `signal` aborts or the server ends. */
export async function follow(channel, take, signal) {
  const response = await post("admin/feed", JSON.stringify({ channel }), { signal });
  if (response.headers.get("content-type") === "application/json") {
    const answer = await response.json();
    throw new ServerError("This channel cannot be followed", answer.error.message, answer.error.code);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) take(JSON.parse(line));
  }
}
