// The official JavaScript client, led by JSON lines.
//
// An order on standard input is an object with `do`; what happens is told on standard
// output as an object with `event`.  The Python counterpart speaks the same.
// The arguments are the transport (websocket, http_stream or sse) and the encoding
// (json or protobuf); in Protobuf payloads are JSON as bytes.

import { createInterface } from 'node:readline';
import { Centrifuge as JSONCentrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import EventSource from 'eventsource';
import WebSocket from 'ws';

const [transport = 'websocket', encoding = 'json'] = process.argv.slice(2);
const protobuf = encoding === 'protobuf';
const Centrifuge = protobuf ? ProtobufCentrifuge : JSONCentrifuge;
const clients = new Map();
// Counts the tests: what clients of earlier ones still do is not told.
let generation = 0;

function inward(payload) {
  if (!protobuf || payload == null) return payload ?? null;
  return payload.length ? JSON.parse(new TextDecoder().decode(payload)) : null;
}

function outward(data) {
  return protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data;
}

// Returns where to connect, given the URL of the WebSocket endpoint, and the transports
// to try one after the other, if there are several.
function endpoints(url, transports = [transport]) {
  if (transports.join() === 'websocket') return [url, {}];
  const { host } = new URL(url);
  const endpoint = (name) => {
    const scheme = name === 'websocket' ? 'ws' : 'http';
    return { transport: name, endpoint: `${scheme}://${host}/connection/${name}` };
  };
  const more = { emulationEndpoint: `http://${host}/emulation`, eventsource: EventSource };
  return [transports.map(endpoint), more];
}

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
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
        conn_info: inward(info.connInfo),
        chan_info: inward(info.chanInfo),
      }
    : null;
}

function message(pub) {
  return {
    data: inward(pub.data),
    offset: pub.offset ?? 0,
    tags: pub.tags ?? {},
    info: person(pub.info),
  };
}

function subscription(ctx) {
  return {
    channel: ctx.channel,
    recoverable: ctx.recoverable,
    positioned: ctx.positioned,
    was_recovering: ctx.wasRecovering,
    recovered: ctx.recovered,
    data: inward(ctx.data),
    position: ctx.streamPosition ?? null,
  };
}

// Returns what hands out the fresh tokens of an order, one after the other.
function tokens(order, event) {
  if (order.fresh_tokens === undefined) return {};
  const { client, channel, fresh_tokens: fresh } = order;
  return {
    getToken: async () => {
      tell(event, { client, channel });
      return fresh.shift();
    },
  };
}

function tellOfClient(client, name) {
  const say = teller({ client: name });
  const info = (ctx) => ({ channel: ctx.channel, info: person(ctx.info) });
  client
    .on('connecting', (ctx) => say('connecting', { code: ctx.code, reason: ctx.reason }))
    .on('connected', (ctx) => {
      say('connected', { id: ctx.client, data: inward(ctx.data), transport: ctx.transport });
    })
    .on('disconnected', (ctx) => say('disconnected', { code: ctx.code, reason: ctx.reason }))
    .on('error', (ctx) => say('error', { code: ctx.error.code }))
    .on('message', (ctx) => say('message', { data: inward(ctx.data) }))
    .on('subscribed', (ctx) => say('server_subscribed', subscription(ctx)))
    .on('unsubscribed', (ctx) => say('server_unsubscribed', { channel: ctx.channel }))
    .on('publication', (ctx) => say('server_publication', { channel: ctx.channel, ...message(ctx) }))
    .on('join', (ctx) => say('server_join', info(ctx)))
    .on('leave', (ctx) => say('server_leave', info(ctx)));
}

function tellOfSubscription(sub, name) {
  const say = teller({ client: name, channel: sub.channel });
  sub
    .on('subscribing', (ctx) => say('subscribing', { code: ctx.code, reason: ctx.reason }))
    .on('subscribed', (ctx) => say('subscribed', subscription(ctx)))
    .on('unsubscribed', (ctx) => say('unsubscribed', { code: ctx.code, reason: ctx.reason }))
    .on('publication', (ctx) => say('publication', message(ctx)))
    .on('join', (ctx) => say('join', { info: person(ctx.info) }))
    .on('leave', (ctx) => say('leave', { info: person(ctx.info) }))
    .on('error', (ctx) => say('subscription_error', { code: ctx.error.code }));
}

const orders = {
  reset() {
    generation += 1;
    for (const client of clients.values()) client.disconnect();
    clients.clear();
  },
  connect(order) {
    const [endpoint, more] = endpoints(order.url, order.transports);
    const client = new Centrifuge(endpoint, {
      websocket: WebSocket,
      ...more,
      token: order.token ?? '',
      minReconnectDelay: 50,
      maxReconnectDelay: 300,
      ...tokens(order, 'token'),
    });
    clients.set(order.client, client);
    tellOfClient(client, order.client);
    client.connect();
  },
  disconnect(order) {
    clients.get(order.client).disconnect();
  },
  subscribe(order) {
    const sub = clients.get(order.client).newSubscription(order.channel, {
      token: order.token ?? '',
      minResubscribeDelay: 50,
      maxResubscribeDelay: 300,
      positioned: order.positioned ?? false,
      recoverable: order.recoverable ?? false,
      joinLeave: order.join_leave ?? false,
      delta: order.delta ? 'fossil' : undefined,
      tagsFilter: order.filter ?? null,
      ...tokens(order, 'subscription_token'),
    });
    tellOfSubscription(sub, order.client);
    sub.subscribe();
  },
  unsubscribe(order) {
    clients.get(order.client).getSubscription(order.channel).unsubscribe();
  },
  async publish(order) {
    await clients.get(order.client).publish(order.channel, outward(order.data));
  },
  async history(order) {
    const { client, channel, limit, since, reverse } = order;
    const found = await clients.get(client).history(channel, { limit, since, reverse });
    const publications = found.publications.map(message);
    return { publications, offset: found.offset, epoch: found.epoch };
  },
  async presence(order) {
    const found = await clients.get(order.client).presence(order.channel);
    const entries = Object.entries(found.clients);
    return Object.fromEntries(entries.map(([id, info]) => [id, person(info)]));
  },
  async presence_stats(order) {
    const found = await clients.get(order.client).presenceStats(order.channel);
    return { clients: found.numClients, users: found.numUsers };
  },
  async rpc(order) {
    const answer = await clients.get(order.client).rpc(order.method, outward(order.data));
    return inward(answer.data);
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
