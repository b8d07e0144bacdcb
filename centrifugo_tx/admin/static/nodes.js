// The state of all nodes, asked for every two seconds while the page is visible.

import { ask } from "./server.js";

const INTERVAL = 2000;
const KEPT = 180;
const watchers = new Set();
const rings = new Map();

/** What is known: `{time, answered_by, nodes}`, or null. */
export let latest = null;
/** Why the last question failed, or null. */
export let problem = null;

let timer = null;
let asking = false;

/** What was measured of a node: arrays of `[time, value]` by name. */
export const series = (uid) => rings.get(uid)?.series ?? {};

function keep(ring, name, time, value) {
  const points = ring.series[name] ??= [];
  points.push([time, value]);
  if (points.length > KEPT) points.shift();
}

function take(found) {
  const { time } = found;
  for (const node of found.nodes) {
    const ring = rings.get(node.uid) ?? { series: {}, last: null, rates: null };
    rings.set(node.uid, ring);
    keep(ring, "clients", time, node.num_clients);
    keep(ring, "subs", time, node.num_subs);
    const { measures } = node;
    node.rates = null;
    if (!measures) { ring.last = null; continue; }
    keep(ring, "memory", time, measures.memory_bytes);
    keep(ring, "lag", time, measures.lag_seconds);
    if (ring.last && time > ring.last.time) {
      const rate = (name) => Math.max(0, (measures[name] - ring.last[name]) / (time - ring.last.time));
      node.rates = { cpu: 100 * rate("cpu_seconds"), sent: rate("sent"), received: rate("received"), published: rate("published"), sent_bytes: rate("sent_bytes") };
      keep(ring, "cpu", time, node.rates.cpu);
      keep(ring, "sent", time, node.rates.sent);
      keep(ring, "received", time, node.rates.received);
    }
    ring.last = { time, ...measures };
  }
  for (const [uid, ring] of rings) {
    const points = ring.series.clients;
    if (points.at(-1)[0] < time - 400) rings.delete(uid);
  }
  found.nodes.sort((a, b) => a.name < b.name ? -1 : 1);
  latest = found;
}

async function look() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    take(await ask("nodes"));
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
