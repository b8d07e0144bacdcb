// The state of all nodes, asked for every two seconds while the page is visible.

import { ask } from "./server.js";

const INTERVAL = 2000;
/** Seconds for which measurements are kept; the server's own past reaches back as far. */
export const KEPT = 900;
const watchers = new Set();
const rings = new Map();

/** What is known: `{time, answered_by, nodes}`, or null. */
export let latest = null;
/** Why the last question failed, or null. */
export let problem = null;

let timer = null;
let asking = false;
/** When the last question was answered, and after how many milliseconds that is long ago. */
let looked = 0;
const AWAY = 15000;

/** What was measured of a node: arrays of `[time, value]` by name. */
export const series = (uid) => rings.get(uid)?.series ?? {};

function keep(ring, name, time, value) {
  const points = ring.series[name] ??= [];
  points.push([time, value]);
  while (points[0][0] < time - KEPT) points.shift();
}

/** Take what a node was like at one time; return how fast its counts grew until then, or null. */
function measured(ring, time, { num_clients, num_subs, measures }) {
  keep(ring, "clients", time, num_clients);
  keep(ring, "subs", time, num_subs);
  if (!measures) {
    ring.last = null;
    return null;
  }
  keep(ring, "memory", time, measures.memory_bytes);
  keep(ring, "lag", time, measures.lag_seconds);
  const { last } = ring;
  if (last && time <= last.time) return null;
  ring.last = { time, ...measures };
  if (!last) return null;
  const rate = (name) => Math.max(0, (measures[name] - last[name]) / (time - last.time));
  const rates = { cpu: 100 * rate("cpu_seconds"), sent: rate("sent"), received: rate("received"), published: rate("published"), sent_bytes: rate("sent_bytes") };
  keep(ring, "cpu", time, rates.cpu);
  keep(ring, "sent", time, rates.sent);
  keep(ring, "received", time, rates.received);
  return rates;
}

function ringOf(uid) {
  if (!rings.has(uid)) rings.set(uid, { series: {}, last: null });
  return rings.get(uid);
}

/** Begin with what the nodes have measured while no page was open. */
function remember(found) {
  for (const [uid, { samples }] of Object.entries(found.nodes)) {
    for (const sample of samples) measured(ringOf(uid), sample.time, sample);
  }
}

function take(found) {
  const { time } = found;
  for (const node of found.nodes) node.rates = measured(ringOf(node.uid), time, node);
  for (const [uid, ring] of rings) {
    const points = ring.series.clients;
    if (points.at(-1)[0] < time - KEPT) rings.delete(uid);
  }
  found.nodes.sort((a, b) => a.name < b.name ? -1 : 1);
  latest = found;
}

async function look() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    // After a long time away it is the server again that knows what was in between.
    if (!latest || Date.now() - looked > AWAY) {
      const past = await ask("samples");
      rings.clear();
      remember(past);
    }
    take(await ask("nodes"));
    looked = Date.now();
    problem = null;
  } catch (error) {
    problem = error;
  }
  asking = false;
  for (const watcher of watchers) watcher();
}

/** Call `watcher` after each answer; return what ends that. */
export function watch(watcher) {
  watchers.add(watcher);
  if (timer === null) {
    timer = setInterval(look, INTERVAL);
    document.addEventListener("visibilitychange", look);
  }
  look();
  return () => {
    watchers.delete(watcher);
    if (!watchers.size) {
      clearInterval(timer);
      timer = null;
      document.removeEventListener("visibilitychange", look);
    }
  };
}
