// The official JavaScript client of protocol v1 (2.8.5), led by JSON lines.
//
// Orders and events are those of `javascript_sdk.mjs`, as far as there is a like.
// The argument is the encoding (json or protobuf).

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import WebSocket from 'ws';

const [encoding = 'json'] = process.argv.slice(2);
const protobuf = encoding === 'protobuf';
const require = createRequire(import.meta.url);
const Centrifuge = require(`centrifuge-2/dist/centrifuge${protobuf ? '.protobuf' : ''}.js`);
const clients = new Map();
// Counts the tests: what clients of earlier ones still do is not told.
let generation = 0;

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function inward(payload) {
  if (!protobuf || payload == null) return payload ?? null;
  return payload.length ? JSON.parse(new TextDecoder().decode(payload)) : null;
}

function outward(data) {
  return protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data;
}

// Returns what tells of a client as long as its test runs.
function teller(always) {
  const began = generation;
  return (event, fields) => {
    if (began === generation) tell(event, { ...always, ...fields });
  };
}

function person(info) {
  return info
    ? {
        user: info.user,
        client: info.client,
        conn_info: inward(info.conn_info),
        chan_info: inward(info.chan_info),
      }
    : null;
}

function message(pub) {
  const { seq = 0, gen = 0 } = pub;
  return {
    data: inward(pub.data),
    offset: pub.offset === undefined ? gen * 2 ** 32 + seq : Number(pub.offset),
    info: person(pub.info),
  };
}

const orders = {
  reset() {
    generation += 1;
    for (const client of clients.values()) client.disconnect();
    clients.clear();
  },
  connect(order) {
    const name = order.client;
    const say = teller({ client: name });
    const client = new Centrifuge(order.url, {
      websocket: WebSocket,
      protocol: protobuf ? 'protobuf' : 'json',
      minRetry: 50,
      maxRetry: 300,
      onRefresh: (ctx, answer) => {
        say('token', {});
        answer({ status: 200, data: { token: order.fresh_tokens.shift() } });
      },
      onPrivateSubscribe: (ctx, answer) => {
        say('subscription_token', { id: ctx.data.client });
        const channels = ctx.data.channels.map((channel) => ({
          channel,
          token: client.tokens.get(channel),
        }));
        answer({ status: 200, data: { channels } });
      },
    });
    client.tokens = new Map();
    clients.set(name, client);
    client
      .on('connect', (ctx) => say('connected', { id: ctx.client, data: inward(ctx.data) }))
      .on('disconnect', (ctx) =>
        say('disconnected', { reason: ctx.reason, reconnect: ctx.reconnect }))
      .on('message', (data) => say('message', { data: inward(data) }))
      .on('subscribe', (ctx) => say('server_subscribed', { channel: ctx.channel }))
      .on('unsubscribe', (ctx) => say('server_unsubscribed', { channel: ctx.channel }))
      .on('publish', (ctx) =>
        say('server_publication', { channel: ctx.channel, ...message(ctx) }));
    if (order.token) client.setToken(order.token);
    client.connect();
  },
  disconnect(order) {
    clients.get(order.client).disconnect();
  },
  subscribe(order) {
    const { client: name, channel, token } = order;
    const client = clients.get(name);
    const say = teller({ client: name, channel });
    client.tokens.set(channel, token);
    client.subscribe(channel, {
      publish: (ctx) => say('publication', message(ctx)),
      join: (ctx) => say('join', { info: person(ctx.info) }),
      leave: (ctx) => say('leave', { info: person(ctx.info) }),
      subscribe: (ctx) =>
        say('subscribed', { again: ctx.isResubscribe, recovered: ctx.recovered ?? false }),
      unsubscribe: () => say('unsubscribed', {}),
      error: (ctx) => say('subscription_error', { code: ctx.code }),
    });
  },
  unsubscribe(order) {
    clients.get(order.client).getSub(order.channel).unsubscribe();
  },
  async publish(order) {
    await clients.get(order.client).publish(order.channel, outward(order.data));
  },
  async history(order) {
    const { client, channel, limit, since, reverse } = order;
    const found = await clients.get(client).history(channel, { limit, since, reverse });
    const publications = found.publications.map(message);
    return { publications, offset: Number(found.offset), epoch: found.epoch };
  },
  async presence(order) {
    const found = await clients.get(order.client).presence(order.channel);
    const entries = Object.entries(found.presence);
    return Object.fromEntries(entries.map(([id, info]) => [id, person(info)]));
  },
  async presence_stats(order) {
    const found = await clients.get(order.client).presenceStats(order.channel);
    return { clients: found.num_clients, users: found.num_users };
  },
  async rpc(order) {
    const client = clients.get(order.client);
    return inward((await client.namedRPC(order.method, outward(order.data))).data);
  },
  async send(order) {
    await clients.get(order.client).send(outward(order.data));
  },
};

async function carryOut(order) {
  const { call } = order;
  try {
    tell('answer', { call, result: (await orders[order.do](order)) ?? null });
  } catch (error) {
    tell('answer', { call, error: error.code ?? String(error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  carryOut(JSON.parse(line));
}
for (const client of clients.values()) client.disconnect();
